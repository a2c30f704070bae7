"""Whether there is a pooler between us and PostgreSQL, and whether it keeps our session.

PgBouncer answers a login itself, with a process id that it makes up. In transaction mode the state
of a session (LISTEN, locks, prepared statements) stays with a server connection that another client
gets next.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg

if TYPE_CHECKING:
    from gateway.store.database import Direct

# Not our own logger, which writes to standard output in commands that have not set it up.
_log = logging.getLogger(__name__)

NO_SESSION = "the way to the database is a transaction pooler, where no session can be held"
_ECHO = "gateway_echo"
_SECONDS = 10


async def is_direct(connection: Direct) -> bool:
    """Whether the server process that answers is the one that we connected to."""
    # A simple query, answered by its tag, because prepared statements may not work.
    pid = connection.get_server_pid()
    return await connection.execute(f"SELECT WHERE pg_backend_pid() = {pid}") == "SELECT 1"


async def keeps_session(connection: Direct, dsn: str, seconds: float) -> bool:
    """Whether this connection keeps the same server process; False unless a test notification
    arrives within `seconds`. It must not use prepared statements (`statement_cache_size=0`)."""
    if await is_direct(connection):
        return True
    echoed, word = asyncio.Event(), uuid4().hex

    def hear(*heard: object) -> None:
        if heard[3] == word:
            echoed.set()

    await connection.add_listener(_ECHO, hear)
    # From another connection: a connection hears its own notifications even through a pooler.
    other = await asyncpg.connect(dsn, timeout=_SECONDS, command_timeout=_SECONDS)
    try:
        await other.execute(f"SELECT pg_notify('{_ECHO}', '{word}')")
    finally:
        other.terminate()
    if not await happens(echoed, seconds):
        return False
    await connection.remove_listener(_ECHO, hear)
    return True


async def can_notice(connection: Direct) -> bool:
    """Whether the server can notice that a client has gone; a pooler refuses that setting."""
    try:
        await connection.execute("SET client_connection_check_interval = '1s'")
    except asyncpg.PostgresError:  # not on every system
        return False
    return await is_direct(connection)


class Opener:
    """Opens the connections of a pool; without prepared statements if a pooler answers.

    Other clients of the pooler prepare statements under the same names, which would run instead.
    """

    def __init__(self, *, pooled: bool) -> None:
        self._pooled = pooled

    async def __call__(self, *args: Any, **words: Any) -> Direct:  # noqa: ANN401 - as the pool has them
        """A connection to what the pool was made with."""
        if not self._pooled:
            connection: Direct = await asyncpg.connect(*args, **words)
            try:
                if await is_direct(connection):
                    return connection
            except BaseException:
                connection.terminate()
                raise
            await connection.close()
            self._found()
        plain: Direct = await asyncpg.connect(*args, **{**words, "statement_cache_size": 0})
        return plain

    def _found(self) -> None:
        if not self._pooled:
            self._pooled = True
            _log.warning("a pooler answers for the database, and DATABASE_DIRECT_URL is not set")


async def happens(event: asyncio.Event, seconds: float) -> bool:
    """Whether an event is set within so many seconds."""
    try:
        # not wait_for: Python 3.11's loses a cancellation that comes at the very same moment
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
