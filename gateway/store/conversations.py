"""Conversations: to which one a message belongs, and what staff see of them and do with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from channels.frozen import frozen
from gateway.store.database import Connection
from gateway.store.paging import Cursor, Page, after, cut_page
from gateway.store.sql import fetch_row, queries
from gateway.store.telling import note
from gateway.store.values import Row, as_json, as_stored, storable

_SQL = queries("conversations")


@frozen
class Place:
    """A message that is about to be stored, and what determines its conversation.

    `seed` is its id. `addresses` are those of the person at the other end; the first one decides.
    `lead_id` and `client_id` are those who have one of the addresses, whomever a caller names.
    `conversation_id`: if the address has no conversation yet, it gets this one.
    """

    seed: UUID
    addresses: Sequence[str]
    lead_id: UUID | None = None
    client_id: UUID | None = None
    name: str | None = None
    conversation_id: UUID | None = None


@frozen
class Placed:
    """The conversation of a message; `joins` is another one of the same person, to be merged.

    `is_news`: addresses came together, so consent must be inherited between them.
    """

    conversation_id: UUID
    joins: UUID | None
    is_news: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationFilter:
    """What `GET /v1/conversations` may ask for; None means anything."""

    channel: str | None = None
    assigned_to: UUID | None = None
    status: str | None = None
    unread: bool | None = None


async def place(db: Connection, organization_id: UUID, places: Sequence[Place]) -> list[Placed]:
    """The conversation of each, in order; created if there is none, and locked until the commit."""
    wanted = [
        {
            "n": n,
            "seed": each.seed,
            "addresses": each.addresses,
            "lead_id": each.lead_id,
            "client_id": each.client_id,
            "name": each.name,
            "conversation_id": each.conversation_id,
        }
        for n, each in enumerate(places)
    ]
    has_several = any(len(each.addresses) > 1 for each in places)
    statement = _SQL["place_people"] if has_several else _SQL["place"]
    rows = await db.fetch(statement, organization_id, as_stored(wanted))
    found = {
        row["n"]: Placed(
            conversation_id=row["conversation_id"],
            joins=row["joins"],
            is_news=row.get("is_news", False),
        )
        for row in rows
    }
    return [found[n] for n in range(len(places))]


async def set_name(
    db: Connection, organization_id: UUID, conversation_id: UUID, name: str | None, at: datetime
) -> None:
    """Set the name that they used at a time long ago, unless they have written since."""
    await db.execute(_SQL["set_name"], organization_id, conversation_id, storable(name), at)


async def join(db: Connection, organization_id: UUID, one: UUID, other: UUID) -> bool | None:
    """Merge two conversations of one person; returns None as `merge` does.

    False if that has been done, or if staff have linked one of them to a contact, or are merging it
    into another conversation.
    """
    note(db, [organization_id])
    # First, so that the next statement sees what was committed while this one waited.
    await db.execute(_SQL["hold_both"], organization_id, [one, other])
    joined: bool | None = await db.fetchval(_SQL["join"], organization_id, one, other)
    return joined


async def merge(db: Connection, organization_id: UUID, *, merged: UUID, kept: UUID) -> bool | None:
    """Make one conversation part of another; False if either does not exist (any more).

    None if it is long: some of its messages have moved, oldest first, and it must be called again.
    Also False if it is being merged into a third one, or the other one into it (`merging_into`).
    """
    note(db, [organization_id])
    done: bool | None = await db.fetchval(_SQL["merge"], organization_id, merged, kept)
    if done:
        await db.execute(_SQL["all_here"], organization_id, kept, kept)
    return done


async def search(
    db: Connection,
    organization_id: UUID,
    wanted: ConversationFilter,
    cursor: Cursor | None,
    limit: int,
    *,
    among: Sequence[UUID] | None = None,
    most_bytes: int | None,
) -> Page:
    """One page of conversations with their last messages, the latest first.

    It ends with the conversation whose text reaches `most_bytes`; None: messages come without
    their whole texts, with as much as a line shows.
    """
    # A generic plan cannot fold away the filters that are not given.
    await db.execute("SET LOCAL plan_cache_mode = force_custom_plan")
    rows = await db.fetch(
        _SQL["list"],
        organization_id,
        wanted.channel,
        wanted.assigned_to,
        wanted.status,
        wanted.unread,
        *after(cursor),
        limit + 1,
        list(among) if among is not None else None,
        most_bytes,
    )
    found = cut_page(rows, limit, by="last_message_at")
    is_brief = most_bytes is None
    listed = await with_last_messages(db, organization_id, found.rows, is_brief=is_brief)
    return Page(listed, found.next_cursor)


async def numbers(db: Connection, organization_id: UUID, conversation_id: UUID) -> list[str]:
    """The numbers and user ids in a conversation, also by an id that was merged into it."""
    rows = await db.fetch(_SQL["numbers"], organization_id, conversation_id)
    return [row["written"] for row in rows]


async def current(db: Connection, organization_id: UUID, conversation_id: UUID) -> UUID | None:
    """Its present id, which is another one if it was merged; None if there is none."""
    found: UUID | None = await db.fetchval(_SQL["current"], organization_id, conversation_id)
    return found


async def whereabouts(
    db: Connection, organization_id: UUID, conversation_id: UUID
) -> tuple[Any, ...] | None:
    """A value that changes whenever some of its messages move to another conversation."""
    row = await db.fetchrow(_SQL["whereabouts"], organization_id, conversation_id)
    return tuple(row) if row else None


async def get(db: Connection, organization_id: UUID, conversation_id: UUID) -> Row | None:
    """One conversation with its last message, also by an id that was merged into it."""
    row = await db.fetchrow(_SQL["get"], organization_id, conversation_id)
    if row is None:
        return None
    return (await with_last_messages(db, organization_id, [dict(row)]))[0]


async def with_last_messages(
    db: Connection, organization_id: UUID, rows: Sequence[Row], *, is_brief: bool = False
) -> list[Row]:
    """The same rows, each with `last_message` (or None), briefly or whole."""
    ids = [row["last_message_id"] for row in rows if row["last_message_id"]]
    statement = _SQL["last_lines"] if is_brief else _SQL["last_messages"]
    found = await db.fetch(statement, organization_id, ids) if ids else []
    known = {row["id"]: dict(row) for row in found}
    return [{**row, "last_message": known.get(row["last_message_id"])} for row in rows]


async def reply(
    db: Connection, organization_id: UUID, conversation_id: UUID, channel: str | None
) -> Row | None:
    """The message that a reply follows (on a channel, or on any), with both addresses.

    `id, channel, is_theirs, subject, their_address, our_address`; None if there is no message.
    """
    return await fetch_row(db, _SQL["reply"], organization_id, conversation_id, channel)


async def hold(db: Connection, organization_id: UUID, conversation_id: UUID) -> None:
    """Lock a conversation: until this transaction ends, no message is added to it."""
    await db.execute(_SQL["hold"], organization_id, [conversation_id])


async def change(
    db: Connection, organization_id: UUID, conversation_id: UUID, changes: Mapping[str, Any]
) -> bool:
    """Change `status`, `assigned_to` and `read`, as given; False if there is none.

    If it becomes read, `unseen` messages stay unread. Raises `ConflictError` for an assignee who is
    not staff of the organization.
    """
    return await _written(db, _SQL["change"], organization_id, conversation_id, as_json(changes))


async def link(
    db: Connection, organization_id: UUID, conversation_id: UUID, changes: Mapping[str, UUID | None]
) -> bool:
    """Link it to `lead_id` and `client_id`, as given; False if there is no such conversation.

    Raises `ConflictError` for a contact that does not exist, or has another conversation.
    """
    lead_id, client_id = changes.get("lead_id"), changes.get("client_id")
    given = (lead_id, client_id, "lead_id" in changes, "client_id" in changes)
    return await _written(db, _SQL["link"], organization_id, conversation_id, *given)


async def _written(
    db: Connection, query: str, organization_id: UUID, conversation_id: UUID, *values: object
) -> bool:
    note(db, [organization_id])
    if await db.fetchval(query, organization_id, conversation_id, *values) is not None:
        return True
    # It may have been merged while this waited for the lock: then the change goes there.
    now = await current(db, organization_id, conversation_id)
    return now is not None and (await db.fetchval(query, organization_id, now, *values) is not None)


async def of_contact(
    db: Connection, organization_id: UUID, *, lead_id: UUID | None, client_id: UUID | None
) -> UUID | None:
    """The conversation of a lead or of a client."""
    found: UUID | None = await db.fetchval(_SQL["of_contact"], organization_id, lead_id, client_id)
    return found


async def merging_into(db: Connection, organization_id: UUID, conversation_id: UUID) -> list[UUID]:
    """The conversations that have the oldest messages of a long one while it is merged in steps:
    the first is its target, and that may be merging into others."""
    rows = await db.fetch(_SQL["merging_into"], organization_id, conversation_id)
    return [row["id"] for row in rows]


async def seen(db: Connection, organization_id: UUID, addresses: Sequence[str]) -> list[str]:
    """Those of the addresses that have a conversation, as it has them."""
    rows = await db.fetch(_SQL["owned"], organization_id, list(addresses))
    return [row["written"] for row in rows]
