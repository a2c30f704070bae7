"""Pausing: the work for one caller may take seconds, and others must not wait for all of it."""

from __future__ import annotations

import asyncio
import time

# Seconds of work before other tasks have their turn.
_AT_ONCE = 0.005


class Pauses:
    """Says after each part of the work whether to pause: awaiting each time would cost too much."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    @property
    def are_due(self) -> bool:
        """Whether it is time to let others have their turn."""
        return time.monotonic() - self._since > _AT_ONCE

    async def take(self) -> None:
        """Let others have their turn, and begin to count anew."""
        await asyncio.sleep(0)
        self._since = time.monotonic()
