"""The events of one organization, read once for all streams of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from gateway.live.events import Render, live_event
from gateway.live.watcher import Missed, Watcher
from gateway.observability.logs import logger
from gateway.store.errors import DatabaseAwayError
from gateway.store.live import Stretch
from gateway.store.positions import Position, Snapshot
from gateway.store.values import Row

_log = logger(__name__)

_PAUSE = 0.03
_AWAY = 1.0
# How many streams may have a part of their missed events in memory while their clients read it, a
# few MiB each at the worst.
_HOLDING = 16

# Reads the events after a place (None: only the present position).
Read = Callable[[Position | None], Awaitable[Stretch]]
# Reads the missed events after a place, up to a snapshot; briefly or whole.
ReadAgain = Callable[[Position, Snapshot, bool], Awaitable[Stretch]]


class Feed:
    """Reads when it is woken, and pushes to its watchers."""

    def __init__(self, read: Read, read_again: ReadAgain, render: Render, patience: float) -> None:
        self._read = read
        self._read_again = read_again
        self._render = render
        self._patience = patience
        self._position: Position | None = None
        self._is_amid = False  # of a transaction that is read in parts
        self._wake = asyncio.Event()
        self._asked = self._done = 0
        self._progress = asyncio.Condition()
        self.users = 0
        self.watchers: set[Watcher] = set()
        self.places = asyncio.Semaphore(_HOLDING)
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._over)

    def wake(self) -> None:
        """Read soon, because something may have happened."""
        self._asked += 1
        self._wake.set()

    async def here(self) -> Position:
        """Read all events; returns the place after them, which is right until the next `await`.

        Raises `DatabaseAwayError`.
        """
        self.wake()
        asked = self._asked
        try:
            async with asyncio.timeout(self._patience), self._progress:
                while self._position is None or self._is_amid or self._done < asked:
                    await self._progress.wait()
                return self._position
        except TimeoutError:
            raise DatabaseAwayError("the events cannot be read") from None

    async def missed(self, place: Position, until: Snapshot, *, is_brief: bool) -> Missed:
        """A part of what happened between a place and a snapshot."""
        stretch = await self._read_again(place, until, is_brief)
        render = _nothing if is_brief else self._render
        return (
            [live_event(each, render) for each in stretch.events],
            stretch.position,
            stretch.is_more,
        )

    @property
    def is_over(self) -> bool:
        """Whether it reads no more: closed, or ended by a mistake."""
        return self._task.done()

    def close(self) -> None:
        """Read no more."""
        self._task.cancel()

    def _over(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            _log.error("a feed of events ended", exc_info=task.exception())
        for watcher in self.watchers:
            watcher.end("the server made a mistake")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        is_away = False
        while True:
            await self._wake.wait()
            self._wake.clear()
            asked, began = self._asked, loop.time()
            try:
                stretch = await self._read(self._position)
            except DatabaseAwayError as error:
                if not is_away:  # once for each time that it is
                    _log.warning("events cannot be read", error=str(error))
                is_away = True
                self._wake.set()
                await asyncio.sleep(_AWAY)
                continue
            is_away = False
            self._position, self._is_amid = stretch.position, stretch.is_more
            events = [live_event(each, self._render) for each in stretch.events]
            for watcher in self.watchers:
                watcher.push(events, stretch.position)
            if stretch.is_more:
                self._wake.set()
                continue
            async with self._progress:
                self._done = asked
                self._progress.notify_all()
            # If reading is slow, read less often: during a long transaction the same events are
            # looked at each time.
            await asyncio.sleep(max(_PAUSE, 2 * (loop.time() - began)))


def _nothing(_name: str, _at: datetime, _row: Row) -> bytes:
    return b""
