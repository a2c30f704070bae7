"""What waits for its turn: each owner has a line of its own, and the lines take turns.

So whoever brings much delays nobody else: another's item comes after one of theirs, not after all.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Container, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lines(Generic[T]):
    """Lines of items with sizes; `size` is the sum of all of them."""

    def __init__(self) -> None:
        self._lines: OrderedDict[Hashable, deque[tuple[T, int]]] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}
        self.size = 0

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._lines)

    def has_room(self, owner: Hashable, size: int, room: int) -> bool:
        """Whether so much more may wait if there is `room` for all.

        Each owner is sure of an equal share of it, even if others have filled the whole.
        """
        if self.size + size <= room:
            return True
        own = self._sizes.get(owner, 0)
        owners = len(self._lines) + (own == 0)
        return (own + size) * owners <= room

    def append(self, owner: Hashable, item: T, size: int = 1) -> None:
        """Put an item behind the others of its owner."""
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = deque()
        line.append((item, size))
        self._sizes[owner] = self._sizes.get(owner, 0) + size
        self.size += size

    def take(self, most: int | None = None, *, without: Container[Hashable] = ()) -> T | None:
        """The first item of the next line, which then goes behind the others; None without one.

        A line whose first item is larger than `most` is passed over, and stays the next, and so are
        the lines of owners that it is to be `without`.
        """
        for owner, line in self._lines.items():
            item, size = line[0]
            if (most is None or size <= most) and owner not in without:
                line.popleft()
                self._lines.move_to_end(owner)
                self._shrink(owner, size)
                return item
        return None

    def remove(self, owner: Hashable, item: T, size: int = 1) -> None:
        """Remove an item that waits no longer, unless it has been taken."""
        line = self._lines.get(owner, ())
        if (item, size) in line:
            self._lines[owner].remove((item, size))
            self._shrink(owner, size)

    def _shrink(self, owner: Hashable, size: int) -> None:
        self.size -= size
        self._sizes[owner] -= size
        if not self._lines[owner]:
            del self._lines[owner], self._sizes[owner]


class FullError(Exception):
    """As many wait as may: no more are let in."""


class Places:
    """A number of places for what is done at the same time; who waits for one waits in `Lines`.

    With `one_each`, an owner's second item waits for the first, even while another place is free.
    """

    def __init__(self, places: int, *, room: int, one_each: bool = False) -> None:
        self._free = places
        self._room = room
        self._one_each = one_each
        self._have_one: set[Hashable] = set()
        self._waiting: Lines[tuple[Hashable, asyncio.Future[None]]] = Lines()

    async def take(self, owner: Hashable, seconds: float | None) -> None:
        """Wait for a place; raises `FullError`, or `TimeoutError` after so many seconds, if any."""
        if self._free and owner not in self._have_one:
            self._free -= 1
            self._has_one(owner)
            return
        if not self._waiting.has_room(owner, 1, self._room):
            raise FullError
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(owner, (owner, turn))
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.give(owner)  # it came just when nobody waited for it any more
            self._waiting.remove(owner, (owner, turn))
            raise

    def give(self, owner: Hashable) -> None:
        """Give the place of this owner back, for whoever waits for one."""
        self._have_one.discard(owner)
        while following := self._waiting.take(without=self._have_one):
            owner, turn = following
            if not turn.done():  # whoever waited has not gone away
                self._has_one(owner)
                turn.set_result(None)
                return
        self._free += 1

    def _has_one(self, owner: Hashable) -> None:
        if self._one_each:
            self._have_one.add(owner)
