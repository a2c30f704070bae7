"""A worker that stops gives its errands back before it has sent what is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from aiohttp import web

from gateway.accept.falling_back import FallingBack
from gateway.dispatch.dispatching import Dispatching
from gateway.dispatch.turns import Turn, Turns
from gateway.ids import new_id
from gateway.observability.metrics import Metrics
from gateway.receive.errands import Errands
from gateway.receive.unmatched import UnmatchedReports
from gateway.subscriptions.delivering import Deliveries
from gateway.worker import Worker
from tests.media.conftest import FileServer, Names
from tests.media.stage import Stage
from tests.service.test_service_worker import NoDeliveries


class Slow:
    """Dispatches one message, which takes as long as the test wants."""

    def __init__(self) -> None:
        self.lease_id = new_id()
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def claim(self, _: int, *__: Sequence[UUID]) -> Turns:
        """The message, once."""
        claimed = SimpleNamespace(organization_id=new_id(), sender_id=new_id())
        message = SimpleNamespace(claimed=claimed)
        return Turns([] if self.begun.is_set() else [cast("Turn", message)])

    async def work(self, _: object) -> None:
        """Send it."""
        self.begun.set()
        await self.may_end.wait()


async def test_errands_are_given_back_first(
    stage: Stage, errands: Errands, files: FileServer, names: Names, database: str
) -> None:
    """Its errands are another's at once, while a message is still being sent."""
    fetching = asyncio.Event()

    async def endless(_: web.Request) -> web.StreamResponse:
        fetching.set()
        await asyncio.sleep(60)
        return web.Response()

    async def due() -> Any:
        return await stage.run("SELECT count(*) FROM gateway.errands WHERE run_at <= now()")

    names.to("cdn.example.com", files)
    files.answers["/a"] = endless
    await stage.send("visit", "http://cdn.example.com/a")
    slow = Slow()
    following = FallingBack(stage.database, Metrics())
    told = cast("Deliveries", NoDeliveries())
    dispatching = cast("Dispatching", slow)
    unmatched = UnmatchedReports(stage.database, Metrics())
    worker = Worker(stage.database, dispatching, errands, following, told, unmatched, database, 4)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(10):
        await fetching.wait()
        await slow.begun.wait()
    before = await due()
    worker.stop()
    for _ in range(1000):
        if await due():
            break
        await asyncio.sleep(0.01)

    assert (0, 1, False) == (before, await due(), running.done())
    slow.may_end.set()
    await asyncio.wait_for(running, 10)
    assert ["/a"] == files.paths()
