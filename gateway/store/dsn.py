"""What is wrong with the address of a database, found before the database is used."""

from __future__ import annotations

import asyncpg

_SECONDS = 2
# The last: no server is what target_session_attrs asks for, which a failover may change.
_AWAY = (
    *(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError),
    asyncpg.InternalClientError,
)


async def fault_of(dsn: str) -> str | None:
    """What is wrong with an address whatever becomes of its server, on one line; else None.

    Some of it only the server can tell: a setting that PostgreSQL has not, as libpq's
    `channel_binding`. One that is away, or does not answer within two seconds, tells nothing.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=_SECONDS, statement_cache_size=0)
    except (ValueError, asyncpg.UndefinedObjectError, asyncpg.InvalidParameterValueError) as error:
        return str(error).splitlines()[0]
    except _AWAY:
        return None
    connection.terminate()
    return None
