"""What becomes known of a message while its provider is being asked about it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from channels.errors import Refused, RefusedForNow
from channels.moment import Moment
from gateway.store import queue
from tests.service.locks import until_somebody_waits
from tests.service.test_service_asking import (
    SID,
    SMS,
    answering,
    ask_about,
    fate,
    found_by_report,
    lose,
    lost_before,
    record,
)
from tests.service.test_service_dispatch import events_of
from tests.service.wires import send, step

if TYPE_CHECKING:
    from gateway.dispatch.dispatching import Dispatching
    from gateway.dispatch.turns import Turn
    from gateway.store.queue import Claimed
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api


async def claim(gateway: Gateway, worker: Dispatching, message: dict[str, Any]) -> Turn:
    """Let a worker take up one message, of several that were lost a minute ago."""
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.queue SET open_for = 60, attempted_at = now() - interval '60 seconds',"
            " run_at = now() + CASE WHEN message_id = $1 THEN '0' ELSE '1 hour' END::interval",
            message["id"],
        )
    (turn,) = await worker.claim(1)
    assert "ask" == turn.claimed.phase
    return turn


@pytest.mark.parametrize("status", ["sent", "undelivered"])
async def test_a_report_tells_of_it(gateway: Gateway, ask: Ask, api: Api, status: str) -> None:
    """A report settles a message while the list is read: it does not become what the list says of
    its twin."""
    worker = api.worker(gateway)
    ours, twin = await lose(ask, api, worker, SMS, SMS)
    turn = await claim(gateway, worker, ours)
    await found_by_report(gateway, ours)
    theirs = record(gateway.a.sender, sid="SM-twin", status=status, error_code=30006)
    answering(api, record(gateway.a.sender), theirs)
    await worker.work(turn)
    assert ("sent", SID) == await fate(ask, ours)
    assert "found_at_provider" not in await events_of(ask, ours["id"])

    await ask_about(gateway, worker, twin)
    assert ("sent" if status == "sent" else "failed", "SM-twin") == await fate(ask, twin)


@pytest.mark.parametrize(
    ("error", "status"),
    [(Refused("No.", code="21211"), "failed"), (RefusedForNow("Later.", code="20429"), "unknown")],
)
async def test_its_own_worker_tells_of_it(
    gateway: Gateway, ask: Ask, api: Api, error: Refused | RefusedForNow, status: str
) -> None:
    """A worker that lost its lease tells while another one asks that its request was refused: the
    message does not take its twin's id, which the twin still finds."""
    worker, late = api.worker(gateway), api.worker(gateway)
    (twin,) = await lose(ask, api, worker, SMS)
    ours = await send(ask, **SMS)
    (sending,) = await late.claim(1)
    async with gateway.database.as_service() as db:
        await queue.end_dead_leases(db, worker.lease_id)
    assert 1 == await step(worker)
    turn = await claim(gateway, worker, ours)
    await late._not_sent(sending.claimed, error, 1.0)
    answering(api, record(gateway.a.sender))
    await worker.work(turn)
    assert (status, None) == await fate(ask, ours)

    await ask_about(gateway, worker, twin)
    assert ("sent", SID) == await fate(ask, twin)


