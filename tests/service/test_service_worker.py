"""How often a worker asks for what is due: its claims are counted, none of them is real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast
from uuid import UUID

import asyncpg
import pytest

from gateway.accept.falling_back import FallingBack
from gateway.dispatch.dispatching import Dispatching
from gateway.dispatch.turns import Turn, Turns
from gateway.ids import new_id
from gateway.observability.metrics import Metrics
from gateway.receive.unmatched import UnmatchedReports
from gateway.store.errors import RefusedError
from gateway.store.listening import listen
from gateway.store.sql import queries
from gateway.worker import Worker

if TYPE_CHECKING:
    from gateway.receive.errands import Errands
    from gateway.subscriptions.delivering import Deliveries
    from tests.service.conftest import Gateway

TURN = cast(
    "Turn", SimpleNamespace(claimed=SimpleNamespace(organization_id=new_id(), sender_id=None))
)
MOMENT = 0.3


@pytest.fixture
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was told nothing does not look by itself: that is half a second, and a busy
    machine's moment may be longer."""
    monkeypatch.setattr("gateway.worker._POLL", 60)


class Counted:
    """Hands out claims as they are prepared, then empty ones; each of its messages takes a bit."""

    def __init__(self, *prepared: Turns) -> None:
        self.lease_id = new_id()
        self.prepared = list(prepared)
        self.limits: list[int] = []
        self.asked, self.all_given = asyncio.Event(), asyncio.Event()
        self.worked = 0

    async def claim(self, limit: int, *_: Sequence[UUID]) -> Turns:
        """The next one, not before the clock has moved on."""
        await asyncio.sleep(0)
        self.limits.append(limit)
        self.asked.set()
        given = self.prepared.pop(0) if self.prepared else Turns()
        if not self.prepared:
            self.all_given.set()
        return given

    async def work(self, _: Turn) -> None:
        """Be under way for a moment, no two for the same time."""
        self.worked += 1
        await asyncio.sleep(0.02 + self.worked % 16 / 200)

    async def give_back(self, _: Turns) -> None:
        """Nobody looks."""


class NoErrands:
    """Has none to fetch."""

    async def run(self) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()


class NoDeliveries:
    """Has none to send."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Wait for the end."""
        await stopping.wait()


@asynccontextmanager
async def working(
    gateway: Gateway, dispatching: Counted, concurrency: int, *, stop_after: float = 10.0
) -> AsyncIterator[None]:
    """A worker that runs for a moment and whatever the block takes."""
    worker = Worker(
        gateway.database,
        cast("Dispatching", dispatching),
        cast("Errands", NoErrands()),
        FallingBack(gateway.database, Metrics()),
        cast("Deliveries", NoDeliveries()),
        UnmatchedReports(gateway.database, Metrics()),
        str(gateway.settings.database_url),
        concurrency,
        stop_after=stop_after,
    )
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(10):
        await dispatching.asked.wait()
    await asyncio.sleep(MOMENT)
    yield
    worker.stop()
    await running


@pytest.mark.usefixtures("no_clock")
async def test_messages_that_end_ask_for_none(gateway: Gateway) -> None:
    """After a claim that left nothing, forty messages end and nobody asks for more."""
    dispatching = Counted(Turns([TURN] * 40))
    async with working(gateway, dispatching, 100):
        assert 40 == dispatching.worked
        assert [100] == dispatching.limits


@pytest.mark.usefixtures("no_clock")
async def test_what_is_left_is_claimed_at_once(gateway: Gateway) -> None:
    """While a claim leaves more the next one follows, as many as there is room for."""
    dispatching = Counted(*(Turns([TURN] * 8, has_more=True) for _ in range(10)))
    async with working(gateway, dispatching, 8), asyncio.timeout(20):
        await dispatching.all_given.wait()
    assert 80 == dispatching.worked
    # Never one by one: a claim costs the same for one entry as for many.
    assert len(dispatching.limits) < 80 / 2


@pytest.mark.usefixtures("no_clock")
async def test_what_another_worker_holds_is_looked_for_soon(gateway: Gateway) -> None:
    """Nothing, where there was more a moment ago: another worker was just claiming it."""
    dispatching = Counted(Turns([TURN], has_more=True), Turns(), Turns([TURN]))
    async with working(gateway, dispatching, 8), asyncio.timeout(20):
        await dispatching.all_given.wait()
    assert 2 == dispatching.worked


class Cut(Counted):
    """Its messages take for ever; what became of one that is cut is stored in a moment."""

    def __init__(self, *prepared: Turns) -> None:
        super().__init__(*prepared)
        self.stored = 0

    async def work(self, _: Turn) -> None:
        """As a large mail over a slow line: known not to be taken, once it is cut."""
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            self.stored += 1


async def test_what_is_cut_at_the_end_is_recorded(gateway: Gateway) -> None:
    """A worker that stops waits until it is stored what became of what it has cut."""
    dispatching = Cut(Turns([TURN] * 3))
    async with working(gateway, dispatching, 8, stop_after=0.1):
        pass
    assert 3 == dispatching.stored


class Stopped(Counted):
    """Its claim ends while its worker stops and the database goes away."""

    def __init__(self) -> None:
        super().__init__()
        self.claims, self.cuts = asyncio.Event(), 0

    async def claim(self, limit: int, *_: Sequence[UUID]) -> Turns:
        """Something, once the worker stops."""
        self.limits.append(limit)
        self.asked.set()
        await self.claims.wait()
        return Turns([TURN])

    async def give_back(self, _: Turns) -> None:
        """As an outcome that is stored however long that takes, until its second cut."""
        while self.cuts < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cuts += 1


async def test_what_cannot_be_given_back(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that stops while the database is away does not wait for it for ever."""
    monkeypatch.setattr("gateway.worker._LAST", 0.1)
    dispatching = Stopped()
    async with asyncio.timeout(20), working(gateway, dispatching, 8, stop_after=1.0):
        asyncio.get_running_loop().call_later(0.1, dispatching.claims.set)
    assert 2 == dispatching.cuts


async def test_a_former_connection_that_may_not_be_ended(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that may not end the session that it has lost goes on until that has ended."""
    tries = []

    async def refused(*given: object) -> None:
        tries.append(given)
        if len(tries) == 1:
            raise RefusedError({"function": "pg_terminate_backend"})
        await listen(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("gateway.worker.listen", refused)
    dispatching = Counted(Turns([TURN]))
    async with working(gateway, dispatching, 8), asyncio.timeout(10):
        await dispatching.all_given.wait()
    assert 2 == len(tries)


async def test_a_former_connection_that_hangs_on(gateway: Gateway) -> None:
    """A pooler, or the server itself, may take a worker's lost connection for alive for hours: its
    lock shows that a worker lives, and the next connection of the same worker ends it."""
    dsn, lease = str(gateway.settings.database_url), new_id()
    hanging = await asyncpg.connect(dsn)
    assert await hanging.fetchval(queries("queue")["hold_lease"], lease)
    alive = asyncio.Event()
    again = asyncio.create_task(listen(dsn, lease, alive, lambda: None))
    async with asyncio.timeout(10):
        await alive.wait()
    assert hanging.is_closed()
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
