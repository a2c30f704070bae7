"""Subscriptions: services that get events by webhook (see `deliveries` for how)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from gateway.store.database import Connection
from gateway.store.paging import Cursor, Page, after, page
from gateway.store.sql import fetch_row, queries
from gateway.store.values import Row

_SQL = queries("subscriptions")


async def insert(
    db: Connection,
    subscription_id: UUID,
    organization_id: UUID,
    *,
    url: str,
    description: str | None,
    events: Sequence[str],
    credentials: bytes,
    most: int,
) -> bool:
    """Store a subscription to events from now on; False if the organization has `most` already."""
    await db.execute(_SQL["take_turn"], organization_id)
    made = await db.fetchval(
        _SQL["insert"],
        subscription_id,
        organization_id,
        url,
        description,
        list(events),
        credentials,
        most,
    )
    return made is not None


async def search(db: Connection, organization_id: UUID, cursor: Cursor | None, limit: int) -> Page:
    """One page of subscriptions, without their secrets."""
    return page(await db.fetch(_SQL["list"], organization_id, *after(cursor), limit + 1), limit)


async def get(db: Connection, organization_id: UUID, subscription_id: UUID) -> Row | None:
    """One subscription, without its secret."""
    return await fetch_row(db, _SQL["get"], organization_id, subscription_id)


async def update(
    db: Connection,
    organization_id: UUID,
    subscription_id: UUID,
    *,
    url: str | None,
    description: str | None,
    set_description: bool,
    events: Sequence[str] | None,
    is_active: bool | None,
) -> None:
    """Change what is given."""
    await db.execute(
        _SQL["update"],
        organization_id,
        subscription_id,
        url,
        set_description,
        description,
        None if events is None else list(events),
        is_active,
    )


async def replace_credentials(
    db: Connection,
    organization_id: UUID,
    subscription_id: UUID,
    credentials: bytes,
    *,
    former_for: float | None,
    updated_at: datetime,
) -> bool:
    """Replace the secrets, unless the subscription has been changed since `updated_at`.

    `former_for`: seconds for which the former secret signs, too; None: as long as before.
    """
    changed = await db.fetchval(
        _SQL["replace_credentials"],
        organization_id,
        subscription_id,
        credentials,
        former_for,
        updated_at,
    )
    return changed is not None


async def delete(db: Connection, organization_id: UUID, subscription_id: UUID) -> bool:
    """Delete a subscription with its deliveries; False if there is none."""
    return await db.fetchval(_SQL["delete"], organization_id, subscription_id) is not None


async def credentials(db: Connection, organization_id: UUID, subscription_id: UUID) -> bytes | None:
    """Its secrets as they are stored."""
    found: bytes | None = await db.fetchval(_SQL["credentials"], organization_id, subscription_id)
    return found
