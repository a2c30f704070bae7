"""Halving: of items that a rule of the database refuses together, finds those that it accepts."""

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
    """Let deferred constraints be checked in each statement from here on, not at the commit."""
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
    """`do` all items that can be done, in this transaction; call `refused` for each other one.

    Errors of `alone` are caused by single items; all others are raised. Returns the items that were
    not tried within so many seconds.
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
