"""Telling event streams that there are new events: after the commit, a few times a second.

A NOTIFY inside the transactions would make PostgreSQL commit them one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg

if TYPE_CHECKING:
    Base = asyncpg.Connection[asyncpg.Record]
else:
    Base = asyncpg.Connection

_PAUSE = 0.05
# Seconds in which the caller of the transaction gets its answer first.
_FIRST = 0.005


class Noting(Base):
    """A connection that remembers the organizations for which its transaction stored events."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as asyncpg makes them
        super().__init__(*args, **kwargs)
        self.noted: set[UUID] = set()


def note(db: object, organizations: Iterable[UUID]) -> None:
    """Note that the transaction of this connection stores events of these organizations."""
    noted(db).update(organizations)


def noted(db: object) -> set[UUID]:
    """The organizations noted in this connection's transaction; none if it is not of the pool."""
    kept: set[UUID] = getattr(db, "noted", set())
    return kept


class Telling:
    """Sends one notification for several transactions; listeners survive the loss of one."""

    def __init__(self, tell: Callable[[set[UUID]], Awaitable[None]]) -> None:
        self._tell = tell
        self._waiting: set[UUID] = set()
        self._task: asyncio.Task[None] | None = None

    def __call__(self, organizations: Iterable[UUID]) -> None:
        """Tell that events of these organizations were stored."""
        self._waiting.update(organizations)
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await asyncio.sleep(_FIRST)
        while self._waiting:
            told, self._waiting = self._waiting, set()
            await self._tell(told)
            await asyncio.sleep(_PAUSE)

    async def close(self) -> None:
        """Tell the last, within a second."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=1)
            self._task.cancel()
