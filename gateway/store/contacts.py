"""Leads and clients, and everything that requests to send refer to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from gateway.store.database import Connection
from gateway.store.paging import MOST_BYTES, Cursor, Page, after, cut_page
from gateway.store.sql import fetch_row, fetch_rows, queries
from gateway.store.values import Row, as_json

_SQL = queries("contacts")

Kind = Literal["lead", "client"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a batch of requests refers to."""

    lead_ids: Sequence[UUID]
    client_ids: Sequence[UUID]
    template_ids: Sequence[UUID]
    template_names: Sequence[str]
    channels: Sequence[str]
    senders: Sequence[str]
    sender_tails: Sequence[str]
    tails: Sequence[str]
    emails: Sequence[str]
    addresses: Sequence[str]
    answered: Sequence[UUID]


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """The rows that were found, as dicts; `known` are newest first."""

    country: str | None
    leads: list[Row]
    clients: list[Row]
    templates: list[Row]
    senders: list[Row]
    known: list[Row]
    suppressed: list[Row]
    answered: list[Row]


async def context(db: Connection, organization_id: UUID, wanted: Wanted) -> Context:
    """Everything that a batch of requests refers to, in one round trip."""
    row = await db.fetchrow(
        _SQL["context"],
        organization_id,
        list(wanted.lead_ids),
        list(wanted.client_ids),
        list(wanted.template_ids),
        list(wanted.template_names),
        list(wanted.channels),
        list(wanted.senders),
        list(wanted.tails),
        list(wanted.emails),
        list(wanted.sender_tails),
        list(wanted.addresses),
        list(wanted.answered),
    )
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return Context(**dict(row))


async def country(db: Connection, organization_id: UUID) -> str | None:
    """The country in which the organization's national numbers are read, two letters."""
    found: str | None = await db.fetchval(_SQL["country"], organization_id)
    return found


async def by_address(
    db: Connection, organization_id: UUID, tails: Sequence[str], emails: Sequence[str]
) -> list[Row]:
    """Leads and clients that may have these addresses, newest first; each names the country."""
    return await fetch_rows(db, _SQL["by_address"], organization_id, list(tails), list(emails))


async def search(
    db: Connection,
    kind: Kind,
    organization_id: UUID,
    *,
    status: str | None,
    email: str | None,
    cursor: Cursor | None,
    limit: int,
) -> Page:
    """One page of leads or clients, newest first, which ends once it has `MOST_BYTES`."""
    rows = await db.fetch(
        _SQL[f"list_{kind}s"],
        organization_id,
        status,
        email,
        *after(cursor),
        limit + 1,
        MOST_BYTES,
    )
    return cut_page(rows, limit)


async def get(db: Connection, kind: Kind, organization_id: UUID, contact_id: UUID) -> Row | None:
    """One lead or client."""
    return await fetch_row(db, _SQL[f"get_{kind}"], organization_id, contact_id)


async def insert(
    db: Connection, kind: Kind, organization_id: UUID, contact_id: UUID, columns: Mapping[str, Any]
) -> None:
    """Store a lead or client with the columns that were given."""
    await db.execute(_SQL[f"insert_{kind}"], organization_id, contact_id, as_json(columns))


async def update(
    db: Connection, kind: Kind, organization_id: UUID, contact_id: UUID, columns: Mapping[str, Any]
) -> bool:
    """Change the columns that were given; False where there is no such contact."""
    changed = await db.fetchval(
        _SQL[f"update_{kind}"], organization_id, contact_id, as_json(columns)
    )
    return changed is not None
