"""A connection of a worker's own: it hears of new messages, and shows that the worker lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import asyncpg

from gateway.store.database import plainly
from gateway.store.sql import queries

_SQL = queries("queue")
_SECONDS = 10
# A server that cannot reach us any more shall let go of the lock within half a minute.
_KEEPALIVE = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


async def listen(dsn: str, lease_id: UUID, alive: asyncio.Event, wake: Callable[[], None]) -> None:
    """Call `wake` for every new message, until the connection is lost.

    `alive` is set while everybody can see, by a lock, that the worker of these leases lives.
    Raises `DatabaseAwayError` when there is no connection, or it was lost.
    """
    with plainly():
        connection = await asyncpg.connect(
            dsn, timeout=_SECONDS, command_timeout=_SECONDS, server_settings=_KEEPALIVE
        )
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener("gateway_queue", lambda *_: wake())
            if not await connection.fetchval(_SQL["hold_lease"], lease_id):
                raise ConnectionError("the lock of this worker's leases is still held elsewhere")
            alive.set()
            wake()
            while not await _happens(lost, _SECONDS):
                await connection.fetchval("SELECT 1")
            raise ConnectionError("the server closed the connection")
        finally:
            alive.clear()
            connection.terminate()


async def _happens(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
