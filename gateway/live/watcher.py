"""One stream's part of a feed: the events that it has not been given yet, within limits."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from gateway.live.events import LiveEvent
from gateway.store.database import Caller
from gateway.store.positions import Position

# How far a stream may be behind; events are shared by all streams, so this takes little memory.
_EVENTS = 1000
_BYTES = 16 * 2**20

# One part of the missed events, the place after them, and whether there are more.
Missed = tuple[Sequence[LiveEvent], Position, bool]


class EndedError(Exception):
    """The stream is over; the text says why, and it can be resumed where it stopped."""


class Watcher:
    """Events of the caller's organization from a place on, each once and in order.

    First the missed ones, read in parts when they are asked for, then those of the feed. A part has
    one of the `places` until the next is asked for. A stream that falls a thousand events (or 16
    MiB) behind the feed is ended; its client can resume it at its place.
    """

    def __init__(
        self,
        caller: Caller,
        position: Position,
        *,
        expires_at: float | None = None,
        missed: Callable[[Position], Awaitable[Missed]] | None = None,
        places: asyncio.Semaphore | None = None,
    ) -> None:
        self.caller = caller
        self.position = position
        self._expires_at = expires_at
        self._missed = missed
        self._places = places
        self._has_place = False
        self._waiting: deque[LiveEvent] = deque()
        self._size = 0
        self._reached: Position | None = None
        self._wake = asyncio.Event()
        self._ended: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether there are no more events."""
        return self._why_over is not None

    @property
    def _why_over(self) -> str | None:
        return self._ended or (None if self._left > 0 else "its token has expired")

    @property
    def _left(self) -> float:
        """Seconds for which the credentials of the stream are still valid."""
        return math.inf if self._expires_at is None else self._expires_at - time.time()

    def push(self, events: Sequence[LiveEvent], reached: Position) -> None:
        """Add events that the feed has read, up to a place."""
        if self.is_over:
            return
        self._reached = reached
        self._waiting.extend(events)
        self._size += sum(len(event.data) for event in events)
        if len(self._waiting) > _EVENTS or self._size > _BYTES:
            self.end("it reads too slowly")
        elif events:
            self._wake.set()

    def end(self, reason: str) -> None:
        """End the stream."""
        if not self.is_over:
            self._ended = reason
            self._waiting.clear()
            self._wake.set()

    async def next(self, seconds: float) -> list[LiveEvent]:
        """The next events, or none after so many seconds; raises `EndedError`.

        `position` is the place after them, even if there were none.
        """
        self.let_go()
        seconds = min(seconds, self._left)
        if self._missed is not None and not self.is_over and not await self._has_turn(seconds):
            return []
        while self._missed is not None and not self.is_over:
            missed, self.position, is_more = await self._missed(self.position)
            if not is_more:
                self._missed = None
            if missed and not self.is_over:
                return list(missed)
        self.let_go()
        if not self._waiting and not self.is_over:
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
        if self._why_over is not None:
            raise EndedError(self._why_over)
        events = list(self._waiting)
        self._waiting.clear()
        self._size = 0
        self.position = self._reached or self.position
        return events

    def let_go(self) -> None:
        """Give the place back: the last part of the missed events was read."""
        if self._places is not None and self._has_place:
            self._has_place = False
            self._places.release()

    async def _has_turn(self, seconds: float) -> bool:
        """Wait for a place, for so many seconds."""
        if self._places is None:
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._places.acquire()
                self._has_place = True
        return self._has_place
