"""Sealed secrets as rows, of accounts at providers and of subscriptions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from gateway.store.database import Connection
from gateway.store.sql import queries

_SQL = queries("sealed")


class Kind(Enum):
    """The kinds of rows with secrets: the statements that find them and that write one of them."""

    ACCOUNTS = (_SQL["accounts"], _SQL["account"])
    SUBSCRIPTIONS = (_SQL["subscriptions"], _SQL["subscription"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """The secrets of one row."""

    organization_id: UUID
    id: UUID
    credentials: bytes


async def with_another_key(
    db: Connection, kind: Kind, key_id: bytes, after: UUID | None
) -> list[Sealed]:
    """Some secrets that are not sealed with this key, by id, the first ones after `after`."""
    find, _ = kind.value
    return [Sealed(**row) for row in await db.fetch(find, key_id, after)]


async def replace(db: Connection, kind: Kind, old: Sealed, credentials: bytes) -> bool:
    """Replace the bytes of secrets; False if they have been replaced meanwhile."""
    _, write = kind.value
    given = (old.organization_id, old.id, old.credentials, credentials)
    return await db.fetchval(write, *given) is not None
