"""Fair queues: each owner's items wait in a line of their own, and the lines take turns.

So an owner with many items delays nobody else: another's item waits for one of them, not for all.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Container, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lines(Generic[T]):
    """Lines of items with sizes; `size` is the sum of all sizes."""

    def __init__(self) -> None:
        self._lines: OrderedDict[Hashable, deque[tuple[T, int]]] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}
        self.size = 0

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._lines)

    def has_room(self, owner: Hashable, size: int, room: int) -> bool:
        """Whether an item of this size may wait if there is `room` for all owners together.

        Each owner is sure of an equal share, even if others have filled all of the room.
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

        Lines whose first item is larger than `most`, and those of owners in `without`, are skipped
        and keep their places.
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
        """Remove an item that no longer waits, unless it has been taken."""
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
    """As many wait as may: another one is refused."""


class Places:
    """A limit on how much is done at the same time; whoever waits for a place waits in `Lines`.

    `one_each`: an owner has one place at most, even if others are free.
    """

    def __init__(self, places: int, *, room: int, one_each: bool = False) -> None:
        self._free = places
        self._room = room
        self._one_each = one_each
        self._have_one: set[Hashable] = set()
        self._waiting: Lines[tuple[Hashable, asyncio.Future[None]]] = Lines()

    async def take(self, owner: Hashable, seconds: float | None) -> None:
        """Wait for a place; raises `FullError`, or `TimeoutError` after `seconds` if given."""
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
                self.give(owner)  # the place came just as this wait ended
            self._waiting.remove(owner, (owner, turn))
            raise

    def give(self, owner: Hashable) -> None:
        """Give the place of this owner to whoever is next."""
        self._have_one.discard(owner)
        while following := self._waiting.take(without=self._have_one):
            owner, turn = following
            if not turn.done():  # its wait has not ended meanwhile
                self._has_one(owner)
                turn.set_result(None)
                return
        self._free += 1

    def _has_one(self, owner: Hashable) -> None:
        if self._one_each:
            self._have_one.add(owner)
