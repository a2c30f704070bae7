"""Room: how many bytes of files a worker holds at once; who finds none waits, in turn.

A mail takes some four times its files while it leaves. As many as may be under way, each with the
largest files, would take gigabytes, and a worker that the system kills for that leaves what it had
begun unknown, and takes up the same again.

Nobody has all of it: an organization whose mails leave slowly finds half of the room taken, and the
others the rest.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass


class NoRoomError(Exception):
    """There was none in time, or whoever waited was told to stop."""


@dataclass(eq=False, slots=True)
class Share:
    """What somebody holds of the room, or waits for."""

    room: Room
    owner: Hashable
    size: int
    granted: asyncio.Event

    def shrink_to(self, size: int) -> None:
        """It is no more than this."""
        if size < self.size:
            self.room.give_back(self.owner, self.size - size)
            self.size = size


class Room:
    """Room for so many bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most
        self._held: Counter[Hashable] = Counter()
        self._waiting: list[Share] = []

    @asynccontextmanager
    async def hold(self, owner: Hashable, size: int, seconds: float) -> AsyncIterator[Share]:
        """Room for so many bytes while the block runs, or all of it for more than that.

        Raises `NoRoomError` after so many seconds, also where it is cancelled: nothing has begun.
        """
        share = Share(self, owner, min(size, self._most), asyncio.Event())
        if share.size:
            await self._take(share, seconds)
        try:
            yield share
        finally:
            share.shrink_to(0)

    def give_back(self, owner: Hashable, size: int) -> None:
        """So many bytes are free again."""
        self._left += size
        self._held[owner] -= size
        if not self._held[owner]:
            del self._held[owner]
        self._let_in()

    async def _take(self, share: Share, seconds: float) -> None:
        self._waiting.append(share)
        self._let_in()
        try:
            async with asyncio.timeout(seconds):
                await share.granted.wait()
        except (TimeoutError, asyncio.CancelledError) as error:
            if share.granted.is_set():
                share.shrink_to(0)
            else:
                self._waiting.remove(share)
                self._let_in()
            raise NoRoomError from error

    def _let_in(self) -> None:
        """Let in who may, in their order: nobody passes one whose turn it is and who needs more."""
        for share in list(self._waiting):
            held = self._held[share.owner]
            if held and held + share.size > (held + self._left) / 2:
                continue  # until it has given back some: the rest is for others
            if share.size > self._left:
                return
            self._left -= share.size
            self._held[share.owner] += share.size
            self._waiting.remove(share)
            share.granted.set()
