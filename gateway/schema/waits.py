"""What the session of a program that we run waits for, such as dbmate's while it migrates.

Others suffer from such a wait: all who want to use a table after a session that waits to change it
queue behind that session, even to read. So one forgotten transaction blocks a whole CRM.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

import asyncpg

_CONNECT_SECONDS = 5
_LOST = (
    *(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError),
    asyncpg.InternalClientError,
)
_FIND = """
SELECT l.locktype = 'advisory' AS is_turn,
  coalesce(extract(epoch FROM clock_timestamp() - l.waitstart), 0)::float8 AS seconds,
  coalesce(l.relation::regclass::text, '') AS what,
  ARRAY(
    SELECT CASE WHEN b.pid = 0 THEN 'a prepared transaction' ELSE concat_ws(', ',
      concat('process ', b.pid, ' of ', coalesce(a.usename, 'somebody'),
        nullif(concat(' (', nullif(a.application_name, ''), ')'), ' ()')),
      a.state,
      to_char(a.xact_start AT TIME ZONE 'UTC', '"begun at" YYYY-MM-DD HH24:MI:SS "UTC"')) END
    FROM unnest(pg_blocking_pids(l.pid)) AS b (pid) LEFT JOIN pg_stat_activity a USING (pid)
    ORDER BY a.xact_start
  ) AS holders
FROM pg_locks l JOIN pg_stat_activity mine USING (pid)
WHERE NOT l.granted AND mine.application_name = $1 AND mine.datname = current_database()
ORDER BY is_turn LIMIT 1
"""
_CANCEL = """
SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
WHERE application_name = $1 AND datname = current_database()
"""
_END = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name = $1 AND datname = current_database()
"""


# A lock of the session, which is released however the command ends; not dbmate's own lock.
_BE_NEXT = """
SET idle_session_timeout = 0; SET statement_timeout = 0; SET lock_timeout = 0;
SELECT pg_advisory_lock(7045)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """A session waits for `what` (a table, or ""), for `seconds` so far; `holders` have the lock.

    `is_turn`: it waits for another migration.
    """

    is_turn: bool
    seconds: float
    what: str
    holders: tuple[str, ...]

    def __str__(self) -> str:
        held = " and ".join(self.holders) or "nobody any more"
        if self.is_turn:
            return f"another migration is at work ({held})"
        return f"{self.what or 'something that it needs'} is held by {held}"


async def watch(
    dsn: str, name: str, tell: Callable[[str], None], *, every: float, held: float, turn: float
) -> Wait:
    """Watch the sessions with this application name until a wait is too long; cancel and return it.

    Looks `every` so many seconds, calls `tell` with each new wait, and cancels one that takes more
    than `held` seconds, or `turn` if it is for another migration. Returns only then. If the
    database does not answer, it is asked again.
    """
    told: tuple[str, ...] | None = None
    connection: asyncpg.Connection[asyncpg.Record] | None = None
    try:
        while True:
            await asyncio.sleep(every)
            try:
                connection = connection or await _connect(dsn)
                row = await connection.fetchrow(_FIND, name)
                wait = Wait(**{**row, "holders": tuple(row["holders"])}) if row else None
                if wait and wait.holders != told:
                    told = wait.holders
                    tell(f"waiting: {wait}")
                if wait and wait.seconds > (turn if wait.is_turn else held):
                    await connection.fetchval(_CANCEL, name)
                    return wait
            except _LOST:
                if connection:
                    connection.terminate()
                connection = None
    finally:
        if connection:
            connection.terminate()


async def take_turn(
    connection: asyncpg.Connection[asyncpg.Record],
    dsn: str,
    tell: Callable[[str], None],
    *,
    every: float,
    turn: float,
) -> Wait | None:
    """Wait until nobody else migrates this database; nobody can while the connection is open.

    Calls `tell` like `watch`. Returns a wait that took more than `turn` seconds, else None.
    """
    name = f"gateway migrate {uuid4().hex[:12]}"
    await connection.execute(f"SET application_name = '{name}'")
    watching = asyncio.create_task(watch(dsn, name, tell, every=every, held=turn, turn=turn))
    try:
        await connection.execute(_BE_NEXT, timeout=turn + _CONNECT_SECONDS * 4)
    except asyncpg.QueryCanceledError:
        await asyncio.wait({watching}, timeout=_CONNECT_SECONDS)
        if not watching.done():  # another program canceled it
            raise
        return watching.result()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return None


async def end(dsn: str, name: str) -> None:
    """End the sessions with this application name: one that waits outlives its client."""
    with suppress(*_LOST):
        connection = await _connect(dsn)
        try:
            await connection.fetchval(_END, name)
        finally:
            connection.terminate()


async def _connect(dsn: str) -> asyncpg.Connection[asyncpg.Record]:
    return await asyncpg.connect(
        dsn, timeout=_CONNECT_SECONDS, command_timeout=_CONNECT_SECONDS, statement_cache_size=0
    )
