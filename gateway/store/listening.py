"""Connections that listen: a worker's, which also shows that it lives, and that of streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID, uuid4

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


async def hear(
    dsn: str,
    hearing: asyncio.Event,
    told: Callable[[str], None],
    *,
    patience: float = _SECONDS,
) -> None:
    """Call `told` with the organization of new events, until the connection is lost.

    `hearing` is set while it is sure that notifications arrive, within `patience` seconds: a
    transaction pooler takes LISTEN and never passes one on. Raises `DatabaseAwayError`.
    """
    with plainly():
        connection = await asyncpg.connect(
            dsn, timeout=_SECONDS, command_timeout=_SECONDS, server_settings=_KEEPALIVE
        )
        try:
            lost, echoed = asyncio.Event(), asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener("gateway_live", lambda *heard: told(str(heard[3])))
            own = f"gateway_echo_{uuid4().hex}"
            await connection.add_listener(own, lambda *_: echoed.set())
            while not lost.is_set():
                echoed.clear()
                await connection.execute("SELECT pg_notify($1, '')", own)
                if not await _happens(echoed, patience):
                    raise ConnectionError("it passes on no notifications")
                hearing.set()
                await _happens(lost, _SECONDS)
            raise ConnectionError("the server closed the connection")
        finally:
            hearing.clear()
            connection.terminate()


async def _happens(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
