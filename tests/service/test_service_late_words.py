"""What a worker has to say of an entry after its lease has ended: it counts where it is certain,
and nothing is sent twice for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from channels.errors import RefusedForNow
from channels.model import Channel
from gateway.accept.falling_back import FallingBack
from gateway.dispatch.sizes import slowest_seconds
from gateway.ids import new_id
from gateway.observability.metrics import Metrics
from gateway.registry import PROVIDERS
from gateway.store import queue
from gateway.store.sql import queries
from gateway.vault import VaultError
from gateway.worker import Worker
from tests.service.test_service_dispatch import events_of, hurry
from tests.service.test_service_stopping import MAIL, end_lease
from tests.service.wires import connect, row_of, send, step

if TYPE_CHECKING:
    from gateway.dispatch.dispatching import Dispatching
    from gateway.dispatch.turns import Turn
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

LATER = RefusedForNow("Too many requests.", code="429")


@pytest.fixture
async def mail(gateway: Gateway, ask: Ask) -> dict[str, Any]:
    """A mail in the queue, of a provider that cannot be asked."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    return await send(ask, "email", "ada@customer.example", **MAIL)


async def begun(gateway: Gateway, worker: Dispatching) -> Turn:
    """A claim whose request may have left, and whose lease has ended."""
    (turn,) = await worker.claim(1)
    async with gateway.database.as_service() as db:
        assert await queue.extend(db, turn.claimed, worker.lease_id, 30, is_begun=True)
    await end_lease(gateway)
    return turn


async def phase(gateway: Gateway) -> Any:
    """Whether the entry waits to be sent, or to be asked about."""
    async with gateway.database.as_service() as db:
        return await db.fetchval("SELECT phase FROM gateway.queue")


@pytest.mark.parametrize("when", ["while it is found", "before it is asked", "while it is asked"])
@pytest.mark.parametrize("is_refused", [True, False])
async def test_nothing_came_of_it(
    gateway: Gateway,
    ask: Ask,
    api: Api,
    mail: dict[str, Any],
    when: str,
    is_refused: bool,  # noqa: FBT001
) -> None:
    """A mail that was refused for now, or had not begun to leave, is sent, though that is stored so
    late that another claim has found it, or asks about it: it does not stay unknown."""
    late, worker = api.worker(gateway), api.worker(gateway)
    first = await begun(gateway, late)

    async def say() -> None:
        if is_refused:
            await late._outcomes.refused_for_now(first.claimed, LATER)
        else:
            await late._outcomes.not_begun([first.claimed])

    (second,) = await worker.claim(1)
    if when == "while it is found":
        await say()
    await worker.work(second)
    if when == "before it is asked":
        await say()
    if when == "while it is asked":
        await hurry(gateway)
        (question,) = await worker.claim(1)
        await say()
        await worker.work(question)
    await say()  # again, because the first answer was lost: it changes nothing more
    await hurry(gateway)

    assert 1 == await step(worker)
    assert ("sent", 1) == ((await row_of(ask, mail))["status"], len(api.asked))
    assert "cannot_be_asked" not in await events_of(ask, mail["id"])


@pytest.mark.usefixtures("mail")
async def test_it_is_waited_for(gateway: Gateway, api: Api) -> None:
    """Where nobody can be asked, another worker's is given up after two leases more."""
    worker = api.worker(gateway)
    await begun(gateway, worker)
    await step(worker)
    async with gateway.database.as_service() as db:
        wait = await db.fetchval("SELECT extract(epoch FROM run_at - now()) FROM gateway.queue")
    assert 55 < wait <= 60


