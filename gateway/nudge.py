"""Waking the workers after a commit, at most so often: a notification inside of the transaction
would make PostgreSQL commit them one after the other."""

from __future__ import annotations

import asyncio

from gateway.store import queue
from gateway.store.database import Database
from gateway.store.errors import DatabaseAwayError

_PAUSE = 0.02


class Nudge:
    """Tells the workers that something is due; what is lost of it, their clock finds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wanted = asyncio.Event()

    def __call__(self) -> None:
        """Something was stored that may be due."""
        self._wanted.set()

    async def run(self) -> None:
        """Pass on what was said meanwhile, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await queue.wake(self._database)
            except DatabaseAwayError:
                continue  # workers look by themselves twice a second
            await asyncio.sleep(_PAUSE)
