"""Again: what was undone is done once more, and what is too much for one transaction in steps."""

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
    """Do it, and once more after an error which says that certainly nothing was done."""
    with suppress(*undone):
        return await do()
    # Whoever it was ended for is awake by then: else both could wait for each other again.
    await asyncio.sleep(_PAUSE)
    return await do()


async def in_steps(step: Callable[[], Awaitable[bool | None]], seconds: float) -> bool | None:
    """Take a step until it says that it was the last, or so many seconds are over: then None."""
    ends = time.monotonic() + seconds
    while (done := await step()) is None and time.monotonic() < ends:
        pass
    return done
