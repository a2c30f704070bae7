"""Equal messages to one person: which of them a record at the provider, a late report or a late
answer is taken for. Each record is one's, and who has none is sent again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from channels.model import Channel, Sent
from gateway.dispatch.events import taken
from gateway.receive import reporting
from gateway.registry import CARRIED
from gateway.store import queue, reports
from tests.service.locks import until_somebody_waits
from tests.service.test_service_asking import (
    CALL,
    SID,
    SMS,
    answering,
    ask_about,
    fate,
    found_by_report,
    lose,
    lost_before,
    of_b,
    record,
    share_the_number,
)
from tests.service.test_service_dispatch import events_of
from tests.service.test_service_held import CHANGE_MESSAGE, QUICK, held
from tests.service.test_service_reporting import received, report
from tests.service.wires import OURS, connect, counts, from_twilio, replay, send, step

if TYPE_CHECKING:
    from gateway.dispatch.dispatching import Dispatching
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

ACCOUNT = "AC" + "a" * 32
OLD_WHATSAPP = """
UPDATE messages SET channel = 'whatsapp', created_at = created_at - interval '1 hour'
"""
OWN_LOCKS = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
"""


async def lose_two(
    gateway: Gateway, ask: Ask, api: Api, worker: Dispatching
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two equal ones that were lost a minute ago, of which the provider has one."""
    first, other = await lose(ask, api, worker, SMS, SMS)
    answering(api, record(gateway.a.sender))
    await lost_before(gateway, 60, 60)
    async with gateway.database.as_service() as db:
        # When a report's transaction began that may be open for another ten.
        await db.execute("UPDATE messages SET created_at = created_at - interval '15 seconds'")
    return first, other


PAIRS = {
    "texts": (SMS, SMS),
    "but for blanks": (SMS | {"body": "Hello  you"}, SMS | {"body": "Hello\u00a0you"}),
    "calls": (CALL | {"body": "At ten"}, CALL | {"body": "At ten"}),
}


@pytest.mark.parametrize("pair", PAIRS)
async def test_a_report_comes_late(gateway: Gateway, ask: Ask, api: Api, pair: str) -> None:
    """A report that names the other one, after the first was taken for its record, tells of the
    first; the other is sent again, so that the person gets both."""
    await connect(gateway, "twilio", Channel.CALL)
    worker = api.worker(gateway)
    first, other = await lose(ask, api, worker, *PAIRS[pair])
    sender = OURS[Channel.CALL] if pair == "calls" else gateway.a.sender
    answering(api, record(sender, body=first["body"]))
    await lost_before(gateway, 60, 60)
    await ask_about(gateway, worker, first)
    await found_by_report(gateway, other)
    assert ("delivered" if pair == "calls" else "sent", SID) == await fate(ask, first)
    assert ("unknown", None) == await fate(ask, other)
    for _ in range(2):
        await ask_about(gateway, worker, other)
    assert ("sent", "SM-again-1") == await fate(ask, other)
    assert 0 == counts(await replay(gateway))[0]


async def test_they_say_different_things(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Of two calls that say different things the provider has both: a report tells of the one that
    it names, also where the other was taken for its record."""
    await connect(gateway, "twilio", Channel.CALL)
    worker = api.worker(gateway)
    first, other = await lose(
        ask, api, worker, CALL | {"body": "At ten"}, CALL | {"body": "At two"}
    )
    answering(api, *(record(OURS[Channel.CALL], sid=sid) for sid in ("SM-second", SID)))
    await ask_about(gateway, worker, first)
    assert ("sent", SID) == await fate(ask, first)
    await found_by_report(gateway, other)
    assert ("delivered", SID) == await fate(ask, other)
    assert "sent" == (await fate(ask, first))[0]


async def test_a_report_is_being_stored(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What a report that names the other one is about to store is waited for: the first is not
    taken for that record."""
    worker = api.worker(gateway)
    first, other = await lose_two(gateway, ask, api, worker)
    organization = gateway.a.organization_id
    async with gateway.database.as_service() as db:
        about = (organization, "twilio", UUID(other["id"]), SID)
        assert {0: about[2]} == await reports.resolve(db, CARRIED, [about], for_good=["twilio"])
        asking = asyncio.create_task(ask_about(gateway, worker, first))
        await until_somebody_waits(db)
        told = reports.Event(
            organization_id=organization,
            message_id=about[2],
            id=reports.event_id(about[2], "told"),
            type="sent",
            status="sent",
            source="twilio",
            external_id=SID,
        )
        await reports.record(db, [told])
    await asking
    assert ("sent", SID) == await fate(ask, other)
    assert ("unknown", None) == await fate(ask, first)


async def test_one_is_taken_for_it_for_long(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A report that names the other one, while who takes the first for the record waits for its
    row, is answered in time, and told to the first once that is stored."""
    worker = api.worker(gateway)
    first, other = await lose_two(gateway, ask, api, worker)
    async with held(gateway, CHANGE_MESSAGE, first["id"]):
        (turn,) = await worker.claim(1)
        async with gateway.database.as_service() as db:
            await reports.take_turns(db, [SID])  # as who asks does, and then waits for the row
            async with asyncio.timeout(QUICK):
                await found_by_report(gateway, other)
    assert 1 == await gateway.count("gateway.unmatched_reports")
    assert await worker._outcomes.adopted(turn.claimed, [Sent(external_id=SID)])
    assert ("sent", SID) == await fate(ask, first)
    assert ("unknown", None) == await fate(ask, other)
    assert 0 == await gateway.count("gateway.unmatched_reports")


async def test_one_is_just_being_taken_for_it(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A report that names the other one, and comes at the very moment when the first is taken for
    the record, waits, and tells of the first."""
    worker = api.worker(gateway)
    first, other = await lose_two(gateway, ask, api, worker)
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.queue SET run_at = now() + interval '1 hour' WHERE message_id = $1",
            other["id"],
        )
    (turn,) = await worker.claim(1)
    async with gateway.database.as_service() as db:
        assert await queue.may_adopt(db, turn.claimed, SID)
        reporting = asyncio.create_task(found_by_report(gateway, other))
        await until_somebody_waits(db)
        await reports.record(db, [taken(turn.claimed, Sent(external_id=SID), "found_at_provider")])
    await reporting
    assert ("sent", SID) == await fate(ask, first)
    assert ("unknown", None) == await fate(ask, other)
    assert 1 == await gateway.count("gateway.queue")


@pytest.mark.parametrize(("provider", "locks"), [("twilio", 1), ("meta", 0)])
async def test_what_nobody_asks_about(
    gateway: Gateway, ask: Ask, api: Api, provider: str, locks: int
) -> None:
    """Nobody takes turns with whoever asks a provider that cannot be asked: thousands of reports of
    Meta's in one request would use up all locks of the database."""
    worker = api.worker(gateway)
    lost, _ = await lose_two(gateway, ask, api, worker)
    async with gateway.database.as_service() as db:
        await db.execute(OLD_WHATSAPP)
        told = received(gateway, [report(UUID(lost["id"]), SID)])
        told = replace(told, account=replace(told.account, provider=provider))
        await reporting.record(db, [told])
        assert locks == await db.fetchval(OWN_LOCKS)
    assert ("delivered", SID) == await fate(ask, lost)


async def test_an_answer_is_stored_late(gateway: Gateway, ask: Ask, api: Api) -> None:
    """An answer that waited for the database, while an equal message was taken for the record of
    which it tells, says nothing any more: its message is asked about, and sent again."""
    worker, late = api.worker(gateway), api.worker(gateway)
    (first,) = await lose(ask, api, worker, SMS)
    other = await send(ask, **SMS)
    (sending,) = await late.claim(1)
    async with gateway.database.as_service() as db:
        await queue.end_dead_leases(db, worker.lease_id)
    answering(api, record(gateway.a.sender))
    await lost_before(gateway, 60, 60)
    await ask_about(gateway, worker, first)
    assert ("sent", SID) == await fate(ask, first)
    await late._outcomes.sent(sending.claimed, Sent(external_id=SID), 16.0)
    assert ("sending", None) == await fate(ask, other)
    await ask_about(gateway, worker, other)
    await lost_before(gateway, 60, 60)
    for _ in range(2):
        await ask_about(gateway, worker, other)
    assert ("sent", "SM-again-1") == await fate(ask, other)


async def test_one_is_of_another_organization(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Where one of two that were lost is another organization's, whose reports come to that one,
    neither is taken for the one record until a report tells."""
    await share_the_number(gateway)
    worker = api.worker(gateway)
    (ours,) = await lose(ask, api, worker, SMS)
    theirs = (await of_b(gateway)).body
    api.says(502)
    assert 1 == await step(worker)
    answering(api, record(gateway.a.sender))
    await lost_before(gateway, 60, 60)
    for message in (ours, theirs):
        await ask_about(gateway, worker, message)
    assert ("unknown", None) == await fate(ask, ours)
    assert "cannot_be_told_apart" in await events_of(ask, ours["id"])

    told = {"MessageSid": SID, "MessageStatus": "sent", "AccountSid": ACCOUNT}
    answer = await from_twilio(
        gateway,
        "status",
        told,
        query=f"?message_id={theirs['id']}",
        account_id=gateway.b.account_id,
    )
    assert 200 == answer.status
    for _ in range(2):
        await ask_about(gateway, worker, ours)
    assert ("sent", "SM-again-1") == await fate(ask, ours)


async def test_a_record_is_taken_after_its_report(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A report of an earlier attempt, that nobody was taken for, came to the message that it
    names. It says nothing new when it is replayed, be an equal one taken for that record since."""
    worker = api.worker(gateway)
    (first,) = await lose(ask, api, worker, SMS)
    answering(api)
    await lost_before(gateway, 60, 60)
    for _ in range(2):
        await ask_about(gateway, worker, first)
    assert ("sent", "SM-again-1") == await fate(ask, first)
    await found_by_report(gateway, first)
    (other,) = await lose(ask, api, worker, SMS)
    answering(api, record(gateway.a.sender))
    await ask_about(gateway, worker, other)
    assert ("sent", SID) == await fate(ask, other)
    assert 0 == counts(await replay(gateway))[0]


async def test_a_report_was_kept_for_another(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A report that was kept while its message was locked comes to the one that is taken for the
    record meanwhile: what it names is not told of it, too, when it is replayed."""
    worker = api.worker(gateway)
    first, other = await lose_two(gateway, ask, api, worker)
    async with gateway.database.as_service() as db:
        await db.execute("SELECT FROM messages WHERE id = $1 FOR UPDATE", other["id"])
        await found_by_report(gateway, other)
    await ask_about(gateway, worker, first)
    for _ in range(2):
        await ask_about(gateway, worker, other)
    assert ("sent", SID) == await fate(ask, first)
    assert ("sent", "SM-again-1") == await fate(ask, other)
    assert 0 == counts(await replay(gateway))[0]
