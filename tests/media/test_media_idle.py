"""How often a worker looks for errands where there are none, and that it is soon with those."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from aiohttp import web

if TYPE_CHECKING:
    from gateway.receive.errands import Errands
    from gateway.store.database import Database, Transaction
    from tests.media.conftest import FileServer, Names
    from tests.media.stage import Stage


@dataclass
class Counted:
    """A database whose transactions are counted."""

    database: Database
    count: int = 0

    def as_service(self) -> Transaction:
        """One more."""
        self.count += 1
        return self.database.as_service()


async def test_one_look_is_enough_for_all_lanes(errands: Errands) -> None:
    """Where nothing is due the table is looked at once a second, not once a second and lane."""
    counted = Counted(errands._database)
    errands._database = cast("Database", counted)
    began = time.monotonic()
    running = asyncio.create_task(errands.run())
    await asyncio.sleep(2.5)
    running.cancel()
    await asyncio.wait({running})

    assert 0 < counted.count <= 1 + (time.monotonic() - began)


async def test_all_lanes_set_out_together(
    stage: Stage, errands: Errands, files: FileServer, names: Names
) -> None:
    """What comes while all rest is done side by side, by the next look's time."""
    reached, may_end = asyncio.Semaphore(0), asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        reached.release()
        await may_end.wait()
        return web.Response()

    names.to("cdn.example.com", files)
    running = asyncio.create_task(errands.run())
    await asyncio.sleep(0.2)
    for n in range(3):
        files.answers[f"/{n}"] = slow
        await stage.send("visit", f"http://cdn.example.com/{n}")
    async with asyncio.timeout(10):
        for _ in range(3):
            await reached.acquire()
    may_end.set()
    running.cancel()
    await asyncio.wait({running})

    assert ["/0", "/1", "/2"] == sorted(files.paths())
