"""Signing in to the inbox: sessions, links that can be used once, and attempts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from gateway.store.database import Connection
from gateway.store.sql import fetch_row, queries
from gateway.store.values import Row

_SQL = queries("sessions")


@dataclass(frozen=True, slots=True)
class StaffSession:
    """A valid session: its member of staff, and their organization when it began."""

    organization_id: UUID
    id: UUID
    auth_id: UUID


async def insert_session(
    db: Connection, session: StaffSession, digest: bytes, *, method: str, seconds: float
) -> None:
    """Begin a session, identified by the digest of its token, for at most so many seconds."""
    await db.execute(
        _SQL["insert_session"],
        session.organization_id,
        session.id,
        session.auth_id,
        digest,
        method,
        seconds,
    )


async def find_session(
    db: Connection, digest: bytes, *, idle: float, is_use: bool = True
) -> StaffSession | None:
    """The session of a token, if it was used within the last `idle` seconds; `is_use`: this is a
    use, too."""
    row = await db.fetchrow(_SQL["find_session"], digest, idle, is_use)
    return StaffSession(**row) if row else None


async def end_session(db: Connection, digest: bytes) -> None:
    """End the session of a token."""
    await db.execute(_SQL["end_session"], digest)


async def end_sessions_of(db: Connection, organization_id: UUID, auth_id: UUID) -> None:
    """End all sessions of a member of staff, and the links that would begin another."""
    await db.execute(_SQL["end_sessions_of"], organization_id, auth_id)
    await db.execute(_SQL["end_links_of"], organization_id, auth_id)


async def insert_link(
    db: Connection, organization_id: UUID, link_id: UUID, auth_id: UUID, *, seconds: float
) -> None:
    """Store a link that signs a member of staff in, once, within so many seconds."""
    await db.execute(_SQL["insert_link"], organization_id, link_id, auth_id, seconds)


async def find_link(db: Connection, organization_id: UUID, link_id: UUID) -> Row | None:
    """The member of staff of a valid link: `auth_id`, `email`, `organization`."""
    return await fetch_row(db, _SQL["find_link"], organization_id, link_id)


async def use_link(db: Connection, organization_id: UUID, link_id: UUID) -> UUID | None:
    """The `auth_id` of a link's member of staff at its first use; None at any later one."""
    found: UUID | None = await db.fetchval(_SQL["use_link"], organization_id, link_id)
    return found


async def end_links_of(db: Connection, organization_id: UUID, auth_id: UUID) -> None:
    """Make all links of a member of staff invalid."""
    await db.execute(_SQL["end_links_of"], organization_id, auth_id)


async def count_attempts(db: Connection, limits: Mapping[bytes, int], *, seconds: float) -> bool:
    """Count one attempt in each bucket; returns whether all are within their limits."""
    rows = await db.fetch(_SQL["count_attempts"], list(limits), seconds)
    return all(row["count"] <= limits[row["bucket"]] for row in rows)


async def me(db: Connection, auth_id: UUID) -> Row | None:
    """The row of an active member of staff, read as that person; None for anybody else."""
    return await fetch_row(db, _SQL["me"], auth_id)
