"""The Cloud API: what is accepted and refused, statuses by signed webhook, files."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import Any

import aiohttp
import pytest

from tests.simulator.conftest import Hook, Received, Sim

PHONE = "106540352242922"
SECRET = "app-secret"
TOKEN = "EAA-token"
ACCOUNT = {
    "access_token": "EAA-token",
    "phone_number_id": PHONE,
    "app_secret": SECRET,
    "verify_token": "verify me",
    "display_phone_number": "+1 555 123 0002",
}
PATH = f"/v23.0/{PHONE}/messages"
TEXT: dict[str, Any] = {
    "messaging_product": "whatsapp",
    "recipient_type": "individual",
    "to": "15551230001",
    "type": "text",
    "text": {"body": "Hello"},
}


@pytest.fixture
async def whatsapp(bare_sim: Sim) -> Sim:
    """An account whose webhook hears everything."""
    webhooks = {"events": f"{bare_sim.hook.base}/events"}
    await bare_sim.account("meta", **ACCOUNT, webhooks=webhooks)
    await bare_sim.plan(match=None)
    return bare_sim


async def _send(
    sim: Sim, body: Any = TEXT, *, token: str = TOKEN, path: str = PATH
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    return await sim.ask("POST", path, headers=headers, json=body)


def _is_signed(received: Received) -> bool:
    digest = hmac.new(SECRET.encode(), received.body, hashlib.sha256).hexdigest()
    return received.headers["X-Hub-Signature-256"] == f"sha256={digest}"


def _value(received: Received) -> dict[str, Any]:
    """The one change of a notification, whose frame is checked."""
    payload = received.json()
    (entry,) = payload["entry"]
    (change,) = entry["changes"]
    value: dict[str, Any] = change["value"]
    assert (payload["object"], change["field"]) == ("whatsapp_business_account", "messages")
    assert value["metadata"] == {
        "display_phone_number": "15551230002",
        "phone_number_id": PHONE,
    }
    return value


def _statuses(hook: Hook) -> list[dict[str, Any]]:
    return [status for received in hook.received for status in _value(received)["statuses"]]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("queued", []),
        ("sent", ["sent"]),
        ("delivered", ["sent", "delivered"]),
        ("read", ["sent", "delivered", "read"]),
        ("failed", ["failed"]),
        ("undelivered", ["sent", "failed"]),
        ("canceled", ["failed"]),
        ("busy", ["failed"]),
    ],
)
async def test_an_outcome_is_told_in_metas_statuses(
    whatsapp: Sim, hook: Hook, outcome: str, words: list[str]
) -> None:
    """200 with a wamid; then a status for each step, signed over the raw body."""
    await whatsapp.plan(match={"to": "+15551230001", "channel": "whatsapp"}, outcome=outcome)

    status, answer = await _send(whatsapp, TEXT | {"biz_opaque_callback_data": "m-1"})
    await hook.count(len(words))
    await asyncio.sleep(0.02)

    (message,) = answer["messages"]
    assert (status, answer["messaging_product"]) == (200, "whatsapp")
    assert answer["contacts"] == [{"input": "15551230001", "wa_id": "15551230001"}]
    assert message["id"].startswith("wamid.")
    told = _statuses(hook)
    assert [one["status"] for one in told] == words
    assert all(_is_signed(received) for received in hook.received)
    assert all(one["id"] == message["id"] for one in told)
    assert all(one["biz_opaque_callback_data"] == "m-1" for one in told)
    assert all(one["timestamp"].isdigit() and one["recipient_id"] == "15551230001" for one in told)


@pytest.mark.parametrize(
    ("given", "code", "title"),
    [
        (None, 131026, "Message undeliverable"),
        (131049, 131049, "Message not delivered"),
        ("131999", 131999, "Error 131999"),
        ("odd", 131026, "Message undeliverable"),
    ],
)
async def test_a_failure_says_why(
    whatsapp: Sim, hook: Hook, given: object, code: int, title: str
) -> None:
    """A failed status carries errors, and no price."""
    await whatsapp.plan(match=None, outcome="failed", error_code=given)

    await _send(whatsapp)
    await hook.count(1)

    (status,) = _statuses(hook)
    (error,) = status["errors"]
    assert (error["code"], error["title"], error["message"]) == (code, title, title)
    assert error["error_data"]["details"]
    assert not {"pricing", "conversation"} & status.keys()


async def test_batch_is_several_statuses_in_one_post(whatsapp: Sim, hook: Hook) -> None:
    """All statuses, doubled and shuffled, in one notification."""
    await whatsapp.plan(match=None, outcome="read", faults=["batch", "duplicate", "reorder"])

    await _send(whatsapp)
    await hook.count(1)

    words = [one["status"] for one in _statuses(hook)]
    assert sorted(words) == ["delivered", "delivered", "read", "read", "sent", "sent"]


@pytest.mark.parametrize(
    ("faults", "answers", "statuses"),
    [
        (["429"], [429, 200], 2),
        (["500"], [500, 200], 2),
        (["503"], [503, 200], 2),
        (["504"], [504, 200], 2),
        (["reset"], [None, 200], 2),
        (["reset_after_accept"], [None, 200], 4),
        (["drop"], [200, 200], 0),
    ],
)
async def test_the_plan_disturbs_whatsapp_too(
    whatsapp: Sim,
    hook: Hook,
    faults: list[str],
    answers: list[int | None],
    statuses: int,
) -> None:
    """Refused or lost; and every request is told with its answer and Meta's code."""
    await whatsapp.plan(match={"body": "Hel"}, faults=faults)

    found: list[int | None] = []
    for _ in answers:
        try:
            found.append((await _send(whatsapp))[0])
        except (aiohttp.ClientConnectionError, ConnectionError):
            found.append(None)
    await hook.count(statuses)

    asked = await whatsapp.data("requests")
    codes = {429: 130429, 500: 131000, 503: 131016}
    assert found == answers
    assert [(one["status"], one["error_code"]) for one in asked] == [
        (status, codes.get(status or 0)) for status in answers
    ]
    assert asked[0]["params"] == TEXT


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"messaging_product": "sms"}, 100),
        ({"to": None}, 100),
        ({"to": "nobody"}, 100),
        ({"to": "15551230002"}, 131021),
        ({"type": "hologram"}, 100),
        ({"text": None}, 131008),
        ({"text": {"body": ""}}, 131008),
        ({"text": {"body": "x" * 4097}}, 100),
        ({"type": "image", "image": {}}, 131008),
        ({"type": "image", "image": {"id": "1", "caption": "x" * 1025}}, 100),
        ({"type": "audio", "audio": {"id": "1", "caption": "x"}}, 100),
        ({"type": "template", "template": {"name": "hi"}}, 131008),
        ({"type": "reaction", "reaction": {"emoji": "👍"}}, 131008),
        ({"context": {}}, 100),
        ({"biz_opaque_callback_data": "x" * 513}, 100),
    ],
)
async def test_a_wrong_message_is_refused_with_metas_code(
    whatsapp: Sim, more: dict[str, Any], code: int
) -> None:
    """400 with `error`: message, type, code, details, trace; nothing is sent."""
    status, answer = await _send(whatsapp, TEXT | more)

    error = answer["error"]
    assert (status, error["code"], error["type"]) == (400, code, "OAuthException")
    assert error["message"].startswith(f"(#{code}) ")
    assert error["error_data"]["details"]
    assert await whatsapp.data("messages") == []


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"type": None}, "Hello"),
        ({"to": "+1 (555) 123-0001"}, "Hello"),
        ({"context": {"message_id": "wamid.1"}}, "Hello"),
        ({"type": "image", "image": {"link": "https://a.test/1", "caption": "Look"}}, "Look"),
        ({"type": "document", "document": {"id": "1", "filename": "a.pdf"}}, ""),
        ({"type": "reaction", "reaction": {"message_id": "wamid.1", "emoji": "👍"}}, "👍"),
        ({"type": "interactive", "interactive": {"body": {"text": "Choose"}}}, "Choose"),
        ({"type": "interactive", "interactive": {}}, ""),
        ({"type": "location", "location": {"name": "Clinic"}}, "Clinic"),
        ({"type": "contacts", "contacts": [{}]}, ""),
    ],
)
async def test_other_messages_that_are_accepted(
    whatsapp: Sim, more: dict[str, Any], text: str
) -> None:
    """Numbers as people write them, quotes, media, and every other kind."""
    status, _ = await _send(whatsapp, TEXT | more)

    (message,) = await whatsapp.data("messages")
    assert (status, message["body"], message["to"]) == (200, text, "15551230001")


