"""Who must not be written to on WhatsApp, whichever of their addresses they speak under."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from channels.model import Channel
from tests.service.wires import (
    OURS,
    Api,
    connect,
    from_meta,
    from_twilio,
    inbound_of,
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

ADA, PHONE = "447700900123", "+447700900123"
BSUID, NEXT = "GB.13491208655302741918", "GB.22291208655302741918"
TEMPLATE = {"options": {"name": "promo", "language": "en_US"}}

Says = Callable[..., Awaitable[None]]


@pytest.fixture
async def account(gateway: Gateway) -> UUID:
    """Meta, with the default sender."""
    return await connect(gateway, "meta", Channel.WHATSAPP)


@pytest.fixture
def says(gateway: Gateway, account: UUID) -> Says:
    """A function that writes a text from a number, from a user id, or from both."""
    now = time.time()

    async def say(body: str, ago: float, **named: str) -> None:
        text = whatsapp_text(body, wamid=f"wamid.{body}.{ago}", sender="x", at=now - ago)
        del text["from"]
        post = whatsapp_post(whatsapp_value(text | named))
        assert 200 == (await from_meta(gateway, account, post)).status

    return say


def stops(*addresses: str) -> set[tuple[str, str, str]]:
    """What the list says of whoever said STOP at these."""
    return {("whatsapp", address, "stop") for address in addresses}


async def refusals(ask: Ask, *addresses: str) -> list[int]:
    """What a send to each is answered."""
    body = {"channel": "whatsapp"} | TEMPLATE
    return [(await ask("POST", "/v1/messages", body | {"to": to})).status for to in addresses]


async def test_a_stop_by_user_id(ask: Ask, says: Says) -> None:
    """Who wrote with number and user id before, and says STOP under the user id alone, is written
    to at neither; START takes it back for both."""
    await says("Hi", 50, **{"from": ADA}, from_user_id=BSUID)
    await says("STOP", 40, from_user_id=BSUID)
    assert stops(PHONE, BSUID) == await suppressed(ask)
    assert [422, 422] == await refusals(ask, PHONE, BSUID)
    await says("START", 30, from_user_id=BSUID)
    assert set() == await suppressed(ask)


async def test_a_stop_by_number(ask: Ask, says: Says) -> None:
    """And the other way round; a later START under the other address takes it back, too."""
    await says("Hi", 50, **{"from": ADA}, from_user_id=BSUID)
    await says("STOP", 40, **{"from": ADA})
    assert stops(PHONE, BSUID) == await suppressed(ask)
    await says("START", 30, from_user_id=BSUID)
    assert set() == await suppressed(ask)
    await says("STOP", 35, **{"from": ADA})
    assert set() == await suppressed(ask)


async def test_a_stop_by_twilio(gateway: Gateway, ask: Ask) -> None:
    """Twilio's user ids are the same people's."""
    await connect(gateway, "twilio", Channel.WHATSAPP)
    for sid, sender, body in (("1", PHONE, "Hi"), ("2", BSUID, "Stop")):
        fields = {"MessageSid": "SM" + sid * 32, "From": f"whatsapp:{sender}", "Body": body,
                  "To": f"whatsapp:{OURS[Channel.WHATSAPP]}",
                  "ExternalUserId": f"whatsapp:{BSUID}"}  # fmt: skip
        assert 200 == (await from_twilio(gateway, "message", fields)).status
    assert stops(PHONE, BSUID) == await suppressed(ask)


@pytest.mark.parametrize("who", [{"From": f"whatsapp:{ADA}", "WaId": ADA}, {"WaId": ADA}])
async def test_a_number_without_its_plus_by_twilio(
    gateway: Gateway, ask: Ask, who: dict[str, str]
) -> None:
    """Who comes without the + is the person with it: found, answered, and heard when they stop."""
    await connect(gateway, "twilio", Channel.WHATSAPP)
    fields = {"To": f"whatsapp:{OURS[Channel.WHATSAPP]}", **who}
    hello = fields | {"MessageSid": "SM" + "1" * 32, "Body": "Hi"}
    assert 200 == (await from_twilio(gateway, "message", hello)).status
    (row,) = await inbound_of(ask, address=PHONE)
    path = f"/v1/conversations/{row['conversation_id']}/messages"
    reply = await ask("POST", path, {"body": "Hello"})
    assert (202, PHONE) == (reply.status, reply.body["to_address"])

    stop = fields | {"MessageSid": "SM" + "2" * 32, "Body": "Stop"}
    assert 200 == (await from_twilio(gateway, "message", stop)).status
    assert stops(PHONE) == await suppressed(ask)


async def test_a_stop_by_a_user_id_that_answers(
    gateway: Gateway, ask: Ask, api: Api, account: UUID
) -> None:
    """Who hides their number and answers what was sent to it is known by both: STOP holds for both,
    and stands in their conversation."""
    api.says(200, {"messages": [{"id": "wamid.out"}]})
    sent = await send(ask, "whatsapp", PHONE, **TEMPLATE)
    await step(api.worker(gateway))
    tapped = {
        "id": "wamid.tapped",
        "from_user_id": BSUID,
        "timestamp": str(int(time.time())),
        "type": "button",
        "button": {"text": "STOP", "payload": "STOP"},
        "context": {"from": "15551230009", "id": "wamid.out"},
    }
    assert 200 == (await from_meta(gateway, account, whatsapp_post(whatsapp_value(tapped)))).status
    (row,) = await inbound_of(ask)
    assert (BSUID, sent["id"]) == (row["from_address"], row["metadata"]["reply_to"])
    assert sent["conversation_id"] == row["conversation_id"]
    assert stops(PHONE, BSUID) == await suppressed(ask)


async def test_a_refusal_of_who_stopped_advertising(
    gateway: Gateway, ask: Ask, api: Api, account: UUID
) -> None:
    """Who stopped marketing messages in WhatsApp, as a send was told, may want them again."""
    api.says(400, {"error": {"code": 131050, "message": "Stopped."}})
    await send(ask, "whatsapp", PHONE, **TEMPLATE)
    await step(api.worker(gateway))
    assert {("whatsapp", PHONE, "unsubscribe")} == await suppressed(ask)
    wish = {"wa_id": ADA, "category": "marketing_messages", "value": "resume",
            "timestamp": str(int(time.time()) + 9)}  # fmt: skip
    post = whatsapp_post(whatsapp_value(user_preferences=[wish]))
    post["entry"][0]["changes"][0]["field"] = "user_preferences"
    assert 200 == (await from_meta(gateway, account, post)).status
    assert set() == await suppressed(ask)


async def test_a_number_that_answers_anothers_message(
    gateway: Gateway, ask: Ask, api: Api, says: Says
) -> None:
    """Somebody with another number is somebody else, whatever they answer."""
    api.says(200, {"messages": [{"id": "wamid.out"}]})
    await send(ask, "whatsapp", PHONE, **TEMPLATE)
    await step(api.worker(gateway))
    quoted = {"context": {"from": "15551230009", "id": "wamid.out"}}
    await says("STOP", 1, **{"from": "447700900999"}, **quoted)
    assert stops("+447700900999") == await suppressed(ask)


async def test_others_in_a_conversation(gateway: Gateway, ask: Ask, says: Says) -> None:
    """A number brings no other number along, and START takes back nothing that somebody else said;
    another tenant's list is its own."""
    await says("Hi", 50, **{"from": ADA}, from_user_id=BSUID)
    await says("Hello", 49, **{"from": "447700900999"})
    (row,) = await inbound_of(ask, address=PHONE)
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.conversation_addresses SET conversation_id = $1", row["conversation_id"]
        )
    await says("STOP", 40, **{"from": "447700900999"})
    assert stops("+447700900999", BSUID) == await suppressed(ask)
    await says("START", 30, **{"from": ADA})
    assert stops("+447700900999", BSUID) == await suppressed(ask)
    listed = await ask("GET", "/v1/suppressions", key=gateway.b.key)
    assert [] == listed.body["data"]


