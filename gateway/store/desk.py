"""What the pages of the inbox show around a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from gateway.store.database import Connection
from gateway.store.paging import Cursor
from gateway.store.sql import fetch_rows, queries
from gateway.store.values import Row

_SQL = queries("desk")


async def staff(db: Connection, organization_id: UUID) -> list[Row]:
    """`id, name` of the colleagues to whom a conversation can be assigned, by name."""
    return await fetch_rows(db, _SQL["staff"], organization_id)


async def unread(db: Connection, organization_id: UUID) -> int:
    """How many conversations have something unread, a hundred at most."""
    count: int = await db.fetchval(_SQL["unread"], organization_id)
    return count


async def written_since(
    db: Connection, organization_id: UUID, conversation_id: UUID, message_id: UUID | None
) -> int:
    """How many inbound messages came after this one; if it is none (any more), all of them."""
    count: int = await db.fetchval(
        _SQL["written_since"], organization_id, conversation_id, message_id
    )
    return count


async def senders(db: Connection, organization_id: UUID) -> list[Row]:
    """`channel, address, is_default, provider` of the addresses that can be sent from."""
    return await fetch_rows(db, _SQL["senders"], organization_id)


async def templates(db: Connection, organization_id: UUID, channel: str) -> list[Row]:
    """`id, name, subject, content, version, named, variables` of a channel's active templates.

    They come by name. `named` are the options that say which of the provider's templates each is.
    """
    return await fetch_rows(db, _SQL["templates"], organization_id, channel)


async def further_on(
    db: Connection, organization_id: UUID, conversation_id: UUID, message_id: UUID, count: int
) -> Cursor | None:
    """The place of the message that is `count` messages after this one; None if there is none."""
    row = await db.fetchrow(_SQL["further_on"], organization_id, conversation_id, message_id, count)
    return Cursor(*row) if row else None


async def conversation_of(db: Connection, organization_id: UUID, message_id: UUID) -> UUID | None:
    """The conversation that a message is in; None if the caller sees no such message."""
    found: UUID | None = await db.fetchval(_SQL["message"], organization_id, message_id)
    return found


async def retries(
    db: Connection, organization_id: UUID, message_ids: Sequence[UUID]
) -> dict[UUID, list[str]]:
    """The statuses of the messages that were sent in place of failed ones, by the failed ones."""
    rows = await db.fetch(_SQL["retries"], organization_id, message_ids)
    return {row["retry_of"]: row["statuses"] for row in rows}


async def followed(
    db: Connection, organization_id: UUID, message_ids: Sequence[UUID]
) -> frozenset[UUID]:
    """Those of the messages that were followed by a step of their `fallback`."""
    rows = await db.fetch(_SQL["followed"], organization_id, message_ids)
    return frozenset(row["message_id"] for row in rows)


async def providers(
    db: Connection, organization_id: UUID, message_ids: Sequence[UUID]
) -> dict[UUID, str]:
    """The provider that failed each message, or else that of its sender, where known."""
    rows = await db.fetch(_SQL["providers"], organization_id, message_ids)
    return {row["id"]: row["provider"] for row in rows if row["provider"] is not None}


async def same_name(
    db: Connection, organization_id: UUID, conversation_id: UUID, name: str
) -> list[Row]:
    """`id, last_message_at, channels` of other conversations with somebody of this name."""
    return await fetch_rows(db, _SQL["same_name"], organization_id, conversation_id, name)


async def people(db: Connection, organization_id: UUID, text: str, tail: str) -> list[Row]:
    """`kind, id, name, email, phone, conversation_id` of leads and clients, ten of each at most.

    By the beginnings of words of their names and mailboxes, or by the end of a number.
    """
    return await fetch_rows(db, _SQL["people"], organization_id, text, tail or None)


async def reached(
    db: Connection, organization_id: UUID, *, lead_id: UUID | None, client_id: UUID | None
) -> list[Row]:
    """`phone, email, country` of a lead and of a client, as stored."""
    return await fetch_rows(db, _SQL["reached"], organization_id, lead_id, client_id)


async def belonging(
    db: Connection, organization_id: UUID, addresses: Sequence[str]
) -> dict[str, UUID]:
    """The conversations that addresses are in, by the addresses that are in one."""
    rows = await db.fetch(_SQL["belonging"], organization_id, list(addresses))
    return {row["address"]: row["conversation_id"] for row in rows}
