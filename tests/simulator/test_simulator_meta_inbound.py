"""WhatsApp messages that people write, as Meta tells them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest

from tests.simulator.conftest import Hook, Sim
from tests.simulator.test_simulator_meta import ACCOUNT, SECRET

WROTE = {"channel": "whatsapp", "from": "+15551230001", "to": "+15551230002"}
TOKEN = {"Authorization": "Bearer EAA-token"}


@pytest.fixture
async def whatsapp(bare_sim: Sim) -> Sim:
    """An account whose webhook hears everything."""
    webhooks = {"events": f"{bare_sim.hook.base}/events"}
    await bare_sim.account("meta", **ACCOUNT, webhooks=webhooks)
    return bare_sim


async def _write(sim: Sim, **more: Any) -> dict[str, Any]:
    """Somebody writes: the value of the change that came."""
    status, answer = await sim.inbound(**WROTE | more)
    assert (status, answer["provider"]) == (200, "meta"), answer
    value: dict[str, Any] = sim.hook.received[-1].json()["entry"][0]["changes"][0]["value"]
    assert value["messages"][0]["id"] == answer["sid"]
    return value


async def test_a_text(whatsapp: Sim, hook: Hook) -> None:
    """Signed over the body as it is, in which everything beyond ASCII is escaped in lower case."""
    value = await _write(whatsapp, body="Grüße 👋", profile_name="Ana")

    (received,) = hook.received
    digest = hmac.new(SECRET.encode(), received.body, hashlib.sha256).hexdigest()
    assert received.headers["X-Hub-Signature-256"] == f"sha256={digest}"
    assert rb"Gr\u00fc\u00dfe \ud83d\udc4b" in received.body
    (message,) = value["messages"]
    assert message.pop("id").startswith("wamid.")
    assert message.pop("timestamp").isdigit()
    assert message == {"from": "15551230001", "type": "text", "text": {"body": "Grüße 👋"}}
    assert value["contacts"] == [{"profile": {"name": "Ana"}, "wa_id": "15551230001"}]


async def test_whom_they_write_to(bare_sim: Sim) -> None:
    """Where an account names no number, it is the one that somebody writes to."""
    webhooks = {"events": f"{bare_sim.hook.base}/events"}
    nameless = {name: said for name, said in ACCOUNT.items() if name != "display_phone_number"}
    await bare_sim.account("meta", **nameless, webhooks=webhooks)

    values = [await _write(bare_sim, to=to) for to in ("+15551230002", "whatsapp:+15551230009")]

    told = [value["metadata"]["display_phone_number"] for value in values]
    assert told == ["15551230002", "15551230009"]


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ({"reaction": {"message_id": "wamid.1", "emoji": "👍"}}, "reaction"),
        ({"button": {"text": "Yes", "payload": "YES"}}, "button"),
        (
            {"interactive": {"type": "button_reply", "button_reply": {"id": "1", "title": "Yes"}}},
            "interactive",
        ),
        ({"location": {"latitude": 1.5, "longitude": 2.5}}, "location"),
        ({"type": "unsupported", "errors": [{"code": 131051}]}, "unsupported"),
    ],
)
async def test_other_kinds_of_message(whatsapp: Sim, params: dict[str, Any], kind: str) -> None:
    """What `params` hold stands in the message, whose type follows from it."""
    (message,) = (await _write(whatsapp, params=params))["messages"]

    assert message["type"] == kind
    assert message | params == message


@pytest.mark.parametrize("context", ["wamid.1", {"from": "15551230002", "id": "wamid.1"}])
async def test_a_quote(whatsapp: Sim, context: Any) -> None:
    """The quoted message's id alone is enough."""
    (message,) = (await _write(whatsapp, body="Yes", params={"context": context}))["messages"]

    assert message["context"] == {"from": "15551230002", "id": "wamid.1"}
    assert message["text"] == {"body": "Yes"}


async def test_a_user_without_a_phone(whatsapp: Sim) -> None:
    """A user name has an id, and no `from`."""
    value = await _write(whatsapp, **{"from": "US.1234"}, body="Hi")

    assert value["contacts"][0]["user_id"] == "US.1234"
    assert "from" not in value["messages"][0]
    assert value["messages"][0]["from_user_id"] == "US.1234"


