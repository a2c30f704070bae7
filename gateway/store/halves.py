"""Of items that a rule of the database refuses together, those that it takes: found in halves."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import TypeVar

from gateway.store.database import Connection
from gateway.store.errors import plainly

T = TypeVar("T")
E = TypeVar("E", bound=Exception)


async def judge_now(db: Connection) -> None:
    """From here on this transaction meets deferred rules in each statement, not at its commit."""
    await db.execute("SET CONSTRAINTS ALL IMMEDIATE")


async def in_halves(
    db: Connection,
    items: Sequence[T],
    do: Callable[[Sequence[T]], Awaitable[None]],
    alone: tuple[type[E], ...],
    refused: Callable[[T, E], None],
    *,
    seconds: float = inf,
) -> list[T]:
    """`do` all items that can be done, in this transaction; of each other one `refused` is told.

    Errors of `alone` are those that single items cause; others are raised. Returns what was not
    tried within so many seconds.
    """
    ends = time.monotonic() + seconds
    left = [items]
    await judge_now(db)
    await db.execute("SAVEPOINT half")
    while left and time.monotonic() < ends:
        half = left.pop()
        try:
            with plainly():
                await do(half)
        except alone as error:
            await db.execute("ROLLBACK TO half")
            if len(half) == 1:
                refused(half[0], error)
            else:
                left += [half[len(half) // 2 :], half[: len(half) // 2]]
        else:
            await db.execute("RELEASE half; SAVEPOINT half")
    return [item for half in left for item in half]