def system(word: str, **told: Any) -> dict[str, Any]:
    """What WhatsApp tells of a person whose address is another one now."""
    return {
        "id": f"wamid.{word}",
        "timestamp": str(int(time.time())),
        "type": "system",
        "system": {"body": "User Ada changed", "type": word, **told},
    }


@pytest.mark.parametrize(
    ("given", "new"),
    [
        (system("user_changed_user_id", previous_user_id=BSUID, user_id=NEXT), {NEXT}),
        (
            {"from": ADA} | system("user_changed_number", wa_id="447700900124", user_id=NEXT),
            {"+447700900124", NEXT},
        ),
        ({"from": ADA} | system("user_changed_number", new_wa_id=447700900124), {"+447700900124"}),
        ({"from": ADA} | system("customer_identity_changed", wa_id=ADA), set()),
    ],
)
async def test_another_address(
    gateway: Gateway, ask: Ask, says: Says, account: UUID, given: dict[str, Any], new: set[str]
) -> None:
    """Who said STOP is not written to under the number or user id that they have from then on,
    until START; what WhatsApp tells of it stands in their conversation, once."""
    await says("STOP", 40, **{"from": ADA}, from_user_id=BSUID)
    for _ in range(2):
        assert (
            200 == (await from_meta(gateway, account, whatsapp_post(whatsapp_value(given)))).status
        )
    assert stops(PHONE, BSUID, *new) == await suppressed(ask)
    assert [422] * len(new) == await refusals(ask, *new)
    rows = await inbound_of(ask)
    assert (2, 1) == (len(rows), len({row["conversation_id"] for row in rows}))
    assert "User Ada changed" == rows[0]["body"]

    if NEXT in new:
        await says("START", -60, from_user_id=NEXT)
        assert stops(PHONE, BSUID) == await suppressed(ask)


