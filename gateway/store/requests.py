"""Providers' requests as they came: kept, and read again by `gateway replay`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from channels.frozen import frozen
from channels.json_text import as_object
from gateway.store.database import Connection
from gateway.store.sql import queries
from gateway.store.values import as_json, columns

_SQL = queries("requests")


@frozen
class RawRequest:
    """A provider's request as it came."""

    organization_id: UUID
    id: UUID
    account_id: UUID
    provider: str
    event: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """The ids of a kept request, and when it was received."""

    organization_id: UUID
    id: UUID
    received_at: datetime


async def keep(db: Connection, requests: Sequence[RawRequest]) -> None:
    """Keep verified requests, for replay and for later questions."""
    rows = [
        (
            request.organization_id,
            request.id,
            request.account_id,
            request.provider,
            request.event,
            request.method,
            request.url,
            as_json(dict(request.headers)),
            request.body,
        )
        for request in requests
    ]
    await db.execute(_SQL["keep"], *columns(rows))


async def after(
    db: Connection,
    at: datetime,
    request_id: UUID,
    *,
    until: datetime,
    account: tuple[UUID, UUID] | None,
    limit: int,
) -> list[Kept]:
    """The next requests after one of this time and id, in the order in which they came.

    `account` (organization, id): only its own.
    """
    # A generic plan cannot fold away the account that is not named.
    await db.execute("SET LOCAL plan_cache_mode = force_custom_plan")
    organization_id, account_id = account or (None, None)
    rows = await db.fetch(_SQL["list"], at, request_id, until, organization_id, account_id, limit)
    return [Kept(*row) for row in rows]


async def get(db: Connection, organization_id: UUID, request_id: UUID) -> RawRequest | None:
    """One request; None if it was deleted because of its age."""
    row = await db.fetchrow(_SQL["get"], organization_id, request_id)
    return RawRequest(**{**row, "headers": as_object(row["headers"])}) if row else None


async def now(db: Connection) -> datetime:
    """The time by the database's clock, which is that of `received_at`."""
    at: datetime = await db.fetchval(_SQL["now"])
    return at


async def is_fetched(
    db: Connection, request: RawRequest, url: str, since: datetime, ways: Sequence[str]
) -> bool:
    """Whether an errand of this request's account to a URL ended in one of these ways (events)."""
    return bool(
        await db.fetchval(
            _SQL["is_fetched"],
            request.organization_id,
            request.account_id,
            since,
            url,
            list(ways),
        )
    )
