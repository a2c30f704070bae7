"""What a worker has under way when it is told to stop: what is known of it is stored, what had not
left is sent by the next one, and the worker ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from channels.errors import Unreachable
from channels.model import Channel
from gateway.store import queue, suppressions
from gateway.store.errors import DatabaseAwayError, RolledBackError
from tests.service.test_service_changes_at_once import WAITS
from tests.service.wires import connect, row_of, send, step
from tests.smtp.values import Server

if TYPE_CHECKING:
    from gateway.store.database import Connection
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

MAIL = {"subject": "Your bill", "body": "Here it is."}


@pytest.fixture
async def mail(gateway: Gateway, ask: Ask) -> dict[str, Any]:
    """A mail in the queue, of a provider that cannot be asked."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    return await send(ask, "email", "ada@customer.example", **MAIL)


@asynccontextmanager
async def silent(api: Api) -> AsyncIterator[tuple[Server, Api]]:
    """A provider whose TLS never stands."""
    async with Server({"greeting": None}) as server:
        yield server, replace(api, url=f"https://127.0.0.1:{server.port}")


async def until_held(db: Connection) -> None:
    """Return when somebody waits for this transaction to end."""
    async with asyncio.timeout(10):
        while not await db.fetchval(WAITS):  # noqa: ASYNC110 - the database's locks
            await asyncio.sleep(0.005)


async def end_lease(gateway: Gateway) -> None:
    """The worker that holds the entry is dead."""
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.queue SET lease_until = now() - interval '1 s'")


async def until_reached(server: Server) -> None:
    """Return when somebody has connected."""
    async with asyncio.timeout(10):
        while not server.connections:  # noqa: ASYNC110 - a server's list
            await asyncio.sleep(0.005)


async def entry(gateway: Gateway) -> Any:
    """The entry of the queue."""
    async with gateway.database.as_service() as db:
        return await db.fetchrow(
            "SELECT refusals, lease_until, begun_at, run_at <= now() AS is_due FROM gateway.queue"
        )


@pytest.mark.parametrize("refusals", [0, 18])
async def test_a_cut_is_no_refusal(
    gateway: Gateway, ask: Ask, api: Api, mail: dict[str, Any], refusals: int
) -> None:
    """A mail that is cut before it leaves is due again at once, however often it was refused."""
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.queue SET refusals = $1", refusals)
    async with silent(api) as (server, to_silent):
        worker = to_silent.worker(gateway)
        [turn] = await worker.claim(1)
        working = asyncio.create_task(worker.work(turn))
        await until_reached(server)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    assert (refusals, None, None, True) == tuple(await entry(gateway))
    await step(api.worker(gateway))
    assert ("sent", 1) == ((await row_of(ask, mail))["status"], len(api.asked))


@pytest.mark.usefixtures("mail")
async def test_what_never_comes_in_time_is_a_refusal(gateway: Gateway, api: Api) -> None:
    """A mail that does not begin to leave in the time of a send is tried so often and no more."""
    async with silent(api) as (_, to_silent):
        await step(to_silent.worker(gateway, longest_send=0.05))
    assert 1 == (await entry(gateway))["refusals"]


@pytest.mark.parametrize("was_leased", [False, True])
async def test_cut_while_it_is_noted_that_it_begins(
    gateway: Gateway,
    ask: Ask,
    api: Api,
    mail: dict[str, Any],
    was_leased: bool,  # noqa: FBT001
) -> None:
    """A mail that is cut before it was handed over is given back, also where it is noted already
    that it begins."""
    worker = api.worker(gateway)
    [turn] = await worker.claim(1)
    if was_leased:
        await end_lease(gateway)
        [turn] = await worker.claim(1)
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.queue SET begun_at = now()")
        working = asyncio.create_task(worker.work(turn))
        await until_held(db)
        working.cancel()
    await asyncio.gather(working, return_exceptions=True)

    assert (await entry(gateway))["begun_at"] is None
    await step(api.worker(gateway))
    assert ("sent", 1) == ((await row_of(ask, mail))["status"], len(api.asked))


