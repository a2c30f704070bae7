"""The worker: claims what is due, sends it side by side, and keeps house meanwhile.

Woken by NOTIFY, and by the clock where that is lost. It stops cleanly: no more claims, messages
under way are finished, errands and what was not begun are given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

from gateway.dispatch import Dispatching, Turn
from gateway.errands import Errands
from gateway.logs import logger
from gateway.store import queue, reports, upkeep
from gateway.store.database import Database, DatabaseAwayError
from gateway.store.listening import listen

_log = logger(__name__)

_POLL = 0.5
_GATHER = 0.02
_BATCH = 100
_STOP = 25.0


class Worker:
    """One worker process's loop."""

    def __init__(
        self,
        database: Database,
        dispatching: Dispatching,
        errands: Errands,
        direct_url: str,
        concurrency: int,
    ) -> None:
        self._database = database
        self._dispatching = dispatching
        self._errands = errands
        self._direct_url = direct_url
        self._concurrency = concurrency
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._known_alive = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()
        self._seen: frozenset[int] | None = None
        self._caught_up = False

    def stop(self) -> None:
        """Begin to stop; `run` returns when everything under way has ended."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Work until `stop`."""
        fetching = asyncio.create_task(self._errands.run())
        beside = [
            fetching,
            asyncio.create_task(self._listen()),
            asyncio.create_task(self._regularly(1.0, self._end_dead_leases)),
            asyncio.create_task(self._regularly(2.0, self._apply_missed_reports)),
            asyncio.create_task(self._regularly(5.0, self._fold)),
            asyncio.create_task(self._regularly(600.0, self._forget)),
        ]
        claiming = asyncio.create_task(self._claim_until_stopped())
        try:
            # The others never end by themselves: one that does has met what nobody expected, and
            # a worker without it is none. A supervisor starts another.
            await asyncio.wait({claiming, *beside}, return_when=asyncio.FIRST_COMPLETED)
            for task in (claiming, *beside):
                if task.done():
                    task.result()
            fetching.cancel()  # what it has under way is another worker's at once
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=_STOP)
        finally:
            beside.append(claiming)
            for task in [*beside, *self._under_way]:
                task.cancel()
            await asyncio.gather(*beside, *self._under_way, return_exceptions=True)

    async def _claim_until_stopped(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            free = self._concurrency - len(self._under_way)
            turns: list[Turn] = []
            if 0 < free < self._concurrency // 4:
                # A claim costs the same for one entry as for many: let a few more places be free.
                await self._rest(_GATHER)
                free = self._concurrency - len(self._under_way)
            # What is claimed while nobody can see that this worker lives, another takes for dead.
            if free > 0 and self._known_alive.is_set():
                try:
                    turns = await self._dispatching.claim(min(free, _BATCH))
                except DatabaseAwayError as error:
                    _log.warning("the database is away", error=str(error))
                    await self._rest(1.0)
                    continue
                except Exception:  # noqa: BLE001 - one entry's defect must not stop all
                    _log.exception("entries could not be claimed")
                    await self._rest(1.0)
                    continue
            if self._stopping.is_set() and turns:
                await self._dispatching.give_back(turns)
                return
            for turn in turns:
                task = asyncio.create_task(self._work(turn))
                self._under_way.add(task)
                task.add_done_callback(self._done)
            if not turns:
                await self._rest(_POLL)

    async def _work(self, turn: Turn) -> None:
        try:
            await self._dispatching.work(turn)
        except DatabaseAwayError as error:
            # Its lease ends by itself, and what it was about is asked then.
            _log.warning("the database is away", error=str(error))
        except Exception:  # noqa: BLE001 - one message's defect must not stop the others
            _log.exception(
                "a message could not be worked on", message_id=str(turn.claimed.message_id)
            )

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if len(self._under_way) <= self._concurrency * 3 // 4:
            self._wake.set()

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _listen(self) -> None:
        """Be woken by accept; the same connection shows that this worker's leases are alive."""
        while True:
            try:
                await listen(
                    self._direct_url, self._dispatching.lease_id, self._known_alive, self._wake.set
                )
            except DatabaseAwayError as error:
                _log.warning("no connection to listen on", error=str(error))
            await asyncio.sleep(0.2)

    async def _end_dead_leases(self) -> None:
        async with self._database.as_service() as db:
            live = await queue.live_leases(db)
            if self._seen is None or self._seen - live:
                ended = await queue.end_dead_leases(db, self._dispatching.lease_id)
                if ended:
                    _log.warning("a worker is gone, its messages are looked after", count=ended)
                    self._wake.set()
        self._seen = live

    async def _apply_missed_reports(self) -> None:
        # All at first, those of the last minutes from then on.
        since = timedelta(minutes=10) if self._caught_up else timedelta(days=8)
        async with self._database.as_service() as db:
            missed = await reports.take_missed(db, since)
            await reports.record(db, missed)
        self._caught_up = self._caught_up or not missed

    async def _fold(self) -> None:
        async with self._database.as_service() as db:
            await upkeep.fold_template_uses(db)

    async def _forget(self) -> None:
        deleted = upkeep.FORGET_AT_ONCE
        while deleted >= upkeep.FORGET_AT_ONCE:
            async with self._database.as_service() as db:
                deleted = max((await upkeep.forget_old(db)).values())

    async def _regularly(self, seconds: float, do: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await do()
            except DatabaseAwayError as error:
                _log.warning("the database is away", error=str(error))
            except Exception:  # noqa: BLE001 - what failed once is tried again
                _log.exception("housekeeping failed")
            await asyncio.sleep(seconds)
