"""Unlinking: an address leaves a conversation, with its messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.store.conversations import merging_into
from gateway.store.database import Connection
from gateway.store.errors import RefusedError
from gateway.store.sql import queries
from gateway.store.telling import note

_SQL = queries("conversations")


@dataclass(frozen=True, kw_only=True, slots=True)
class Apart:
    """The conversation into which an address was moved; `is_new`: by this call; `is_done`: with all
    of its messages."""

    conversation_id: UUID
    is_new: bool
    is_done: bool


async def set_apart(
    db: Connection, organization_id: UUID, conversation_id: UUID, address: str, new_id: UUID
) -> Apart | None:
    """Move an address into a new conversation, with its latest messages; None if this one has none.

    If that was done before, more of its messages are moved there; also those that are elsewhere
    already, because this conversation is being merged.
    """
    note(db, [organization_id])
    found = None
    # It may be moved while this waits for the lock on its conversation.
    while (now := await db.fetchrow(_SQL["whose_address"], organization_id, address)) != found:
        found = now
        both = [conversation_id, now and now["conversation_id"]]
        await db.execute(_SQL["hold"], organization_id, both)
    if found is None:
        return None
    key, home = found["address"], found["conversation_id"]
    places: list[UUID] = []
    # A merge may make another step while this waits for these locks.
    while (into := await merging_into(db, organization_id, conversation_id)) != places:
        places = into
        await db.execute(_SQL["hold"], organization_id, places)
    is_new = home == conversation_id
    if is_new:
        home = new_id
        await db.execute(_SQL["make_apart"], organization_id, home, conversation_id)
        await db.execute(_SQL["move_address"], organization_id, conversation_id, key, home)
    elif conversation_id in await merging_into(db, organization_id, home):
        return None  # it has messages here because its own conversation is being merged into this
    sources = [each for each in (*places, conversation_id) if each != home]
    (latest,) = await db.fetch(_SQL["to_move"], organization_id, sources, key)
    if not latest["ids"] and not is_new:
        await db.execute(_SQL["all_here"], organization_id, home, conversation_id)
        return None
    await _move(db, organization_id, sources, latest["ids"], home)
    if latest["is_all"]:
        await db.execute(_SQL["all_here"], organization_id, home, conversation_id)
    if latest["is_all"] and places:
        await db.execute(_SQL["all_apart"], organization_id, conversation_id)
    return Apart(conversation_id=home, is_new=is_new, is_done=latest["is_all"])


async def _move(
    db: Connection, organization_id: UUID, sources: Sequence[UUID], ids: list[UUID], home: UUID
) -> None:
    for each in sources:
        await db.execute(_SQL["move_unread"], organization_id, each, ids, home)
    moved = await db.fetch(_SQL["move_messages"], organization_id, ids, home)
    # A message that another program's trigger keeps in its place would be found again and again.
    if [home] * len(ids) != [row["conversation_id"] for row in moved]:
        raise RefusedError({"table": "messages", "column": "conversation_id"})
    for each in (*sources, home):
        await db.execute(_SQL["recount"], organization_id, each)
    if ids:
        await db.execute(_SQL["moved"], organization_id, [*sources, home])
