"""What people said on WhatsApp before it was known which addresses they have."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from channels.model import Channel, Status
from gateway import placing
from gateway.consent import inheriting
from gateway.ids import new_id
from gateway.receive import recipients
from gateway.store import suppressions
from gateway.store.suppressions import Person, Statement
from tests.service.test_service_whatsapp_people import (
    ADA,
    BSUID,
    NEXT,
    PHONE,
    TEMPLATE,
    Says,
    account,
    refusals,
    says,
    stops,
)
from tests.service.wires import (
    OURS,
    Api,
    connect,
    from_meta,
    from_twilio,
    inbound_of,
    row_of,
    send,
    step,
    suppressed,
    whatsapp_post,
    whatsapp_value,
)
from webhooks.model import StatusReport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tests.service.conftest import Ask, Gateway

__all__ = ["account", "says"]

OTHER = "447700900999"


async def merge(ask: Ask, kept: str, merged: str) -> None:
    """Staff say that the conversations with these two addresses are one person's."""
    (one, *_), (other, *_) = [await inbound_of(ask, address=each) for each in (kept, merged)]
    path = f"/v1/conversations/{one['conversation_id']}/merge"
    done = await ask("POST", path, {"conversation_id": other["conversation_id"]})
    assert 200 == done.status, done.body


@pytest.mark.parametrize("last", [{"from": ADA}, {"from_user_id": BSUID}])
@pytest.mark.parametrize("is_known", [False, True])
async def test_a_number_that_is_told_after_a_stop(
    ask: Ask, says: Says, last: dict[str, str], *, is_known: bool
) -> None:
    """Who said STOP under the user id alone is not written to at the number that WhatsApp says
    later they have, whether that was known; START under either takes it back for both."""
    if is_known:
        await says("Hello", 60, **{"from": ADA})
    await says("STOP", 50, from_user_id=BSUID)
    for ago in (40, 39):
        await says("Where is my parcel", ago, **{"from": ADA}, from_user_id=BSUID)
    assert stops(PHONE, BSUID) == await suppressed(ask)
    assert [422, 422] == await refusals(ask, PHONE, BSUID)
    assert 1 == len({row["conversation_id"] for row in await inbound_of(ask)})
    await says("START", 30, **last)
    assert set() == await suppressed(ask)
    await says("Thanks", 20, **{"from": ADA}, from_user_id=BSUID)
    assert set() == await suppressed(ask)


async def test_a_user_id_that_is_told_after_a_stop(ask: Ask, says: Says) -> None:
    """And the other way round: what they said of the number alone holds for the user id."""
    await says("STOP", 50, **{"from": ADA})
    await says("Hi", 40, **{"from": ADA}, from_user_id=BSUID)
    assert stops(PHONE, BSUID) == await suppressed(ask)


async def test_a_number_that_twilio_tells_after_a_stop(gateway: Gateway, ask: Ask) -> None:
    """Twilio's tell it, too: staff's answer goes to neither."""
    await connect(gateway, "twilio", Channel.WHATSAPP)
    for sid, sender, body in (("1", BSUID, "STOP"), ("2", PHONE, "Where is my parcel")):
        fields = {"MessageSid": "SM" + sid * 32, "From": f"whatsapp:{sender}", "Body": body,
                  "To": f"whatsapp:{OURS[Channel.WHATSAPP]}",
                  "ExternalUserId": f"whatsapp:{BSUID}"}  # fmt: skip
        assert 200 == (await from_twilio(gateway, "message", fields)).status
    assert stops(PHONE, BSUID) == await suppressed(ask)
    (row, _) = await inbound_of(ask)
    path = f"/v1/conversations/{row['conversation_id']}/messages"
    assert 422 == (await ask("POST", path, {"body": "Hello"})).status