def update(**ids: dict[str, str]) -> dict[str, Any]:
    """The field of Meta's that tells of another user id, and nothing else."""
    told = {**ids, "timestamp": str(int(time.time()))}
    post = whatsapp_post(whatsapp_value(user_id_update=[told]))
    post["entry"][0]["changes"][0]["field"] = "user_id_update"
    return post


async def test_another_user_id(gateway: Gateway, ask: Ask, says: Says, account: UUID) -> None:
    """Who hides their number and has another user id is in the same conversation under it, also
    what they wrote before that was told; a later STOP holds for all their addresses."""
    await says("Hi", 50, **{"from": ADA}, from_user_id=BSUID)
    await says("I am new", 40, from_user_id=NEXT)
    for _ in range(2):
        ids = {"user_id": {"previous": BSUID, "current": NEXT}}
        assert 200 == (await from_meta(gateway, account, update(**ids))).status
    await says("STOP", 30, from_user_id=NEXT)
    assert 1 == len({row["conversation_id"] for row in await inbound_of(ask)})
    assert stops(PHONE, BSUID, NEXT) == await suppressed(ask)


async def test_another_user_id_of_a_stranger(gateway: Gateway, ask: Ask, account: UUID) -> None:
    """Whom nobody knows has no conversation for that."""
    ids = {"user_id": {"previous": BSUID, "current": NEXT}}
    assert 200 == (await from_meta(gateway, account, update(**ids))).status
    assert [] == (await ask("GET", "/v1/conversations")).body["data"]


async def test_another_address_of_nobody_in_particular(
    gateway: Gateway, ask: Ask, account: UUID
) -> None:
    """Who may be written to may be, under the next address, too."""
    given = system("user_changed_user_id", previous_user_id=BSUID, user_id=NEXT)
    assert 200 == (await from_meta(gateway, account, whatsapp_post(whatsapp_value(given)))).status
    assert set() == await suppressed(ask)


@pytest.mark.parametrize(
    ("given", "new"),
    [
        ({"from": ADA} | system("user_changed_number", wa_id="447700900124"), "+447700900124"),
        ({"from": ADA} | system("user_changed_number", new_wa_id="447700900124"), "+447700900124"),
        (system("user_changed_user_id", previous_user_id=BSUID, user_id=NEXT), NEXT),
        ({"from": ADA} | system("user_changed_user_id", user_id=NEXT), PHONE),
        ({"from": ADA} | system("customer_identity_changed", wa_id=ADA), PHONE),
    ],
)
async def test_an_answer_goes_to_the_address_that_they_have_now(
    gateway: Gateway, ask: Ask, says: Says, account: UUID, given: dict[str, Any], new: str
) -> None:
    """What is answered after somebody has changed their number does not go to the one that is
    somebody else's by now; what they write from the new one stands in the same conversation."""
    await says("Hi", 50, **{"from": ADA}, from_user_id=BSUID)
    assert 200 == (await from_meta(gateway, account, whatsapp_post(whatsapp_value(given)))).status
    (row, _) = await inbound_of(ask)
    url = f"/v1/conversations/{row['conversation_id']}/messages"
    sent = await ask("POST", url, TEMPLATE | {"channel": "whatsapp"})
    assert (202, new) == (sent.status, sent.body.get("to_address")), sent.body
    named = {"from_user_id": new} if new == NEXT else {"from": new.removeprefix("+")}
    await says("It is me", -60, **named)
    assert 1 == len({each["conversation_id"] for each in await inbound_of(ask)})