async def test_a_user_without_a_phone_is_a_recipient(whatsapp: Sim, hook: Hook) -> None:
    """A user's own id stands in `recipient`, and in the answer."""
    status, answer = await _send(whatsapp, TEXT | {"to": None, "recipient": "US.1234"})
    await hook.count(1)

    assert (status, answer["contacts"]) == (200, [{"input": "US.1234", "user_id": "US.1234"}])
    assert _statuses(hook)[0]["recipient_id"] == "US.1234"


def _template(*values: str, name: str = "appointment", code: str = "en_US") -> dict[str, Any]:
    parameters = [{"type": "text", "text": value} for value in values]
    components = [{"type": "header"}, {"type": "body", "parameters": parameters}]
    template = {"name": name, "language": {"code": code}, "components": components}
    return TEXT | {"type": "template", "template": template}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (_template("Ana", "9:30"), 200, "Hi Ana, at 9:30"),
        (_template("Ana", code="es"), 200, "Hola Ana"),
        (_template("Ana"), 400, 132000),
        (_template("Ana", name="other"), 404, 132001),
    ],
)
async def test_templates_are_checked_where_the_account_has_some(
    whatsapp: Sim, body: dict[str, Any], status: int, said: object
) -> None:
    """By name and language, with as many parameters as the template has variables."""
    templates = {"appointment": "Hi {{1}}, at {{2}}", "appointment/es": "Hola {{name}}"}
    await whatsapp.account("meta", **ACCOUNT, templates=templates)

    answered, answer = await _send(whatsapp, body)

    found = answer["error"]["code"] if "error" in answer else None
    bodies = [message["body"] for message in await whatsapp.data("messages")]
    assert (answered, found or bodies[0]) == (status, said)


