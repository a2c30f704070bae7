"""Colleagues to whom a conversation can be assigned."""

from __future__ import annotations

from uuid import UUID

from gateway.store import callers
from gateway.store.database import Caller, Database


async def can_be_given(database: Database, caller: Caller, staff_id: UUID | None) -> bool:
    """Whether this is None (nobody), or an active member of staff of the caller's organization."""
    if staff_id is None:
        return True
    async with database.as_service(on_behalf=caller) as db:
        return await callers.is_colleague(db, caller.organization_id, staff_id)
