"""Fallbacks: what follows a message that failed, or did not get far enough in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.store.database import Connection
from gateway.store.sql import queries
from gateway.store.values import Row, as_json_pieces, columns

_SQL = queries("fallbacks")

# A fallback is identified by the message that it follows: (organization, message).
Key = tuple[UUID, UUID]


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """A locked fallback whose next step is due, with the present state of the message before it."""

    organization_id: UUID
    message_id: UUID
    is_test: bool
    steps: Sequence[Row]
    status: str
    reference: str | None
    metadata: Any
    expires_at: datetime | None
    is_expired: bool

    @property
    def key(self) -> Key:
        """What identifies it."""
        return self.organization_id, self.message_id


async def store(db: Connection, organization_id: UUID, messages: Sequence[Row]) -> None:
    """Store the fallbacks of messages, in the transaction that stores the messages."""
    rows = [
        {
            "id": row["id"],
            "send_at": row["send_at"],
            "after": row["steps"][0]["after"],
            "is_test": row["is_test"],
            "steps": row["steps"],
        }
        for row in messages
    ]
    for piece in as_json_pieces(rows):
        await db.execute(_SQL["store"], piece, organization_id)


async def due(db: Connection, limit: int) -> list[Key]:
    """Lock due fallbacks, fairly between organizations; returns their keys."""
    return [tuple(row) for row in await db.fetch(_SQL["due"], limit)]


async def claim(db: Connection, keys: Sequence[Key]) -> list[Due]:
    """Lock those of these fallbacks that are due and not locked by others."""
    if not keys:
        return []
    rows = await db.fetch(_SQL["claim"], *columns(keys))
    return [Due(**row) for row in rows]


async def still_there(
    db: Connection,
    organization_id: UUID,
    leads: Sequence[UUID],
    clients: Sequence[UUID],
    templates: Sequence[UUID],
) -> frozenset[UUID]:
    """The ids of those that have not been deleted."""
    rows = await db.fetch(
        _SQL["still_there"], organization_id, list(leads), list(clients), list(templates)
    )
    return frozenset(row["id"] for row in rows)


async def take_back(db: Connection, keys: Sequence[Key]) -> frozenset[UUID]:
    """Remove from the queue those messages that certainly have not left; returns their ids."""
    if not keys:
        return frozenset()
    rows = await db.fetch(_SQL["take_back"], *columns(keys))
    return frozenset(row["message_id"] for row in rows)


async def end(db: Connection, keys: Sequence[Key]) -> None:
    """Remove the fallbacks of these messages."""
    await db.execute(_SQL["end"], *columns(keys))


async def postpone(db: Connection, keys: Sequence[Key], seconds: float) -> None:
    """Try due fallbacks again in so many seconds."""
    await db.execute(_SQL["postpone"], *columns(keys), seconds)