async def test_who_wants_to_be_written_to_again(ask: Ask, says: Says) -> None:
    """A STOP that was taken back is not taken along, nor one that START at the other address
    followed."""
    await says("STOP", 50, from_user_id=BSUID)
    await says("START", 45, from_user_id=BSUID)
    await says("Hi", 40, **{"from": ADA}, from_user_id=BSUID)
    assert set() == await suppressed(ask)
    await says("STOP", 30, from_user_id=NEXT)
    await says("START", 25, **{"from": OTHER})
    await says("Hi", 20, **{"from": OTHER}, from_user_id=NEXT)
    assert stops(NEXT) == await suppressed(ask)


async def test_what_an_owner_lifted(gateway: Gateway, ask: Ask, says: Says) -> None:
    """A suppression that was lifted for one address does not come back with the next message."""
    await says("STOP", 50, **{"from": ADA}, from_user_id=BSUID)
    rows = (await ask("GET", "/v1/suppressions")).body["data"]
    (theirs,) = [row["id"] for row in rows if row["address"] == PHONE]
    lifted = await ask("DELETE", f"/v1/suppressions/{theirs}", key=gateway.a.owner)
    assert 204 == lifted.status
    await says("Hi", 0, **{"from": ADA}, from_user_id=BSUID)
    assert stops(BSUID) == await suppressed(ask)


async def test_what_was_not_linked_yet(gateway: Gateway, ask: Ask, says: Says) -> None:
    """A stop that holds for one of somebody's addresses only, though they have been known before,
    holds for all with their next message; what a restored one tells reaches what had been said by
    then."""
    await says("Hi", 50, **{"from": ADA}, from_user_id=BSUID)
    stop = Statement(
        id=new_id(), channel=Channel.WHATSAPP, address=BSUID, reason="stop", is_lifted=False,
        source="meta", detail={"word": "STOP"},
    )  # fmt: skip
    async with gateway.database.as_service() as db:
        await suppressions.change(db, gateway.a.organization_id, [stop])
        long_ago = Person([PHONE, BSUID], datetime.now(UTC) - timedelta(hours=1))
        await inheriting.inherit(db, gateway.a.organization_id, [long_ago])
    assert stops(BSUID) == await suppressed(ask)
    await says("Hi again", 0, **{"from": ADA}, from_user_id=BSUID)
    assert stops(PHONE, BSUID) == await suppressed(ask)


async def test_a_merge_after_a_stop(ask: Ask, says: Says) -> None:
    """Staff say that who said STOP under a user id is who has this number: that is not written to;
    START under the user id takes it back for both."""
    await says("STOP", 50, from_user_id=BSUID)
    await says("Hi", 40, **{"from": ADA})
    assert stops(BSUID) == await suppressed(ask)
    await merge(ask, PHONE, BSUID)
    assert stops(PHONE, BSUID) == await suppressed(ask)
    assert [422, 422] == await refusals(ask, PHONE, BSUID)
    await says("START", 30, from_user_id=BSUID)
    assert set() == await suppressed(ask)


async def test_a_merge_with_another_number(ask: Ask, says: Says) -> None:
    """What was said under a number reaches no other number, neither by a merge, nor over a user id
    that it brought it to."""
    await says("STOP", 50, **{"from": OTHER})
    await says("Hi", 40, **{"from": ADA}, from_user_id=BSUID)
    await merge(ask, PHONE, "+" + OTHER)
    assert stops("+" + OTHER, BSUID) == await suppressed(ask)
    await says("Hi again", 30, **{"from": ADA}, from_user_id=BSUID)
    assert stops("+" + OTHER, BSUID) == await suppressed(ask)
    assert [202] == await refusals(ask, PHONE)


async def test_a_stop_that_staff_were_told(ask: Ask, says: Says) -> None:
    """Who told staff to stop is not written to under any address, until they say START; what staff
    put on the list of their own accord concerns that address."""
    await says("Hi", 50, **{"from": ADA}, from_user_id=BSUID)
    wanted = {"channel": "whatsapp", "address": PHONE}
    added = await ask("POST", "/v1/suppressions", wanted | {"reason": "stop"})
    assert (201, PHONE) == (added.status, added.body["address"])
    assert [BSUID, PHONE] == sorted(added.body["evidence"]["said_of"], reverse=True)
    assert stops(PHONE, BSUID) == await suppressed(ask)
    await says("START", -60, from_user_id=BSUID)
    assert set() == await suppressed(ask)

    assert 201 == (await ask("POST", "/v1/suppressions", wanted | {"reason": "manual"})).status
    assert {("whatsapp", PHONE, "manual")} == await suppressed(ask)


