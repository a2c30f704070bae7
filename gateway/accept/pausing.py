"""Pausing: what one caller wants may take seconds, and others must not wait for all of it."""

from __future__ import annotations

import asyncio
import time

# Seconds of work before the event loop may do something else.
_AT_ONCE = 0.005


class Pauses:
    """Asked after each part of the work: to await each time would cost more than many parts do."""

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
