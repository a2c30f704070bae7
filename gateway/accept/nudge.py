"""Waking the workers, after the commit and not too often: with a NOTIFY inside them, PostgreSQL
would commit the transactions one after the other."""

from __future__ import annotations

import asyncio

from gateway.store import queue
from gateway.store.database import Database
from gateway.store.errors import DatabaseAwayError

# Seconds between two notifications.
_PAUSE = 0.02


class Nudge:
    """Tells the workers that something is due; they poll as well, so a lost call costs little."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wanted = asyncio.Event()

    def __call__(self) -> None:
        """Note that something was stored that may be due."""
        self._wanted.set()

    async def run(self) -> None:
        """Notify the workers whenever something was stored, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await queue.wake(self._database)
            except DatabaseAwayError:
                continue  # workers look by themselves twice a second
            await asyncio.sleep(_PAUSE)
