"""What Meta brings: messages of every kind, many at once, some of them broken, and to whom."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from channels.model import Channel
from tests.service.conftest import PUBLIC
from tests.service.wires import (
    OURS,
    connect,
    from_meta,
    from_twilio,
    hook,
    inbound_of,
    row_of,
    send,
    step,
    suppressed,
    whatsapp_post,
    whatsapp_text,
    whatsapp_value,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

ADA = "447700900123"
BSUID = "GB.13491208655302741918"


@pytest.fixture
async def account(gateway: Gateway, api: Api) -> UUID:
    """Meta, with the default sender."""
    api.says(200, {"messages": [{"id": "wamid.out"}]})
    return await connect(gateway, "meta", Channel.WHATSAPP)


def message(kind: str, part: Any, **more: Any) -> dict[str, Any]:
    """A message of some type."""
    stamp = str(int(time.time()))
    wamid = f"wamid.{kind}{len(str(part))}"
    return {"from": ADA, "id": wamid, "timestamp": stamp, "type": kind, kind: part, **more}


async def test_many_at_once(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """Several entries with messages and statuses, one of them broken: the others are stored, and
    the same request again changes nothing."""
    first = whatsapp_text("Hi", wamid="wamid.1", sender=ADA)
    await from_meta(gateway, account, whatsapp_post(whatsapp_value(first)))
    sent = await send(ask, "whatsapp", f"+{ADA}", body="Hello")
    await step(api.worker(gateway))
    status = {"id": "wamid.out", "timestamp": str(int(time.time())), "recipient_id": ADA}
    post = whatsapp_post(
        whatsapp_value(
            whatsapp_text("Two", wamid="wamid.2", sender=ADA),
            whatsapp_text("Two again", wamid="wamid.2", sender=ADA),
            {"type": "text"},
            "nonsense",
            whatsapp_text("Three\0 \ud800", wamid="wamid.3", sender="447700900124"),
        ),
        whatsapp_value(
            statuses=[
                {**status, "status": "read"},
                7,
                {**status, "status": "from-next-year"},
                {**status, "status": "delivered"},
            ]
        ),
        {"messages": "no list"},
        whatsapp_value(whatsapp_text("Four", wamid="wamid.4", sender=ADA)),
    )
    post["entry"].append({"changes": [{"field": "account_update", "value": {"x": 1}}]})
    for _ in range(2):
        assert 200 == (await from_meta(gateway, account, post)).status
    rows = {row["external_id"]: row["body"] for row in await inbound_of(ask)}
    row = await row_of(ask, sent)

    assert {"wamid.1": "Hi", "wamid.2": "Two", "wamid.4": "Four"} == {
        name: body for name, body in rows.items() if name != "wamid.3"
    }
    assert rows["wamid.3"].startswith("Three")
    assert ("read", True) == (row["status"], row["delivered_at"] is not None)
    events = (await ask("GET", f"/v1/messages/{sent['id']}/events")).body["data"]
    assert 1 == sum(event["type"] == "from-next-year" for event in events)


@pytest.mark.parametrize(
    ("given", "body", "told"),
    [
        (message("button", {"text": "Yes", "payload": "P1"}), "Yes", {"button_payload": "P1"}),
        (
            message("interactive", {"type": "list_reply", "list_reply": {"id": "r", "title": "R"}}),
            "R",
            {"button_payload": "r"},
        ),
        (
            message("reaction", {"message_id": "wamid.out", "emoji": "👍"}),
            "👍",
            {"reaction": {"message_id": "wamid.out", "emoji": "👍"}},
        ),
        (message("from_next_year", {"x": 1}), "", {"type": "from_next_year"}),
    ],
)
async def test_kinds(
    gateway: Gateway, ask: Ask, account: UUID, given: Any, body: str, told: dict[str, Any]
) -> None:
    """Buttons, lists, reactions and types of next year are rows, with what they say."""
    assert 200 == (await from_meta(gateway, account, whatsapp_post(whatsapp_value(given)))).status
    (row,) = await inbound_of(ask)
    assert body == row["body"]
    assert told == {name: row["metadata"]["provider"].get(name) for name in told}


async def test_a_person_without_a_number(
    gateway: Gateway, ask: Ask, api: Api, account: UUID
) -> None:
    """Somebody known by a user id alone writes, gets an answer there, and can stop us."""
    text = whatsapp_text("Hi", wamid="wamid.b", sender="x") | {"from_user_id": BSUID}
    del text["from"]
    await from_meta(gateway, account, whatsapp_post(whatsapp_value(text)))
    (row,) = await inbound_of(ask)
    assert BSUID == row["from_address"]
    await send(ask, "whatsapp", BSUID, body="Hello")
    await step(api.worker(gateway))
    assert (BSUID, None) == (api.last["recipient"], api.last.get("to"))

    stop = text | {"id": "wamid.c", "text": {"body": "stop"}}
    await from_meta(gateway, account, whatsapp_post(whatsapp_value(stop)))
    assert {("whatsapp", BSUID, "stop")} == await suppressed(ask)
    body = {"channel": "whatsapp", "to": BSUID, "body": "Hello"}
    assert {"to"} == set((await ask("POST", "/v1/messages", body)).fields())


@pytest.mark.parametrize("beside", ["message", "contact"])
async def test_both_addresses_of_a_person(
    gateway: Gateway, ask: Ask, api: Api, account: UUID, beside: str
) -> None:
    """Who writes with a number and a user id is heard for both: free texts may follow to either,
    until STOP holds back what waits and refuses what is new to either, and until START."""
    phone, sent = f"+{ADA}", {"options": {"name": "promo", "language": "en_US"}}

    async def says(body: str, ago: float) -> None:
        text = whatsapp_text(body, wamid=f"wamid.{body}", sender=ADA, at=time.time() - ago)
        if beside == "message":
            value = whatsapp_value(text | {"from_user_id": BSUID})
        else:
            value = whatsapp_value(text, contacts=[{"wa_id": ADA, "user_id": BSUID}])
        assert 200 == (await from_meta(gateway, account, whatsapp_post(value))).status

    await says("Hi", 50)
    waiting = [await send(ask, "whatsapp", to, body="Hello") for to in (phone, BSUID)]
    waiting += [await send(ask, "whatsapp", to, **sent) for to in (phone, BSUID)]
    await says("STOP", 40)
    assert {("whatsapp", to, "stop") for to in (phone, BSUID)} == await suppressed(ask)
    for to in (phone, BSUID):
        refused = await ask("POST", "/v1/messages", {"channel": "whatsapp", "to": to} | sent)
        assert (422, {"to"}) == (refused.status, set(refused.fields()))
    await step(api.worker(gateway))
    rows = [await row_of(ask, row) for row in waiting]
    assert {("failed", "suppressed")} == {(row["status"], row["error_code"]) for row in rows}
    assert [] == api.asked

    await says("START", 30)
    assert set() == await suppressed(ask)


async def test_both_addresses_by_twilio(gateway: Gateway, ask: Ask) -> None:
    """Whose number Twilio told with the user id is the same person when it tells the id alone."""
    await connect(gateway, "twilio", Channel.WHATSAPP)

    async def writes(sid: str, sender: str) -> None:
        fields = {"MessageSid": "SM" + sid * 32, "From": f"whatsapp:{sender}", "Body": "Hi",
                  "To": f"whatsapp:{OURS[Channel.WHATSAPP]}",
                  "ExternalUserId": f"whatsapp:{BSUID}"}  # fmt: skip
        assert 200 == (await from_twilio(gateway, "message", fields)).status

    await writes("1", f"+{ADA}")
    await send(ask, "whatsapp", BSUID, body="Hello")
    await writes("2", BSUID)
    rows = (await ask("GET", "/v1/messages")).body["data"]
    assert (3, 1) == (len(rows), len({row["conversation_id"] for row in rows}))


async def test_out_of_order(gateway: Gateway, ask: Ask, account: UUID) -> None:
    """STOP and START count by when they were said, not by when they came; a clock that goes fast
    does not outlast what an owner says later."""
    now = time.time()

    async def says(word: str, ago: float) -> None:
        text = whatsapp_text(word, wamid=f"wamid.{word}{ago}", sender=ADA, at=now - ago)
        await from_meta(gateway, account, whatsapp_post(whatsapp_value(text)))

    await says("START", 50)
    await says("STOP", 100)
    assert set() == await suppressed(ask)
    await says("STOP", 20)
    await says("START", 40)
    assert {("whatsapp", f"+{ADA}", "stop")} == await suppressed(ask)
    await says("START", 10)
    assert set() == await suppressed(ask)

    await says("STOP", -86400)
    (row,) = (await ask("GET", "/v1/suppressions")).body["data"]
    lifted = await ask("DELETE", f"/v1/suppressions/{row['id']}", key=gateway.a.owner)
    assert (204, set()) == (lifted.status, await suppressed(ask))


async def test_doors(gateway: Gateway, ask: Ask, account: UUID) -> None:
    """The handshake answers its challenge to the right token alone; what is not signed by the
    app, or is no JSON, is not stored."""
    path = f"/webhooks/meta/{account}/events?hub.mode=subscribe&hub.challenge=123&hub.verify_token="
    good, bad = await ask("GET", path + "hello", key=""), await ask("GET", path + "x", key="")
    assert (200, "123") == (good.status, str(good.body))
    assert 403 == bad.status
    async with gateway.database.as_service() as db:
        kept = await db.fetchval("SELECT url FROM gateway.webhook_requests")
    assert PUBLIC + path + "***" == kept
    post = whatsapp_post(whatsapp_value(whatsapp_text("Hi", wamid="wamid.1", sender=ADA)))
    assert 403 == (await from_meta(gateway, account, post, secret="0" * 32)).status
    assert 403 == (await hook(gateway, "meta", account, "events", data=b"{}")).status
    assert 400 == (await from_meta(gateway, account, b"{")).status
    assert [] == await inbound_of(ask)
    other = await ask("POST", f"/webhooks/sendgrid/{account}/events", key="")
    assert 404 == other.status
    assert 404 == (await hook(gateway, "meta", account, "from-next-year", data=b"{}")).status


async def test_who_opens_the_chat(gateway: Gateway, ask: Ask, account: UUID) -> None:
    """Somebody who opened the chat for the first time may be welcomed: Meta opens the window."""
    post = whatsapp_post(whatsapp_value(message("request_welcome", {})))
    assert 200 == (await from_meta(gateway, account, post)).status
    body = {"channel": "whatsapp", "to": f"+{ADA}", "body": "Welcome"}
    assert 202 == (await ask("POST", "/v1/messages", body)).status


async def test_what_is_not_passed_on(gateway: Gateway, ask: Ask, account: UUID) -> None:
    """Somebody whose first message is in the WhatsApp Business app alone has written, and can be
    answered; what cannot be known to be a message opens no window."""

    async def brought(code: int) -> int:
        errors = [{"code": code, "title": "x"}]
        hidden = message("unsupported", {}, errors=errors, id=f"wamid.{code}")
        post = whatsapp_post(whatsapp_value(hidden))
        assert 200 == (await from_meta(gateway, account, post)).status
        body = {"channel": "whatsapp", "to": f"+{ADA}", "body": "Hello"}
        return (await ask("POST", "/v1/messages", body)).status

    assert 422 == await brought(131051)
    assert 202 == await brought(131060)
