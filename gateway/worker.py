"""The worker: claims what is due, sends it side by side, and keeps house meanwhile.

Woken by NOTIFY, and by the clock where that is lost. It stops cleanly: no more claims, messages
under way are finished, errands and what was not begun, or cannot have been taken, are given back.
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

# Seconds: nothing was due; nothing was, but a moment ago there was more than could be taken.
_POLL = 0.5
_GLANCE = 0.05
_GATHER = 0.02
_BATCH = 100
# What is under way has so long to end, and what is cut then so long to be recorded.
_STOP, _LAST = 23.0, 2.0
# What is under way for so many seconds is slow: a provider that does not answer, files that drip.
_SLOW = 3.0
# One of so many places is never taken by what is slow: whoever comes finds it free. As many are
# never taken from what is slow.
_KEPT = 4
# A sender that was slow stays so for so many times as long as that takes: at first all of what it
# gets is under way for a shorter time.
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
        # Whose it is, and since when it is under way (monotonic clock).
        self._under_way: dict[asyncio.Task[None], tuple[Sender, float]] = {}
        # Whose messages were slow and had half of all places.
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
            # The others never end by themselves: one that does has met what nobody expected, and
            # a worker without it is none. A supervisor starts another.
            await asyncio.wait({claiming, *beside}, return_when=asyncio.FIRST_COMPLETED)
            for task in (claiming, *beside):
                if task.done():
                    task.result()
            fetching.cancel()  # what it has under way is another worker's at once
            with suppress(TimeoutError):
                async with asyncio.timeout(self._stop_after):
                    await asyncio.wait({claiming})  # what it may just have got is given back
                    await asyncio.wait({delivering, *self._under_way})
        finally:
            claiming.cancel()
            await self._cut()
            for task in beside:
                task.cancel()
            await asyncio.gather(claiming, *beside, return_exceptions=True)

    async def _cut(self) -> None:
        """End what is under way; what had not left whole is given back, while all see us alive."""
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
            self._note_slow()  # also where no place is free: slow messages may end all at once
            free = await self._free_places()
            if free == 0:
                continue
            has_more = await self._take_around_slow(min(free, _BATCH))
            if not has_more:
                # A message that ends does not wake this loop: an empty claim costs as much as any.
                # But right after a full batch, entries may only look gone while others claim them.
                await self._until(self._wake, _GLANCE if had_more else _POLL)
            had_more = has_more

    async def _take_around_slow(self, limit: int) -> bool:
        """Begin what is due, that of slow senders last; whether more may be due.

        They get some places that others do not: if they had none under way, nothing would show that
        they are still slow.
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
        """Begin what is due, but for that of senders `without`; whether more may be due."""
        turns = await self._claim(limit, without)
        if self._stopping.is_set() and turns:
            # As what is under way, which ends in time: the database may just go away.
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
        """How many more may be under way.

        A claim costs the same for one entry as for many: where few are free, it is waited for a
        moment until there are more.
        """
        if self._concurrency - len(self._under_way) < max(1, self._concurrency // 4):
            self._freed.clear()
            await self._until(self._freed, _GATHER)
        return self._concurrency - len(self._under_way)

    async def _claim(self, limit: int, without: Sequence[UUID]) -> Turns:
        """What is due, or nothing while that cannot be had."""
        # Until others see that this worker lives, they would take its claims for a dead worker's.
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
        """Note whose messages come last, because slow ones have half of all places.

        Each claim is fair, but slow messages stay and quick ones go: after some claims one tenant's
        dead mail server would have all the places.
        """
        begun = time.monotonic() - self._slow_after
        slow = Counter(sender for sender, since in self._under_way.values() if since < begun)
        if 0 < slow.total() < self._concurrency / 2:
            # Whose messages were slow have fewer places since: they are slow while some are.
            have = Counter(sender for sender, _ in self._under_way.values())
            slow = Counter({s: n for s, n in slow.items() if s in self._slow and 4 * n >= have[s]})
        for sender in slow:
            self._slow.add(sender, _LATELY * self._slow_after)

    async def _work(self, turn: Turn, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except DatabaseAwayError as error:
            # Its lease ends by itself; then the provider is asked.
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
            self._wake.set()  # what comes last waits for places, though it is due

    async def _until(self, event: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    async def _listen(self) -> None:
        """Be woken by accept; the same connection shows that this worker's leases are alive."""
        while True:
            try:
                await listen(
                    self._direct_url, self._dispatching.lease_id, self._known_alive, self._wake.set
                )
            except (DatabaseAwayError, RefusedError) as error:
                # refused: to end the session that we have lost, which ends by itself
                _log.warning("no connection to listen on", error=str(error))
            await asyncio.sleep(0.2)

    async def _end_dead_leases(self) -> None:
        """End what two looks in a row find no worker of; a lost connection is back by then."""
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