@pytest.mark.parametrize(
    ("content_type", "kind", "more"),
    [
        ("image/jpeg", "image", {"caption": "Look"}),
        ("video/mp4", "video", {"caption": "Look"}),
        ("audio/ogg", "audio", {"voice": True}),
        ("image/webp", "sticker", {}),
        ("application/pdf", "document", {"caption": "Look", "filename": "a.pdf"}),
    ],
)
async def test_media_are_fetched_in_two_steps(
    whatsapp: Sim, content_type: str, kind: str, more: dict[str, Any]
) -> None:
    """The message has an id, the id gives a URL, the URL the file: each with the token alone."""
    content = b"\x00\x01 a file"
    media = {
        "content": base64.b64encode(content).decode(),
        "content_type": content_type,
        "filename": "a.pdf",
    }

    (message,) = (await _write(whatsapp, body="Look", media=[media]))["messages"]

    told = message[kind]
    media_id = told["id"]
    assert message["type"] == kind
    assert told == {"id": media_id, "mime_type": content_type} | more
    status, found = await whatsapp.ask("GET", f"/v23.0/{media_id}", headers=TOKEN)
    assert (status, found["file_size"], found["mime_type"]) == (200, len(content), content_type)
    assert found["sha256"] == hashlib.sha256(content).hexdigest()
    async with whatsapp.session.get(found["url"], headers=TOKEN) as response:
        assert (await response.read(), response.content_type) == (content, content_type)
    for url in (f"{whatsapp.base}/v23.0/{media_id}", found["url"]):
        async with whatsapp.session.get(url) as response:
            assert response.status == 401


async def test_media_that_are_not_there(whatsapp: Sim) -> None:
    """An unknown id is Meta's error, an unknown URL 404."""
    unknown, answer = await whatsapp.ask("GET", "/v23.0/1", headers=TOKEN)
    gone, _ = await whatsapp.ask("GET", "/whatsapp_business/attachments/?mid=1", headers=TOKEN)

    assert (unknown, answer["error"]["error_subcode"], gone) == (400, 33, 404)


async def test_a_message_has_one_file(whatsapp: Sim, hook: Hook) -> None:
    """More are refused."""
    status, _ = await whatsapp.inbound(**WROTE, media=[f"{hook.base}/1", f"{hook.base}/2"])

    assert status == 422


async def test_it_is_tried_again_until_it_is_taken(whatsapp: Sim, hook: Hook) -> None:
    """Whatever is not 200 is repeated, with the same body and signature."""
    hook.answers = [503, 404, 200]

    await _write(whatsapp, body="Hi")

    assert len(hook.received) == 3
    assert len({received.body for received in hook.received}) == 1


async def test_the_number_decides_between_two_providers(whatsapp: Sim, hook: Hook) -> None:
    """WhatsApp comes in through Twilio or Meta: whose number it is, or who is named."""
    login = {"account_sid": "AC1", "auth_token": "t"}
    webhooks = {"message": f"{hook.base}/message"}
    await whatsapp.account("twilio", **login, numbers=["+15551230009"], webhooks=webhooks)

    found = []
    for more in (
        {},
        {"to": "+15551230009"},
        {"to": "+15551230008", "provider": "twilio"},
        {"to": "+15551230008", "account": "AC1"},
        {"to": "+15551230008"},
        {"provider": "sendgrid"},
    ):
        status, answer = await whatsapp.inbound(**WROTE | more)
        found.append(answer.get("provider", status))

    assert found == ["meta", "twilio", "twilio", "twilio", 409, 422]


async def test_a_number_that_was_never_told(bare_sim: Sim, hook: Hook) -> None:
    """Meta's requests never show its number: who writes to one that no account at Twilio has sent
    from writes to it."""
    login = ("AC1", "t")
    twilio = {"account_sid": login[0], "auth_token": login[1]}
    await bare_sim.account("twilio", **twilio, webhooks={"message": f"{hook.base}/message"})
    meta = {"access_token": "EAA", "phone_number_id": "1", "app_secret": "s"}
    await bare_sim.account("meta", **meta, webhooks={"events": f"{hook.base}/events"})
    form = {"To": "whatsapp:+15551230001", "From": "whatsapp:+15551230009", "Body": "Hi"}
    await bare_sim.ask("POST", "/2010-04-01/Accounts/AC1/Messages.json", login, data=form)

    for to in ("+15551230008", "+15551230009"):
        assert (await bare_sim.inbound(**WROTE | {"to": to}))[0] == 200

    assert ["/events", "/message"] == [one.path for one in hook.received]


async def test_the_simulator_tells_who_it_is(whatsapp: Sim) -> None:
    """`GET /_sim` names the providers, and where mails are taken."""
    status, answer = await whatsapp.ask("GET", "/_sim")

    assert (status, answer) == (
        200,
        {"providers": ["meta", "sendgrid", "smtp", "twilio"], "smtp": None},
    )
