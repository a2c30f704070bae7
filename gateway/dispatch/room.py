"""Room: how many bytes of files a worker holds in memory at once; others wait for their turn.

A mail takes some four times the size of its files while it is sent. All the mails that a worker may
send at once, each with the largest files, would take gigabytes. If the system killed the worker for
that, its mails would be `unknown`, and the next worker would take up the same mails.

An organization that holds room already gets at most half of what the others leave.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass


class NoRoomError(Exception):
    """There was no room in time, or the wait was cancelled."""


@dataclass(eq=False, slots=True)
class Share:
    """Bytes that an owner holds, or waits for."""

    room: Room
    owner: Hashable
    size: int
    granted: asyncio.Event

    def shrink_to(self, size: int) -> None:
        """Give back all but so many bytes."""
        if size < self.size:
            self.room.give_back(self.owner, self.size - size)
            self.size = size


class Room:
    """Room for `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most
        self._held: Counter[Hashable] = Counter()
        self._waiting: list[Share] = []

    @asynccontextmanager
    async def hold(self, owner: Hashable, size: int, seconds: float) -> AsyncIterator[Share]:
        """Hold `size` bytes while the block runs, or the whole room if that is less.

        Raises `NoRoomError` after so many seconds, and if it is cancelled before it has room.
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
        """Grant shares in their order: nobody overtakes an owner who waits for more bytes."""
        for share in list(self._waiting):
            held = self._held[share.owner]
            if held and held + share.size > (held + self._left) / 2:
                continue  # the rest is for other owners, until this one has given back some
            if share.size > self._left:
                return
            self._left -= share.size
            self._held[share.owner] += share.size
            self._waiting.remove(share)
            share.granted.set()