async def test_the_answer_that_it_begins_is_lost(
    gateway: Gateway,
    ask: Ask,
    api: Api,
    mail: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where it was noted that a mail begins to leave, and that answer was lost, nothing had left:
    the mail is sent, and not given up because nobody can be asked."""
    extend = queue.extend

    async def and_lost(*given: Any, **more: Any) -> bool:
        await extend(*given, **more)
        raise DatabaseAwayError("the connection was reset")

    worker = api.worker(gateway)
    monkeypatch.setattr(queue, "extend", and_lost)
    with pytest.raises(DatabaseAwayError):
        await step(worker)
    assert [] == api.asked
    monkeypatch.setattr(queue, "extend", extend)
    assert 1 == await step(worker)
    assert "sent" == (await row_of(ask, mail))["status"]


async def test_what_waited_for_the_database_speaks_of_its_own_claim(
    gateway: Gateway, ask: Ask, api: Api, mail: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is given back so late that its own worker has claimed it anew stays claimed: it would be
    sent by a third claim while the second is sending it."""
    extend, give_back = queue.extend, queue.give_back
    waits, is_back = asyncio.Event(), asyncio.Event()

    async def away(*_given: Any, **_more: Any) -> bool:
        raise DatabaseAwayError("it is down")

    async def once_it_is_back(*given: Any) -> None:
        waits.set()
        await is_back.wait()
        await give_back(*given)

    worker = api.worker(gateway)
    (first,) = await worker.claim(1)
    monkeypatch.setattr(queue, "extend", away)
    monkeypatch.setattr(queue, "give_back", once_it_is_back)
    late = asyncio.create_task(worker.work(first))
    await asyncio.wait_for(waits.wait(), 10)
    monkeypatch.setattr(queue, "extend", extend)
    monkeypatch.setattr(queue, "give_back", give_back)
    await end_lease(gateway)
    (second,) = await worker.claim(1)
    is_back.set()
    await asyncio.gather(late, return_exceptions=True)

    assert [] == await worker.claim(1)
    await worker.work(second)
    assert ("sent", 1) == ((await row_of(ask, mail))["status"], len(api.asked))


async def test_an_answer_is_stored(
    gateway: Gateway, ask: Ask, api: Api, mail: dict[str, Any]
) -> None:
    """What a provider answered is stored, though the worker is cut while the CRM holds the row."""
    api.says(400, {"errors": [{"message": "no such mailbox"}]})
    worker = api.worker(gateway)
    [turn] = await worker.claim(1)
    async with gateway.database.as_service() as db:
        await db.execute("SELECT FROM messages FOR UPDATE")
        working = asyncio.create_task(worker.work(turn))
        await until_held(db)
        working.cancel()
        await asyncio.sleep(0.02)
    await asyncio.gather(working, return_exceptions=True)
    assert "failed" == (await row_of(ask, mail))["status"]


@pytest.mark.usefixtures("mail")
@pytest.mark.parametrize("is_answered", [True, False])
async def test_who_is_cut_again_ends(
    gateway: Gateway,
    api: Api,
    is_answered: bool,  # noqa: FBT001
) -> None:
    """A worker does not wait for ever for what cannot be stored: its second cut is the last."""
    async with silent(api) as (server, to_silent):
        api.says(400, {})
        worker = (api if is_answered else to_silent).worker(gateway)
        [turn] = await worker.claim(1)
        async with gateway.database.as_service() as db:
            await db.execute("SELECT FROM messages FOR UPDATE")
            working = asyncio.create_task(worker.work(turn))
            await (until_held(db) if is_answered else until_reached(server))
            working.cancel()
            await asyncio.sleep(0.02)
            await until_held(db)
            working.cancel()
            assert {working} == (await asyncio.wait([working], timeout=10))[0]
        await asyncio.gather(working, return_exceptions=True)


@pytest.mark.usefixtures("mail")
async def test_what_is_stored_at_the_second_try_counts_once(
    gateway: Gateway, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outcome whose transaction was undone is stored again, and counted when it is stored."""
    change = suppressions.change
    tries = []

    async def at_the_second(*given: Any) -> Any:
        tries.append(await change(*given))
        if len(tries) == 1:
            raise RolledBackError("ended for another transaction")

    monkeypatch.setattr(suppressions, "change", at_the_second)
    worker = api.worker(gateway)
    (turn,) = await worker.claim(1)
    await worker._outcomes.refused(turn.claimed, Unreachable("no such mailbox", code="5.1.1"))
    counted = 'gateway_messages_failed_total{channel="email",provider="sendgrid"} 1.0'
    assert (2, True) == (len(tries), counted in worker._metrics.page(None).decode())
