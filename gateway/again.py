"""Again: a transaction that was rolled back is repeated once; a long one is done in steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

R = TypeVar("R")

# Seconds before something is done once more.
_PAUSE = 0.1


async def once_more(do: Callable[[], Awaitable[R]], undone: tuple[type[Exception], ...]) -> R:
    """Call `do`, and once more after an error of `undone`, which says that nothing was done."""
    with suppress(*undone):
        return await do()
    # After a pause, in which the other transaction goes on: else both could deadlock again.
    await asyncio.sleep(_PAUSE)
    return await do()


async def in_steps(step: Callable[[], Awaitable[bool | None]], seconds: float) -> bool | None:
    """Call `step` until it returns a result, or so many seconds are over: then None."""
    ends = time.monotonic() + seconds
    while (done := await step()) is None and time.monotonic() < ends:
        pass
    return done
