"""The worker: claims due entries, sends them concurrently, and does housekeeping meanwhile.

Woken by NOTIFY, or by the clock if that is lost. It stops cleanly: no more claims; messages under
way are finished; errands, and messages that no provider can have taken, are given back.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID

from gateway.accept.falling_back import FallingBack
from gateway.accept.template_uses import TemplateUses
from gateway.dispatch.dispatching import Dispatching
from gateway.dispatch.quarantine import Quarantine
from gateway.dispatch.turns import Turn, Turns
from gateway.lately import Lately
from gateway.observability.logs import logger
from gateway.receive.errands import Errands
from gateway.receive.unmatched import UnmatchedReports
from gateway.store import queue, upkeep
from gateway.store.database import Database
from gateway.store.errors import DatabaseAwayError, RefusedError
from gateway.store.listening import listen
from gateway.subscriptions.delivering import Deliveries

_log = logger(__name__)

# Seconds until the next claim: if nothing was due; and if nothing was due just after a full claim.
_POLL = 0.5
_GLANCE = 0.05
# Seconds to wait for more free places; entries of one claim.
_GATHER = 0.02
_BATCH = 100
# Seconds for messages under way to end, and, after they are cut off, to be recorded.
_STOP, _LAST = 23.0, 2.0
# Seconds after which a message under way is slow: its provider does not answer, or its files drip.
_SLOW = 3.0
# One in so many places is never given to slow senders, so that others find some free; and the same
# number is kept for them.
_KEPT = 4
# A slow sender stays slow for so many times `_SLOW`: a new message needs that long to be slow, too.
_LATELY = 2

# Its organization, and its own id.
Sender = tuple[UUID, UUID | None]


class Worker:
    """One worker process's loop."""

    def __init__(
        self,
        database: Database,
        dispatching: Dispatching,
        errands: Errands,
        falling_back: FallingBack,
        deliveries: Deliveries,
        unmatched: UnmatchedReports,
        direct_url: str,
        concurrency: int,
        *,
        slow_after: float = _SLOW,
        stop_after: float = _STOP,
    ) -> None:
        self._database = database
        self._dispatching = dispatching
        self._errands = errands
        self._falling_back = falling_back
        self._deliveries = deliveries
        self._direct_url = direct_url
        self._concurrency = concurrency
        self._slow_after = slow_after
        self._stop_after = stop_after
        self._wake = asyncio.Event()
        self._freed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._known_alive = asyncio.Event()
        # Its sender, and since when it is under way (monotonic clock).
        self._under_way: dict[asyncio.Task[None], tuple[Sender, float]] = {}
        # Senders whose messages were slow and had half of all places.
        self._slow: Lately[Sender] = Lately()
        self._seen: frozenset[int] | None = None
        self._missed: frozenset[int] | None = None
        self._quarantine = Quarantine(database, dispatching.claim)
        self._unmatched = unmatched
        self._uses = TemplateUses(database)

    def stop(self) -> None:
        """Begin to stop; `run` returns when everything under way has ended."""
        self._stopping.set()
        self._wake.set()
        self._freed.set()

    async def run(self) -> None:
        """Work until `stop`."""
        fetching = asyncio.create_task(self._errands.run())
        delivering = asyncio.create_task(self._deliveries.run(self._stopping))
        beside = [
            fetching,
            delivering,
            asyncio.create_task(self._listen()),
            asyncio.create_task(self._regularly(1.0, self._end_dead_leases)),
            asyncio.create_task(self._regularly(1.0, self._follow)),
            asyncio.create_task(self._regularly(2.0, self._unmatched.apply)),
            asyncio.create_task(self._regularly(5.0, self._uses.fold)),
            asyncio.create_task(self._regularly(600.0, self._forget)),
        ]
        claiming = asyncio.create_task(self._claim_until_stopped())
        try:
            # Before `stop`, none of these ends by itself: if one does, it met an unexpected error,
            # and the worker ends, too. A supervisor starts another one.
            await asyncio.wait({claiming, *beside}, return_when=asyncio.FIRST_COMPLETED)
            for task in (claiming, *beside):
                if task.done():
                    task.result()
            fetching.cancel()  # its errands are given back
            with suppress(TimeoutError):
                async with asyncio.timeout(self._stop_after):
                    await asyncio.wait({claiming})  # entries of its last claim are given back
                    await asyncio.wait({delivering, *self._under_way})
        finally:
            claiming.cancel()
            await self._cut()
            for task in beside:
                task.cancel()
            await asyncio.gather(claiming, *beside, return_exceptions=True)

    async def _cut(self) -> None:
        """Cut off messages under way; those that have not left whole are given back."""
        cut = list(self._under_way)
        for task in cut:
            task.cancel()
        if cut:
            await asyncio.wait(cut, timeout=_LAST)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)

    async def _claim_until_stopped(self) -> None:
        had_more = False
        while not self._stopping.is_set():
            self._wake.clear()
            self._note_slow()  # also if no place is free: slow messages may all end at once
            free = await self._free_places()
            if free == 0:
                continue
            has_more = await self._take_around_slow(min(free, _BATCH))
            if not has_more:
                # A message that ends does not wake this loop: an empty claim costs as much as any.
                # But right after a full claim, entries may be hidden by claims of other workers.
                await self._until(self._wake, _GLANCE if had_more else _POLL)
            had_more = has_more

    async def _take_around_slow(self, limit: int) -> bool:
        """Begin due entries, those of slow senders last; whether more may be due.

        Slow senders get some places for themselves: without any message under way it would not show
        that they are still slow.
        """
        if not self._slow:
            return await self._take(limit)
        theirs = sum(sender in self._slow for sender, _ in self._under_way.values())
        kept = min(max(1, self._concurrency // _KEPT), self._concurrency - 1)
        owed = min(max(0, kept - theirs), limit // 2)
        senders = [sender for _, sender in self._slow if sender is not None]
        has_more = await self._take(limit - owed, senders)
        room = max(owed, self._concurrency - len(self._under_way) - kept)
        if room > 0 and not self._stopping.is_set():
            has_more |= await self._take(min(room, _BATCH))
        return has_more

    async def _take(self, limit: int, without: Sequence[UUID] = ()) -> bool:
        """Begin due entries, except those of senders in `without`; whether more may be due."""
        turns = await self._claim(limit, without)
        if self._stopping.is_set() and turns:
            # As a task under way, which ends in time even if the database is away.
            self._begin(turns[0], partial(self._dispatching.give_back, turns))
            return False
        for turn in turns:
            self._begin(turn, partial(self._dispatching.work, turn))
        return turns.has_more

    def _begin(self, turn: Turn, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(self._work(turn, work))
        sender = (turn.claimed.organization_id, turn.claimed.sender_id)
        self._under_way[task] = (sender, time.monotonic())
        task.add_done_callback(self._done)

    async def _free_places(self) -> int:
        """How many more messages may be under way.

        If few places are free, waits a moment for more: a claim costs the same for one as for many.
        """
        if self._concurrency - len(self._under_way) < max(1, self._concurrency // 4):
            self._freed.clear()
            await self._until(self._freed, _GATHER)
        return self._concurrency - len(self._under_way)

    async def _claim(self, limit: int, without: Sequence[UUID]) -> Turns:
        """Due entries; none while the database is away."""
        # Until others can see that this worker lives, they would take it for dead.
        if not self._known_alive.is_set():
            return Turns()
        try:
            turns = await self._quarantine.claim(limit, without)
        except DatabaseAwayError as error:
            _log.warning("the database is away", error=str(error))
        else:
            return turns
        await asyncio.sleep(_POLL)
        return Turns()

    def _note_slow(self) -> None:
        """Note the senders of slow messages, once these have half of all places.

        Each claim is fair, but slow messages stay and quick ones go: after some claims the messages
        for one tenant's dead mail server would have all the places.
        """
        begun = time.monotonic() - self._slow_after
        slow = Counter(sender for sender, since in self._under_way.values() if since < begun)
        if 0 < slow.total() < self._concurrency / 2:
            # A sender known as slow has fewer places: it stays slow while a quarter of them are.
            have = Counter(sender for sender, _ in self._under_way.values())
            slow = Counter({s: n for s, n in slow.items() if s in self._slow and 4 * n >= have[s]})
        for sender in slow:
            self._slow.add(sender, _LATELY * self._slow_after)

    async def _work(self, turn: Turn, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except DatabaseAwayError as error:
            # Its lease will end by itself; then the provider is asked.
            _log.warning("the database is away", error=str(error))
        except Exception:  # noqa: BLE001 - one message's defect must not stop the others
            _log.exception(
                "a message could not be worked on", message_id=str(turn.claimed.message_id)
            )

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)
        if len(self._under_way) <= self._concurrency * 3 // 4:
            self._freed.set()
        if self._slow and len(self._under_way) <= self._concurrency // 2:
            self._wake.set()  # due entries of slow senders wait for places

    async def _until(self, event: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    async def _listen(self) -> None:
        """Listen for wake-ups; the same connection shows others that this worker is alive."""
        while True:
            try:
                await listen(
                    self._direct_url, self._dispatching.lease_id, self._known_alive, self._wake.set
                )
            except (DatabaseAwayError, RefusedError) as error:
                # Refused: we may not end our former session, which will end by itself.
                _log.warning("no connection to listen on", error=str(error))
            await asyncio.sleep(0.2)

    async def _end_dead_leases(self) -> None:
        """End leases whose worker two looks in a row do not find; within that time a worker that
        only lost its connection is back."""
        async with self._database.as_service() as db:
            live, seen = await queue.live_leases(db), self._seen
            if seen is not None and (self._missed is None or self._missed - live):
                ended = await queue.end_dead_leases(db, self._dispatching.lease_id, seen)
                if ended:
                    _log.warning("a worker is gone, its messages are looked after", count=ended)
                    self._wake.set()
        self._missed = None if seen is None else seen - live
        self._seen = live

    async def _follow(self) -> None:
        if await self._falling_back.follow():
            self._wake.set()

    async def _forget(self) -> None:
        deleted = upkeep.FORGET_AT_ONCE
        while deleted >= upkeep.FORGET_AT_ONCE:
            async with self._database.as_service() as db:
                deleted = max((await upkeep.forget_old(db)).values())

    async def _regularly(self, seconds: float, do: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await do()
            except DatabaseAwayError as error:
                _log.warning("the database is away", error=str(error))
            except Exception:  # noqa: BLE001 - what failed once is tried again
                _log.exception("housekeeping failed")
            await asyncio.sleep(seconds)