@pytest.mark.parametrize("lifted", [PHONE, BSUID])
@pytest.mark.parametrize("is_linked_later", [False, True])
async def test_a_stop_that_staff_take_back(
    gateway: Gateway, ask: Ask, says: Says, lifted: str, *, is_linked_later: bool
) -> None:
    """Lifting what staff added restores what was before it, for all addresses of that person,
    whichever of them it is lifted for, and does not come back; a STOP of theirs remains."""
    body = {"channel": "whatsapp", "address": PHONE, "reason": "stop"}

    async def lift() -> None:
        rows = (await ask("GET", "/v1/suppressions")).body["data"]
        (theirs,) = [row["id"] for row in rows if row["address"] == lifted]
        done = await ask("DELETE", f"/v1/suppressions/{theirs}", key=gateway.a.owner)
        assert 204 == done.status

    if not is_linked_later:
        await says("Hi", 50, **{"from": ADA}, from_user_id=BSUID)
    for _ in range(2):
        assert 201 == (await ask("POST", "/v1/suppressions", body)).status
    if is_linked_later:
        await says("Hi", 50, **{"from": ADA}, from_user_id=BSUID)
    assert stops(PHONE, BSUID) == await suppressed(ask)
    await lift()
    assert set() == await suppressed(ask)
    await says("Hi again", 0, **{"from": ADA}, from_user_id=BSUID)
    assert set() == await suppressed(ask)

    assert 201 == (await ask("POST", "/v1/suppressions", body)).status
    await says("STOP", 0, **{"from": ADA}, from_user_id=BSUID)
    await lift()
    (other,) = {PHONE, BSUID} - {lifted}
    assert stops(other) == await suppressed(ask)


async def test_a_refusal_of_who_has_a_user_id(
    gateway: Gateway, ask: Ask, api: Api, says: Says, account: UUID
) -> None:
    """Who stopped marketing messages, as a send to the number was told, gets none under the user id
    either, until they want them again."""
    await says("Hi", 50, **{"from": ADA}, from_user_id=BSUID)
    api.says(400, {"error": {"code": 131050, "message": "Stopped."}})
    await send(ask, "whatsapp", PHONE, **TEMPLATE)
    await step(api.worker(gateway))
    both = {("whatsapp", address, "unsubscribe") for address in (PHONE, BSUID)}
    assert both == await suppressed(ask)
    wish = {"wa_id": ADA, "category": "marketing_messages", "value": "resume",
            "timestamp": str(int(time.time()) + 9)}  # fmt: skip
    post = whatsapp_post(whatsapp_value(user_preferences=[wish]))
    post["entry"][0]["changes"][0]["field"] = "user_preferences"
    assert 200 == (await from_meta(gateway, account, post)).status
    assert set() == await suppressed(ask)


async def learned() -> None:
    """Wait until what reports tell of people is learned, which nobody else waits for."""
    learning = [
        task
        for task in asyncio.all_tasks()
        if getattr(task.get_coro(), "__name__", "") == "_learn_or_drop"
    ]
    if learning:
        await asyncio.wait(learning)


async def reported(
    gateway: Gateway, account: UUID, word: str, at: float = 0, **named: str | None
) -> None:
    """Meta says what became of a message of ours, and to whom it went."""
    told = {"id": "wamid.out", "status": word, "timestamp": str(int(time.time() + at)),
            "recipient_id": ADA, "recipient_user_id": BSUID} | named  # fmt: skip
    post = whatsapp_post(whatsapp_value(statuses=[told]))
    assert 200 == (await from_meta(gateway, account, post)).status


