"""A connection of a worker's own: it hears of new messages, and shows that the worker lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg

from gateway.store.database import plainly
from gateway.store.sql import queries

_SQL = queries("queue")
_SECONDS = 10


@asynccontextmanager
async def listening(
    dsn: str, lease_id: UUID, wake: Callable[[], None]
) -> AsyncIterator[asyncio.Event]:
    """Call `wake` for every new message, and hold the lease's lock, until the event is set.

    The event is set when the connection is lost; raises `DatabaseAwayError` where there is none.
    """
    with plainly():
        connection = await asyncpg.connect(dsn, timeout=_SECONDS, command_timeout=_SECONDS)
    lost = asyncio.Event()
    try:
        with plainly():
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener("gateway_queue", lambda *_: wake())
            await connection.fetchval(_SQL["hold_lease"], lease_id)
        yield lost
    finally:
        connection.terminate()
