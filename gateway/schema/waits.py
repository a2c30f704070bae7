"""What a session of a program that we run waits for, such as dbmate's while it migrates.

Such a wait is not the session's alone. Whoever comes to a table after the one who waits to change
it waits behind, also only to read: one transaction that somebody forgot stops a whole CRM.
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


# Of the session, so that it is free again however the command ends; not dbmate's own lock.
_BE_NEXT = """
SET idle_session_timeout = 0; SET statement_timeout = 0; SET lock_timeout = 0;
SELECT pg_advisory_lock(7045)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """One wait: for `what` (a table, if it is one), for so many `seconds`, for these holders.

    `is_turn`: for its turn, since another does the same at this moment.
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
    """Follow the sessions of that application name; the wait that took too long, cancelled.

    Looks `every` so many seconds, tells each new wait, and cancels one that takes more than `held`
    seconds, or `turn` where it is for its turn. Returns with such a one only. A database that does
    not answer is asked again.
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
    """Wait until nobody else migrates this database; nobody does while the connection is open.

    Tells and gives up as `watch` does: the wait that took more than `turn` seconds.
    """
    name = f"gateway migrate {uuid4().hex[:12]}"
    await connection.execute(f"SET application_name = '{name}'")
    watching = asyncio.create_task(watch(dsn, name, tell, every=every, held=turn, turn=turn))
    try:
        await connection.execute(_BE_NEXT, timeout=turn + _CONNECT_SECONDS * 4)
    except asyncpg.QueryCanceledError:
        await asyncio.wait({watching}, timeout=_CONNECT_SECONDS)
        if not watching.done():  # somebody else canceled it
            raise
        return watching.result()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return None


async def end(dsn: str, name: str) -> None:
    """End the sessions left with that application name: a waiting one outlives its client."""
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
