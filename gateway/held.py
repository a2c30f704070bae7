"""Rows that somebody else holds: what is done for all organizations does not wait for one's.

The CRM may change a lead or a message in a transaction that stays open for minutes, and we store
for many at once: waiting for one row, all of them would wait, and in the end nothing be stored.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from gateway.store.errors import HeldError

R = TypeVar("R")

# How long it is known that somebody holds something, in seconds.
_REMEMBERED = 30.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Whether to wait for rows that can be left out, and for how many seconds for anything."""

    for_rows: bool
    seconds: int


# Transactions of our own end within the first. What takes longer will not end soon, and is not
# waited for once more by each that follows.
_WAIT, _GO_AROUND = Wait(for_rows=True, seconds=1), Wait(for_rows=False, seconds=4)


class Around:
    """Does something with rows; without those that are held, where one is held for long."""

    def __init__(self) -> None:
        self._until = -float("inf")

    async def __call__(self, do: Callable[[Wait], Awaitable[R]]) -> R:
        """What `do` answers, which does all or nothing, and may be called twice.

        Raises `HeldError` where what cannot be left out is held, too.
        """
        if time.monotonic() >= self._until:
            try:
                return await do(_WAIT)
            except HeldError:
                self._until = time.monotonic() + _REMEMBERED
        return await do(_GO_AROUND)
