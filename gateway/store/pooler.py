"""Whether a pooler stands between us and PostgreSQL, and whether a session through it is ours.

PgBouncer answers a login itself, with a process id that it makes up. In transaction mode all that
a session keeps (LISTEN, locks, prepared statements) stays with a connection that another has next.
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
    """Whether the process that answers is the one to which we connected."""
    # A simple query, answered by its tag: whether prepared ones work is the question.
    pid = connection.get_server_pid()
    return await connection.execute(f"SELECT WHERE pg_backend_pid() = {pid}") == "SELECT 1"


async def keeps_session(connection: Direct, dsn: str, seconds: float) -> bool:
    """Whether this connection stays with one of the server's, which answers within `seconds`.

    It must keep no prepared statements (`statement_cache_size=0`).
    """
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
    """Whether its server can look after who has gone; a pooler refuses to be told of it."""
    try:
        await connection.execute("SET client_connection_check_interval = '1s'")
    except asyncpg.PostgresError:  # not on every system
        return False
    return await is_direct(connection)


class Opener:
    """Opens the connections of a pool; on one that a pooler answers no statement is prepared.

    The pooler's other clients have statements of the same names, which would run in their place.
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
    """Whether something happens in time."""
    try:
        # not wait_for: Python 3.11's loses a cancellation that comes at the very same moment
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
