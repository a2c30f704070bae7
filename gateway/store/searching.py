"""Full-text search: its time limit, and the conversations that words or an address find."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg

from gateway.store.conversations import ConversationFilter
from gateway.store.database import Connection
from gateway.store.paging import Cursor, after
from gateway.store.sql import queries

_SQL = queries("searching")
_SECONDS = 5


class SearchError(ValueError):
    """Words that cannot be searched for; the text completes "q ..."."""


@asynccontextmanager
async def searching(db: Connection) -> AsyncIterator[None]:
    """Limit the statements within to a few seconds; raises `SearchError` for one that needs more.

    PostgreSQL has then aborted the transaction.
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


async def conversations_matching(
    db: Connection, q: str, wanted: ConversationFilter, cursor: Cursor | None
) -> list[UUID]:
    """The caller's conversations that words find: by their contact, or by their messages.

    By contact as many as fill a page with these filters, by messages those of the newest 200 that
    match. Raises `SearchError`.
    """
    async with searching(db):
        rows = await db.fetch(
            _SQL["conversations"],
            q,
            wanted.channel,
            wanted.assigned_to,
            wanted.status,
            wanted.unread,
            *after(cursor),
        )
    return [row[0] for row in rows]


async def corresponding(db: Connection, organization_id: UUID, address: str) -> UUID | None:
    """The one conversation that every message from or to an address is in, where there is one."""
    found: UUID | None = await db.fetchval(_SQL["corresponding"], organization_id, address)
    return found