@pytest.mark.parametrize("is_first", [False, True])
async def test_a_user_id_that_a_report_tells(
    gateway: Gateway, ask: Ask, api: Api, says: Says, account: UUID, *, is_first: bool
) -> None:
    """Who was written to at their number, and says STOP under the user id that the report named, is
    written to at neither, in whichever order that comes; it is one conversation."""
    api.says(200, {"messages": [{"id": "wamid.out"}]})
    sent = await send(ask, "whatsapp", PHONE, **TEMPLATE)
    await step(api.worker(gateway))
    if is_first:
        await says("STOP", 1, from_user_id=BSUID)
    await reported(gateway, account, "sent")
    await reported(gateway, account, "delivered")
    await learned()
    if not is_first:
        await says("STOP", 1, from_user_id=BSUID)
    assert stops(PHONE, BSUID) == await suppressed(ask)
    assert [422, 422] == await refusals(ask, PHONE, BSUID)
    (row,) = await inbound_of(ask)
    assert (await row_of(ask, sent))["conversation_id"] == row["conversation_id"]


async def test_a_report_of_a_stranger(gateway: Gateway, ask: Ask, account: UUID) -> None:
    """To whom another program has written has no conversation for that."""
    await reported(gateway, account, "sent")
    await learned()
    assert [] == (await ask("GET", "/v1/conversations")).body["data"]


async def test_a_report_while_a_conversation_is_held(
    gateway: Gateway, ask: Ask, api: Api, says: Says, account: UUID
) -> None:
    """A report is stored also where its recipient's conversation is locked: who that is, the next
    one tells."""
    api.says(200, {"messages": [{"id": "wamid.out"}]})
    sent = await send(ask, "whatsapp", PHONE, **TEMPLATE)
    await step(api.worker(gateway))
    await says("STOP", 1, from_user_id=BSUID)
    async with gateway.database.as_service() as db:
        await db.execute("SELECT FROM gateway.conversations FOR UPDATE")
        await reported(gateway, account, "delivered")
        assert "delivered" == (await row_of(ask, sent))["status"]
        await learned()
    assert stops(BSUID) == await suppressed(ask)
    await reported(gateway, account, "read", 1)
    await learned()
    assert stops(PHONE, BSUID) == await suppressed(ask)


async def test_what_a_report_tells_is_learned_behind_its_answer(
    gateway: Gateway, account: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report is answered before its recipient is looked up; one who waits is not taken twice,
    and whatever fails then is logged and changes no answer."""
    free, asked = asyncio.Event(), 0

    async def fail(*_: object) -> None:
        nonlocal asked
        asked += 1
        await free.wait()
        raise ValueError("unforeseen")

    monkeypatch.setattr(placing, "known_by", fail)
    with capture_logs() as lines:
        await reported(gateway, account, "sent")
        await reported(gateway, account, "delivered")
        free.set()
        await learned()
    (line,) = [each for each in lines if each["event"] == "recipients were not linked"]
    assert "unforeseen" in line["error"]
    asked_once = asked
    await reported(gateway, account, "read")
    await learned()
    assert asked > asked_once


def people(count: int) -> list[StatusReport]:
    """Reports about so many recipients, each with a number and a user id."""
    return [
        StatusReport(
            external_id=str(n),
            status=Status.SENT,
            word="sent",
            key="sent",
            recipient=(f"+4477009{n:05}", f"GB.{n}"),
        )
        for n in range(count)
    ]


async def test_more_people_than_may_wait(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many people wait to be learned and no more; the process ends within seconds of them."""
    monkeypatch.setattr(recipients, "_WAITING", 3)
    monkeypatch.setattr(recipients, "_AT_END", 0.1)
    seen: list[object] = []
    free = asyncio.Event()

    async def stay(_: object, __: object, people_of: Sequence[object]) -> dict[object, object]:
        seen.extend(people_of)
        await free.wait()
        return {}

    monkeypatch.setattr(placing, "known_by", stay)
    learning = recipients.Recipients(gateway.database)
    learning.learn(gateway.a.organization_id, people(5))
    learning.learn(gateway.a.organization_id, people(6))
    async with asyncio.timeout(5):
        await learning.close()
    free.set()
    assert 3 == len(seen)
