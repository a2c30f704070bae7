"""What every search for words has in common: a bound in time, and a word for what cannot be found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from gateway.store.database import Connection

_SECONDS = 5


class SearchError(ValueError):
    """Words that cannot be searched for; the text completes "q ..."."""


@asynccontextmanager
async def searching(db: Connection) -> AsyncIterator[None]:
    """Give the statements within a few seconds; raises `SearchError` for what needs more.

    The transaction is at its end then: PostgreSQL has broken it off.
    """
    await db.execute(f"SET LOCAL statement_timeout = '{_SECONDS}s'")
    try:
        yield
    except asyncpg.InvalidParameterValueError as error:
        raise SearchError(error.message) from error
    except asyncpg.QueryCanceledError as error:
        raise SearchError(
            "finds too much to look through: add a word, or narrow it by time or another filter"
        ) from error
