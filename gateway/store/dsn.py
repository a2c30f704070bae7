"""Checks the address of a database before the database is used."""

from __future__ import annotations

import asyncpg

_SECONDS = 2
# The last means that no server is what target_session_attrs wants, which a failover may change.
_AWAY = (
    *(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError),
    asyncpg.InternalClientError,
)


async def fault_of(dsn: str) -> str | None:
    """What is wrong with an address, on one line, if it would be wrong with any server; else None.

    Some of that only the server can tell: a setting that PostgreSQL does not know, such as libpq's
    `channel_binding`. If it does not answer within two seconds, the result is None.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=_SECONDS, statement_cache_size=0)
    except (ValueError, asyncpg.UndefinedObjectError, asyncpg.InvalidParameterValueError) as error:
        return str(error).splitlines()[0]
    except _AWAY:
        return None
    connection.terminate()
    return None