async def test_without_templates_every_one_is_accepted(whatsapp: Sim) -> None:
    """And its answer tells that it was, as Meta does for templates alone."""
    _, answer = await _send(whatsapp, _template("Ana"))

    assert answer["messages"][0]["message_status"] == "accepted"


@pytest.mark.parametrize(
    ("token", "path", "status", "code"),
    [
        ("wrong", PATH, 401, 190),
        ("", PATH, 401, 190),
        ("EAA-token", PATH.replace(PHONE, "1"), 400, 100),
        ("EAA-token", "/v23.0/1/2/3", 404, 100),
    ],
)
async def test_credentials_are_checked(
    whatsapp: Sim, token: str, path: str, status: int, code: int
) -> None:
    """The token opens its own phone number and no other; unknown paths are Meta's errors too."""
    answered, answer = await _send(whatsapp, token=token, path=path)

    assert (answered, answer["error"]["code"]) == (status, code)


async def test_a_body_that_is_no_object_is_refused(whatsapp: Sim) -> None:
    """And the outcome `refused` is an error with the plan's code."""
    broken = await _send(whatsapp, [])
    await whatsapp.plan(match=None, outcome="refused", error_code=131030)
    refused = await _send(whatsapp)

    assert [one[1]["error"]["code"] for one in (broken, refused)] == [100, 131030]


@pytest.mark.parametrize("by_account", [True, False])
async def test_free_texts_fail_outside_the_window(
    whatsapp: Sim, hook: Hook, *, by_account: bool
) -> None:
    """Accepted, then failed with 131047, until the person writes; templates always go."""
    webhooks = {"events": f"{hook.base}/events"}
    await whatsapp.account("meta", **ACCOUNT, webhooks=webhooks, enforce_window=by_account)
    plan: dict[str, Any] = {} if by_account else {"enforce_window": True}
    await whatsapp.plan(match=None, outcome="sent", faults=["before_response"], **plan)

    early, _ = await _send(whatsapp)
    template, _ = await _send(whatsapp, _template("Ana"))
    told = [(one["status"], "errors" in one) for one in _statuses(hook)]
    await whatsapp.inbound(channel="whatsapp", to="+15551230002", **{"from": "+15551230001"})
    hook.received.clear()
    await _send(whatsapp)

    assert (early, template, told) == (200, 200, [("failed", True), ("sent", False)])
    assert [one["status"] for one in _statuses(hook)] == ["sent"]


async def test_messages_are_marked_read(whatsapp: Sim) -> None:
    """Those that came in, and no others; both are requests that `/_sim` tells."""
    body = {"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.1"}
    _, answer = await whatsapp.inbound(
        channel="whatsapp", to="+15551230002", **{"from": "+15551230001"}
    )

    unknown = await _send(whatsapp, body)
    known = await _send(whatsapp, body | {"message_id": answer["sid"]})

    assert (unknown[0], known) == (400, (200, {"success": True}))
    asked = await whatsapp.data("requests")
    assert [one["status"] for one in asked] == [400, 200]


@pytest.mark.parametrize(
    ("token", "document", "status", "verified"),
    [
        ("verify me", None, 200, True),
        ("other", None, 200, True),
        ("verify me", "no", 200, False),
        ("verify me", None, 403, False),
    ],
)
async def test_the_handshake_on_demand(
    whatsapp: Sim, hook: Hook, *, token: str, document: str | None, status: int, verified: bool
) -> None:
    """Meta asks with its challenge; the webhook has to answer with it alone."""
    await whatsapp.account(
        "meta", **ACCOUNT | {"verify_token": token}, webhooks={"events": f"{hook.base}/events"}
    )
    hook.answers = [status]
    if document is not None:
        hook.documents["/events"] = document

    body = {"provider": "meta", "account": PHONE}
    _, answer = await whatsapp.ask("POST", "/_sim/handshake", json=body)
    (received,) = hook.received

    assert received.method == "GET"
    assert received.params["hub.mode"] == "subscribe"
    assert received.params["hub.verify_token"] == token
    assert received.params["hub.challenge"].isdigit()
    assert (answer["status"], answer["verified"]) == (status, verified)


@pytest.mark.parametrize(
    ("provider", "account", "status"), [("twilio", "AC1", 422), ("meta", "1", 404)]
)
async def test_a_handshake_needs_an_account(
    whatsapp: Sim, provider: str, account: str, status: int
) -> None:
    """Of a provider that shakes hands."""
    body = {"provider": provider, "account": account}

    assert (await whatsapp.ask("POST", "/_sim/handshake", json=body))[0] == status
