"""Room: how many bytes of files a worker holds at once; who finds none waits, in turn.

A mail takes some four times its files while it leaves. As many as may be under way, each with the
largest files, would take gigabytes, and a worker that the system kills for that leaves what it had
begun unknown, and takes up the same again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


class NoRoomError(Exception):
    """There was none in time, or whoever waited was told to stop."""


class Room:
    """Room for so many bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most
        self._turn = asyncio.Lock()  # who waits longest has it
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def hold(self, size: int, seconds: float) -> AsyncIterator[Share]:
        """Room for so many bytes while the block runs, or all of it for more than that.

        Raises `NoRoomError` after so many seconds, also where it is cancelled: nothing has begun.
        """
        share = Share(self, min(size, self._most))
        if share.size:
            try:
                async with asyncio.timeout(seconds):
                    await self._take(share.size)
            except (TimeoutError, asyncio.CancelledError) as error:
                raise NoRoomError from error
        try:
            yield share
        finally:
            share.shrink_to(0)

    async def _take(self, size: int) -> None:
        async with self._turn:
            while self._left < size:
                self._freed.clear()
                await self._freed.wait()
            self._left -= size

    def give_back(self, size: int) -> None:
        """So many bytes are free again."""
        self._left += size
        self._freed.set()


@dataclass(slots=True)
class Share:
    """What somebody holds of it."""

    room: Room
    size: int

    def shrink_to(self, size: int) -> None:
        """It is no more than this."""
        if size < self.size:
            self.room.give_back(self.size - size)
            self.size = size
