"""Pausing: what one caller wants may take seconds, and others must not wait for all of it."""

from __future__ import annotations

import asyncio
import time

# Seconds of work before the event loop may do something else.
_AT_ONCE = 0.005


class Pauses:
    """Awaited after each part of the work, it lets others have their turn when it is time."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    async def __call__(self) -> None:
        """Let them, if it is time."""
        if time.monotonic() - self._since > _AT_ONCE:
            await asyncio.sleep(0)
            self._since = time.monotonic()
