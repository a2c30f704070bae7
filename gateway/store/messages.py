"""Messages: accepted, received, read, canceled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from gateway.store.database import Connection
from gateway.store.paging import Cursor, Page, after, cut_page, page
from gateway.store.searching import corresponding, searching
from gateway.store.sql import fetch_row, queries
from gateway.store.telling import note
from gateway.store.values import Row, as_json, as_json_pieces, as_stored, columns, storable

_SQL = queries("messages")


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageFilter:
    """What `GET /v1/messages` may ask for; None means anything."""

    channel: str | None = None
    direction: str | None = None
    status: str | None = None
    address: str | None = None
    lead_id: UUID | None = None
    client_id: UUID | None = None
    conversation_id: UUID | None = None
    external_id: str | None = None
    reference: str | None = None
    q: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """A stored inbound message, whether it came at a certain time, and whether it went to a sender
    of another account."""

    id: UUID
    external_id: str
    to_address: str
    came_then: bool
    is_others: bool


@dataclass(frozen=True, slots=True)
class Remembered:
    """The first answer under an idempotency key, with the digest of its request."""

    request_hash: bytes
    answer: bytes


async def hold_leads(
    db: Connection, organization_id: UUID, leads: Sequence[UUID], *, waits: bool = True
) -> list[UUID]:
    """Lock the leads of messages, before anything else in a transaction; returns the locked ones.

    Without `waits`, leads that another transaction has locked are left out.
    """
    if not leads:
        return []
    statement = _SQL["hold_leads"] if waits else _SQL["hold_free_leads"]
    held = await db.fetch(statement, organization_id, list(leads))
    return [row["id"] for row in held]


async def touch_leads(
    db: Connection, organization_id: UUID, leads: Sequence[UUID], at: datetime
) -> list[UUID]:
    """Record when a message to leads was stored; returns those that were not locked by others."""
    rows = await db.fetch(_SQL["touch_leads"], organization_id, list(leads), at)
    return [row["id"] for row in rows]


async def accept(
    db: Connection, organization_id: UUID, messages: Sequence[Row], leads: Sequence[UUID]
) -> list[Row]:
    """Store messages with their queue entries and first events; returns the rows as `get` does.

    `leads` are locked; their `last_contacted_at` is set to now.
    """
    contacted = list(leads)
    for piece in as_json_pieces(messages):
        at = await db.fetchval(_SQL["accept"], piece, organization_id, contacted)
        contacted = []  # the first piece has set it
    note(db, [organization_id])
    return [_pending(message, organization_id, at) for message in messages]


def _pending(message: Row, organization_id: UUID, at: datetime) -> Row:
    """The row of a message that has just been stored, without reading it: all of it is known."""
    return {
        "id": message["id"],
        "organization_id": organization_id,
        "channel": message["channel"],
        "direction": "outbound",
        "from_address": message["from_address"],
        "to_address": message["to_address"],
        "lead_id": message["lead_id"],
        "client_id": message["client_id"],
        "conversation_id": message["conversation_id"],
        "subject": message["subject"],
        "body": message["body"],
        "html_body": message["html_body"],
        "attachments": message["attachments"],
        "status": "pending",
        "sent_at": None,
        "delivered_at": None,
        "read_at": None,
        "failed_at": None,
        "error_code": None,
        "error_message": None,
        "external_id": None,
        "template_id": message["template_id"],
        "reference": message["reference"],
        "send_at": _utc(message["send_at"]),
        "expires_at": _utc(message["expires_at"]),
        "retry_of": message["retry_of"],
        "metadata": message["metadata"],
        "created_at": at,
        "updated_at": at,
    }


def _utc(at: datetime | None) -> datetime | None:
    return at.astimezone(UTC) if at else None


async def receive(db: Connection, organization_id: UUID, messages: Sequence[Row]) -> set[UUID]:
    """Store inbound messages; returns the ids of those that were new."""
    rows = await db.fetch(_SQL["receive"], as_stored(list(messages)), organization_id)
    note(db, [organization_id])
    return {row["id"] for row in rows}


async def known(
    db: Connection,
    organization_id: UUID,
    ids: Sequence[UUID],
    mail_ids: Sequence[str],
    at: datetime,
    account_id: UUID,
) -> list[Known]:
    """The inbound messages with these ids, and the mails with these Message-IDs."""
    rows = await db.fetch(
        _SQL["known"], organization_id, list(ids), storable(list(mail_ids)), at, account_id
    )
    return [Known(*row) for row in rows]


async def add_to(
    db: Connection,
    organization_id: UUID,
    message_id: UUID,
    attachments: Sequence[Row],
    text: str | None,
) -> int:
    """Add files to a stored message, and a text if it has none; returns how many files it has."""
    files: int = await db.fetchval(
        _SQL["add_to"],
        organization_id,
        message_id,
        as_json(storable(list(attachments))),
        storable(text),
    )
    return files


async def parts(db: Connection, organization_id: UUID, message_id: UUID) -> Row | None:
    """The `parts` of a message (see `gateway.parts`)."""
    found: Row | None = await db.fetchval(_SQL["parts"], organization_id, message_id)
    return found


async def get(db: Connection, organization_id: UUID, message_id: UUID) -> Row | None:
    """One message, or None where the caller can see none."""
    return await fetch_row(db, _SQL["get"], organization_id, message_id)


async def sent_again(db: Connection, organization_id: UUID, ids: Sequence[UUID]) -> UUID | None:
    """A message that was sent in place of one of these and has not failed, if there is one.

    Until this transaction ends, no other one sends any of them again.
    """
    await db.execute(_SQL["hold_retries"], list(ids))
    found: UUID | None = await db.fetchval(_SQL["in_place_of"], organization_id, list(ids))
    return found


async def search(
    db: Connection,
    organization_id: UUID,
    wanted: MessageFilter,
    cursor: Cursor | None,
    limit: int,
    *,
    most_bytes: int,
) -> Page:
    """One page of messages, newest first, which ends once texts and JSON have `most_bytes`.

    Raises `SearchError` if a search for `q` takes too long.
    """
    # A generic plan cannot fold away the filters that are not given.
    await db.execute("SET LOCAL plan_cache_mode = force_custom_plan")
    conversation_id = wanted.conversation_id
    if wanted.address is not None and conversation_id is None:
        conversation_id = await corresponding(db, organization_id, wanted.address)
    values = (
        organization_id,
        wanted.channel,
        wanted.direction,
        wanted.status,
        wanted.address,
        wanted.lead_id,
        wanted.client_id,
        conversation_id,
        wanted.external_id,
        wanted.reference,
        wanted.since,
        wanted.until,
        *after(cursor),
        limit + 1,
        most_bytes,
    )
    if wanted.q is None:
        rows = await db.fetch(_SQL["list"], *values)
    else:
        async with searching(db):
            rows = await db.fetch(_SQL["search"], *values, wanted.q)
    return cut_page(rows, limit)


async def events(
    db: Connection, organization_id: UUID, message_id: UUID, cursor: Cursor | None, limit: int
) -> Page:
    """One page of what happened to a message, newest first."""
    rows = await db.fetch(
        _SQL["events"],
        organization_id,
        message_id,
        *after(cursor),
        limit + 1,
    )
    return page(rows, limit, by="recorded_at")


async def take_back(db: Connection, organization_id: UUID, message_id: UUID) -> bool:
    """Remove a message from the queue; False if a worker has claimed it (or it was sent)."""
    taken = await db.fetchval(_SQL["take_back"], organization_id, message_id)
    return taken is not None


async def recall(
    db: Connection, keys: Sequence[tuple[UUID, str]]
) -> dict[tuple[UUID, str], Remembered]:
    """The answers that were given under idempotency keys (organization, key)."""
    if not keys:
        return {}
    rows = await db.fetch(_SQL["recall"], *columns(keys))
    return {
        (row["organization_id"], row["key"]): Remembered(row["request_hash"], row["answer"])
        for row in rows
    }


async def keep_answers(
    db: Connection, answers: Sequence[tuple[UUID, str, bytes, bytes]]
) -> set[tuple[UUID, str]]:
    """Keep answers under new keys (organization, key, digest, answer); returns the keys that were.

    Waits for concurrent requests with the same keys.
    """
    return await _answers(db, _SQL["keep_answers"], answers)


async def change_answers(
    db: Connection, answers: Sequence[tuple[UUID, str, bytes, bytes]]
) -> set[tuple[UUID, str]]:
    """Change answers (organization, key, before, answer) that are still `before`; returns their
    keys. Waits for concurrent requests with the same keys."""
    return await _answers(db, _SQL["change_answers"], answers)


async def _answers(
    db: Connection, statement: str, answers: Sequence[tuple[UUID, str, bytes, bytes]]
) -> set[tuple[UUID, str]]:
    if not answers:
        return set()
    rows = await db.fetch(statement, *columns(answers))
    return {(row["organization_id"], row["key"]) for row in rows}
