"""Message templates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.store.database import Connection
from gateway.store.paging import MOST_BYTES, Cursor, Page, after, cut_page
from gateway.store.sql import fetch_row, queries
from gateway.store.values import Row, as_json

_SQL = queries("templates")


async def search(
    db: Connection,
    organization_id: UUID,
    *,
    type_: str | None,
    name: str | None,
    is_active: bool | None,
    cursor: Cursor | None,
    limit: int,
) -> Page:
    """One page of templates, newest first, which ends once it has `MOST_BYTES`."""
    rows = await db.fetch(
        _SQL["list"],
        organization_id,
        type_,
        name,
        is_active,
        *after(cursor),
        limit + 1,
        MOST_BYTES,
    )
    return cut_page(rows, limit)


async def get(db: Connection, organization_id: UUID, template_id: UUID) -> Row | None:
    """One template, with uses that are not yet added to its counter."""
    return await fetch_row(db, _SQL["get"], organization_id, template_id)


async def insert(
    db: Connection, organization_id: UUID, template_id: UUID, columns: Mapping[str, Any]
) -> None:
    """Store a template; raises `ConflictError` where an active one has its name and type."""
    await db.execute(_SQL["insert"], organization_id, template_id, as_json(columns))


async def update(
    db: Connection,
    organization_id: UUID,
    template_id: UUID,
    columns: Mapping[str, Any],
    updated_at: datetime | None,
) -> bool:
    """Change the columns that were given; False where it was changed since `updated_at`.

    Raises `ConflictError` where an active one has its name and type.
    """
    changed = await db.fetchval(
        _SQL["update"], organization_id, template_id, as_json(columns), updated_at
    )
    return changed is not None


async def made(db: Connection, organization_id: UUID, template_id: UUID, more_than: int) -> bool:
    """Whether a template has been used for more than so many messages."""
    found: bool = await db.fetchval(_SQL["made"], organization_id, template_id, more_than)
    return found


async def let_go(db: Connection, organization_id: UUID, template_id: UUID, limit: int) -> int:
    """Remove the reference to a template from up to so many messages; returns how many had it."""
    count: int = await db.fetchval(_SQL["let_go"], organization_id, template_id, limit)
    return count


async def delete(db: Connection, organization_id: UUID, template_id: UUID) -> bool:
    """Delete a template; its messages stay. False where there is none."""
    gone = await db.fetchval(_SQL["delete"], organization_id, template_id)
    return gone is not None