async def test_a_younger_one_was_taken(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A message that could not be asked about for minutes does not take the id of an equal one that
    was lost just now, while the report that names that one may still come."""
    worker = api.worker(gateway)
    (ours,) = await lose(ask, api, worker, SMS)
    await lost_before(gateway, 300, 300)
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.queue SET run_at = now() + interval '1 hour'")
    (younger,) = await lose(ask, api, worker, SMS)
    answering(api, record(gateway.a.sender))
    await ask_about(gateway, worker, ours)
    assert ("unknown", None) == await fate(ask, ours)

    await found_by_report(gateway, younger)
    for _ in range(2):
        await ask_about(gateway, worker, ours)
    assert ("sent", SID) == await fate(ask, younger)
    assert ("sent", "SM-again-1") == await fate(ask, ours)


async def test_the_one_with_other_signs_was_taken(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Of two that differ in signs the provider has one, with the signs of the other: that one does
    not take it for its own while the report that names the first may still come."""
    worker = api.worker(gateway)
    curly, straight = await lose(ask, api, worker, SMS | {"body": "“Hello”"}, SMS)
    answering(api, record(gateway.a.sender))
    await ask_about(gateway, worker, straight)
    assert ("unknown", None) == await fate(ask, straight)

    await found_by_report(gateway, curly)
    await lost_before(gateway, 60, 60)
    for _ in range(2):
        await ask_about(gateway, worker, straight)
    assert ("sent", SID) == await fate(ask, curly)
    assert ("sent", "SM-again-1") == await fate(ask, straight)


async def asked(gateway: Gateway, message: dict[str, Any]) -> int:
    """How many questions about a message are counted."""
    async with gateway.database.as_service() as db:
        count: int = await db.fetchval(
            "SELECT asked FROM gateway.queue WHERE message_id = $1", message["id"]
        )
    return count


async def test_younger_ones_come_for_long(gateway: Gateway, ask: Ask, api: Api) -> None:
    """While equal ones are lost again and again, of which the provider has some, a message waits
    for what reports tell of these; that uses up no question, so it is sent once they have told."""
    worker = api.worker(gateway, most_questions=3)
    (ours,) = await lose(ask, api, worker, SMS)
    taken = []
    for n in range(4):
        await lost_before(gateway, 300, 300)
        async with gateway.database.as_service() as db:
            await db.execute("UPDATE gateway.queue SET run_at = now() + interval '1 hour'")
        taken += await lose(ask, api, worker, SMS)
        answering(api, *(record(gateway.a.sender, sid=f"SM-{k}") for k in range(n + 1)))
        await ask_about(gateway, worker, ours)
        assert (("unknown", None), 0) == (await fate(ask, ours), await asked(gateway, ours))

    for n, each in enumerate(taken):
        await found_by_report(gateway, each, f"SM-{n}")
    for _ in range(2):
        await ask_about(gateway, worker, ours)
    assert ("sent", "SM-again-1") == await fate(ask, ours)


async def test_one_after_the_other_is_under_way(gateway: Gateway, ask: Ask, api: Api) -> None:
    """While an equal one is being sent whenever it is looked, no question is used up either."""
    worker, other = api.worker(gateway, most_questions=3), api.worker(gateway)
    (ours,) = await lose(ask, api, worker, SMS)
    await lost_before(gateway, 60, 60)
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.queue SET run_at = now() + interval '1 hour'")
    await send(ask, **SMS)
    (turn,) = await other.claim(1)
    answering(api)
    for _ in range(4):
        await ask_about(gateway, worker, ours)
    await other.work(turn)
    assert (("unknown", None), 0) == (await fate(ask, ours), await asked(gateway, ours))
    await lost_before(gateway, 60, 60)
    for _ in range(2):
        await ask_about(gateway, worker, ours)
    assert ("sent", "SM-again-2") == await fate(ask, ours)


TOLD = {
    "by a report": [
        "UPDATE messages SET external_id = 'SM-told', status = 'sent'",
        "DELETE FROM gateway.queue",
    ],
    "by a report without a status": ["UPDATE messages SET external_id = 'SM-told'"],
    "by its own worker": [
        "SELECT FROM messages FOR NO KEY UPDATE",
        "UPDATE gateway.queue SET phase = 'send', lease_id = NULL, lease_until = NULL",
    ],
}


@pytest.mark.parametrize("told", TOLD)
async def test_it_is_told_at_that_moment(gateway: Gateway, ask: Ask, api: Api, told: str) -> None:
    """What is being stored while the message would take an id of the list is waited for, and
    holds."""
    worker = api.worker(gateway)
    (ours,) = await lose(ask, api, worker, SMS)
    turn = await claim(gateway, worker, ours)
    answering(api, record(gateway.a.sender))
    async with gateway.database.as_service() as db:
        for statement in TOLD[told]:
            await db.execute(statement)
        working = asyncio.create_task(worker.work(turn))
        await until_somebody_waits(db)
    await working
    assert SID != (await fate(ask, ours))[1]
    assert "found_at_provider" not in await events_of(ask, ours["id"])


async def test_its_row_is_locked_for_long(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Who would take an id of the list waits for another program's lock for a second only, as those
    who store what has that id wait meanwhile; it is tried again, and no question is used up."""
    worker = api.worker(gateway)
    (ours,) = await lose(ask, api, worker, SMS)
    turn = await claim(gateway, worker, ours)
    answering(api, record(gateway.a.sender))
    async with gateway.database.as_service() as db:
        await db.execute("SELECT FROM messages FOR NO KEY UPDATE")
        async with asyncio.timeout(5):
            await worker.work(turn)
    assert (("unknown", None), 0) == (await fate(ask, ours), await asked(gateway, ours))

    await ask_about(gateway, worker, ours)
    assert ("sent", SID) == await fate(ask, ours)


@pytest.mark.parametrize("age", [0.0, 2.0])
async def test_a_report_comes_before_it_is_sent_again(
    gateway: Gateway, ask: Ask, api: Api, monkeypatch: pytest.MonkeyPatch, age: float
) -> None:
    """What a report tells after a resend was claimed is read with what else may have changed, also
    where it has waited for its turn: it is not sent again."""
    worker = api.worker(gateway)
    (ours,) = await lose(ask, api, worker, SMS)
    await lost_before(gateway, 60, 60)
    answering(api)
    await ask_about(gateway, worker, ours)
    (turn,) = await worker.claim(1)
    assert "send" == turn.claimed.phase
    is_off = worker._is_off

    async def early(claimed: Claimed) -> bool:
        """A first look, before the report."""
        monkeypatch.undo()
        monkeypatch.setattr(Moment, "age", lambda _: age)
        is_gone = await is_off(claimed)
        await found_by_report(gateway, ours)
        return is_gone

    if age:
        monkeypatch.setattr(worker, "_is_off", early)
    else:
        await found_by_report(gateway, ours)
    await worker.work(turn)

    assert ("sent", SID) == await fate(ask, ours)
    assert 1 == sum(request.method == "POST" for request, _ in api.asked)
