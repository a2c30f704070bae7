"""Whether callers are still known, for streams that outlast one request; and colleagues."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from asyncpg import Record

from gateway.store.database import ApiKey, Caller, Connection, Staff
from gateway.store.sql import queries

_SQL = queries("callers")


async def still_known(db: Connection, callers: Collection[Caller]) -> set[Caller]:
    """The callers whose key is not revoked, or who are still active staff of that organization."""
    keys = [caller for caller in callers if isinstance(caller, ApiKey)]
    staff = [caller for caller in callers if isinstance(caller, Staff)]
    known = _pairs(await db.fetch(_SQL["keys"], [key.id for key in keys])) if keys else set()
    if staff:
        known |= _pairs(await db.fetch(_SQL["staff"], [one.auth_id for one in staff]))
    return {
        caller
        for caller in callers
        if (caller.id if isinstance(caller, ApiKey) else caller.auth_id, caller.organization_id)
        in known
    }


async def is_colleague(db: Connection, organization_id: UUID, staff_id: UUID) -> bool:
    """Whether this is an active member of staff of the organization."""
    found: bool = await db.fetchval(_SQL["is_colleague"], organization_id, staff_id)
    return found


def _pairs(rows: Sequence[Record]) -> set[tuple[UUID, UUID]]:
    return {(row[0], row[1]) for row in rows}
