"""Rows that another program has locked: work for all organizations does not wait for one row.

The CRM may change a lead or a message in a transaction that stays open for minutes. We store the
messages of many at once: if we waited for one row, all would wait, and in the end fail together.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from gateway.store.errors import HeldError

R = TypeVar("R")

# Seconds for which a lock that was met is remembered.
_REMEMBERED = 30.0
# Seconds for a statement that callers or providers wait for: they give up after 15, and by then we
# must know whose rows are slow.
ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Whether to wait for locked rows that could be left out; how many seconds to wait for any
    lock; and how many a statement may take, if less than usual."""

    for_rows: bool
    seconds: float
    most: float | None = None


# Our own transactions end within the first wait. A lock that lasts longer will not end soon, so
# those that follow go around it at once.
_WAIT, _GO_AROUND = Wait(for_rows=True, seconds=1), Wait(for_rows=False, seconds=4)


class Around:
    """Does something with rows; once one has been locked for long, leaves locked ones out."""

    def __init__(self) -> None:
        self._until = -float("inf")

    async def __call__(self, do: Callable[[Wait], Awaitable[R]]) -> R:
        """The result of `do`, which does all or nothing, and may be called twice.

        Raises `HeldError` if a row is locked that cannot be left out.
        """
        if time.monotonic() >= self._until:
            try:
                return await do(_WAIT)
            except HeldError:
                self._until = time.monotonic() + _REMEMBERED
        return await do(_GO_AROUND)