async def test_a_mail_server_is_waited_for(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A mail server may take minutes: what another worker handed it is given up after those, too,
    and after what its files may take."""
    await connect(gateway, "smtp", Channel.EMAIL)
    files = [{"url": "https://files.example/large.pdf"}]
    await send(ask, "email", "ada@customer.example", **MAIL, attachments=files)
    worker = api.worker(gateway)
    (turn,) = await worker.claim(1)
    async with gateway.database.as_service() as db:
        assert await queue.extend(db, turn.claimed, worker.lease_id, 30, is_begun=True)
    await end_lease(gateway)
    await step(worker)
    async with gateway.database.as_service() as db:
        wait = await db.fetchval("SELECT extract(epoch FROM run_at - now()) FROM gateway.queue")
    longest = 60 + slowest_seconds(turn.claimed) + PROVIDERS["smtp"].more_seconds
    assert longest > 12 * 60
    assert longest - 5 < wait <= longest


@pytest.mark.parametrize("is_late", [True, False])
async def test_the_last_answer(
    gateway: Gateway,
    ask: Ask,
    api: Api,
    is_late: bool,  # noqa: FBT001
) -> None:
    """That the provider does not have it fails a message at last, but not one that has turned out
    meanwhile not to have begun to leave."""
    sent = await send(ask, "sms", "+447700900123", body="Hello")
    late, worker = api.worker(gateway), api.worker(gateway)
    (first,) = await late.claim(1)
    await end_lease(gateway)
    await step(worker)
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.queue SET refusals = 18, run_at = now()")
    (question,) = await worker.claim(1)
    if is_late:
        await late._outcomes.not_begun([first.claimed])
    await worker._outcomes.not_there(question.claimed)
    assert ("unknown" if is_late else "failed") == (await row_of(ask, sent))["status"]
    assert is_late == await gateway.count("gateway.queue")


@pytest.mark.usefixtures("mail")
async def test_it_is_due_at_once(gateway: Gateway, api: Api) -> None:
    """What turns out not to have begun to leave is due at once, though it was put off meanwhile."""
    late, worker = api.worker(gateway), api.worker(gateway)
    first = await begun(gateway, late)
    await step(worker)
    assert not await worker.claim(1)
    await late._outcomes.not_begun([first.claimed])
    assert 1 == len(await worker.claim(1))


async def test_what_another_claim_has_sent(
    gateway: Gateway,
    ask: Ask,
    api: Api,
    mail: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That a claim could not begin says nothing of what a later one of that attempt has sent."""
    late, worker = api.worker(gateway), api.worker(gateway)
    (first,) = await late.claim(1)
    await end_lease(gateway)
    api.says(502)
    assert 1 == await step(worker)
    assert ("ask", 1) == (await phase(gateway), len(api.asked))

    def locked(_: object) -> Any:
        raise VaultError("no key opens it")

    monkeypatch.setattr(late, "_account", locked)
    await late.work(first)
    await late._outcomes.not_begun([first.claimed])
    assert ("ask", "unknown") == (await phase(gateway), (await row_of(ask, mail))["status"])


@pytest.mark.parametrize("is_refused", [True, False])
async def test_what_was_stored_already(
    gateway: Gateway,
    ask: Ask,
    api: Api,
    mail: dict[str, Any],
    is_refused: bool,  # noqa: FBT001
) -> None:
    """What is stored once more, because the answer was lost, says nothing of the next attempt."""
    late, worker = api.worker(gateway), api.worker(gateway)
    (first,) = await late.claim(1)

    async def say() -> None:
        if is_refused:
            await late._outcomes.refused_for_now(first.claimed, LATER)
        else:
            await late._outcomes.not_begun([first.claimed])

    await say()
    await hurry(gateway)
    api.says(502)
    assert 1 == await step(worker)
    await say()
    assert ("ask", "unknown") == (await phase(gateway), (await row_of(ask, mail))["status"])


class Looking(Worker):
    """A worker that only looks for dead ones."""

    def __init__(self, gateway: Gateway, dispatching: Dispatching) -> None:
        none: Any = None
        database = gateway.database
        follow = FallingBack(database, Metrics())
        super().__init__(database, dispatching, none, follow, none, none, "", 1)


@pytest.mark.usefixtures("mail")
async def test_a_connection_that_comes_back(gateway: Gateway, api: Api) -> None:
    """A worker is dead when two looks in a row do not find its lock: one that has only lost its
    connection keeps what it holds."""
    other, looking = api.worker(gateway), Looking(gateway, api.worker(gateway))
    assert 1 == len(await other.claim(1))

    async def is_held() -> Any:
        async with gateway.database.as_service() as db:
            return await db.fetchval("SELECT lease_until > now() FROM gateway.queue")

    async def connected() -> Any:
        connection = await asyncpg.connect(str(gateway.settings.database_url))
        assert await connection.fetchval(queries("queue")["hold_lease"], other.lease_id)
        return connection

    async def cut(connection: Any) -> None:
        await connection.close()
        async with asyncio.timeout(10), gateway.database.as_service() as db:
            token = await db.fetchval("SELECT hashtext($1::uuid::text)", other.lease_id)
            while token & 0xFFFFFFFF in await queue.live_leases(db):  # noqa: ASYNC110 - the database's locks
                await asyncio.sleep(0.01)

    for _ in range(2):
        connection = await connected()
        await looking._end_dead_leases()
        await looking._end_dead_leases()
        await cut(connection)
        await looking._end_dead_leases()
        assert await is_held()
    await looking._end_dead_leases()
    assert not await is_held()


@pytest.mark.usefixtures("mail")
async def test_who_was_dead_before(gateway: Gateway, api: Api) -> None:
    """A worker that has just started looks twice, too, before it ends what a dead one held."""
    looking = Looking(gateway, api.worker(gateway))
    assert 1 == len(await api.worker(gateway).claim(1))
    ended = []
    for _ in range(2):
        await looking._end_dead_leases()
        async with gateway.database.as_service() as db:
            ended.append(await db.fetchval("SELECT lease_until <= now() FROM gateway.queue"))
    assert [False, True] == ended
    async with gateway.database.as_service() as db:
        assert 0 == await queue.end_dead_leases(db, new_id())
