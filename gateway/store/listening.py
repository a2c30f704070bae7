"""Connections that listen: a worker's, which also shows that it is alive, and a web process's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import asyncpg

from gateway.store.errors import NoSessionError, plainly
from gateway.store.pooler import NO_SESSION, happens, keeps_session
from gateway.store.sql import queries

if TYPE_CHECKING:
    from gateway.store.database import Direct

_SQL = queries("queue")
_SECONDS = 10
# A server that cannot reach us any more should release the lock within half a minute. Not set at
# login, because PgBouncer refuses a login with settings that it does not know.
_KEEPALIVE = (
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
)


async def listen(
    dsn: str,
    lease_id: UUID,
    alive: asyncio.Event,
    wake: Callable[[], None],
    *,
    patience: float = _SECONDS,
) -> None:
    """Call `wake` for every new message, until the connection is lost.

    `alive` is set while a lock shows the other workers that the worker of these leases lives.
    Raises `DatabaseAwayError` if there is no connection, or it is lost, or if it does not prove
    within `patience` seconds to keep a session.
    """
    async with _session(dsn, patience) as connection:
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener("gateway_queue", lambda *_: wake())
            if not await connection.fetchval(_SQL["hold_lease"], lease_id):
                # Only this worker uses the lock: a former connection that the server still has.
                await connection.execute(_SQL["end_former"], lease_id)
                if not await connection.fetchval(_SQL["hold_lease"], lease_id):
                    raise ConnectionError("the lock of this worker's leases is held elsewhere")
            alive.set()
            wake()
            while not await happens(lost, _SECONDS):
                await connection.fetchval("SELECT 1")
            raise ConnectionError("the server closed the connection")
        finally:
            alive.clear()


async def hear(
    dsn: str,
    hearing: asyncio.Event,
    told: Mapping[str, Sequence[Callable[[str], None]]],
    notify: Callable[[str], Awaitable[None]],
    *,
    patience: float = _SECONDS,
) -> None:
    """Call the functions in `told` with the notifications of their channels, until the connection
    is lost.

    Sets `hearing` once a test notification, sent by `notify` in the way of all others, has arrived
    within `patience` seconds: a transaction pooler accepts LISTEN but passes no notification on,
    and `dsn` may lead to another database. Raises `DatabaseAwayError`.
    """

    def tell(*heard: object) -> None:
        for one in told[str(heard[2])]:
            one(str(heard[3]))

    async with _session(dsn, patience) as connection:
        lost, echoed = asyncio.Event(), asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        for channel in told:
            await connection.add_listener(channel, tell)
        own = f"gateway_echo_{uuid4().hex}"
        await connection.add_listener(own, lambda *_: echoed.set())
        while not lost.is_set():
            echoed.clear()
            await notify(own)
            if not await happens(echoed, patience):
                raise ConnectionError("it passes on no notifications of this database")
            hearing.set()
            await happens(lost, _SECONDS)
        raise ConnectionError("the server closed the connection")


@asynccontextmanager
async def _session(dsn: str, patience: float) -> AsyncIterator[Direct]:
    """A connection that keeps one server session; raises `DatabaseAwayError`."""
    with plainly():
        connection = await asyncpg.connect(
            dsn, timeout=_SECONDS, command_timeout=_SECONDS, statement_cache_size=0
        )
        try:
            if not await keeps_session(connection, dsn, patience):
                raise NoSessionError(f"{NO_SESSION}: set DATABASE_DIRECT_URL")
            await connection.execute(_KEEPALIVE)
            yield connection
        finally:
            connection.terminate()
