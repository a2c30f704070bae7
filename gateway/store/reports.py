"""Events of messages, and which message a report is about."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg.pgproto.pgproto import UUID as StoredUUID  # noqa: N811 - made ten times as fast

from gateway.ids import derived_bytes
from gateway.store.database import Connection
from gateway.store.sql import queries
from gateway.store.telling import note
from gateway.store.values import as_json, as_stored, columns

_SQL = queries("reports")
_RECORD = _SQL["record"]
# The same without the messages that another transaction holds.
_RECORD_FREE = _RECORD.replace("FOR NO KEY UPDATE\n", "FOR NO KEY UPDATE SKIP LOCKED\n")


@dataclass(kw_only=True, slots=True)
class Event:
    """One thing that happened to a message; the same `id` is the same event, stored once.

    `status` is None for an event that changes none; `occurred_at` None means now. Not frozen,
    because a frozen one takes four times as long to make, and there are thousands a second.
    """

    organization_id: UUID
    message_id: UUID
    id: UUID
    type: str
    status: str | None
    source: str
    occurred_at: datetime | None = None
    external_id: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    detail: Mapping[str, Any] | None = None
    provider: Mapping[str, Any] | None = None
    # Only of a kept report: its account, and its changes of consent (see `gateway.consent.early`).
    account_id: UUID | None = None
    consent: Sequence[Mapping[str, Any]] = ()


def report_id(key: str) -> UUID:
    """The id of a report while its message is not known."""
    return StoredUUID(derived_bytes(f"report\x1f{key}"))


def event_id(message_id: UUID, key: str) -> UUID:
    """The id of the event that `key` names among those of its message."""
    return event_id_of(message_id, report_id(key))


def event_id_of(message_id: UUID, report: UUID) -> UUID:
    """The id of the event that a report (by its id, see `report_id`) is for a message."""
    return StoredUUID(derived_bytes(f"{message_id}\x1f{report}"))


@dataclass(slots=True)
class Advance:
    """How `record` changed one message; `fresh` are the ids of its new events.

    `is_sent`, `is_delivered` and `has_failed` are true only for the first such event.
    """

    organization_id: UUID
    message_id: UUID
    channel: str
    created_at: datetime | None
    old_status: str
    status: str
    is_sent: bool
    is_delivered: bool
    has_failed: bool
    fresh: Sequence[UUID]


async def record(db: Connection, events: Sequence[Event], *, waits: bool = True) -> list[Advance]:
    """Append events and advance their messages; leaves out messages that do not exist.

    Without `waits`, messages that another transaction has locked are left out, too.
    """
    if not events:
        return []
    statement = _RECORD if waits else _RECORD_FREE
    rows = await db.fetch(statement, as_stored([_event_row(event) for event in events]))
    note(db, {row["organization_id"] for row in rows if row["fresh"]})
    return [Advance(*row) for row in rows]


def _event_row(event: Event) -> dict[str, Any]:
    """An event as `record` takes it; its external id and error are in its detail, too."""
    detail = dict(event.detail) if event.detail else {}
    row = {
        "organization_id": event.organization_id,
        # As text: asyncpg's UUID is a subclass, for which orjson would call `default`.
        "message_id": str(event.message_id),
        "id": str(event.id),
        "type": event.type,
        "status": event.status,
        "occurred_at": event.occurred_at,
        "source": event.source,
        "detail": detail,
    }
    # Only given values: most reports have no error, and PostgreSQL parses every key.
    if event.external_id is not None:
        row["external_id"] = detail["external_id"] = event.external_id
    if event.error_code is not None:
        row["error_code"] = detail["error_code"] = event.error_code
    if event.error_message is not None:
        row["error_message"] = detail["error_message"] = event.error_message
    if event.provider is not None:
        row["provider"] = event.provider
    return row


async def resolve(
    db: Connection,
    carried: Mapping[str, Sequence[str]],
    keys: Sequence[tuple[UUID, str, UUID | None, str | None]],
    *,
    for_good: Collection[str] = (),
) -> dict[int, UUID]:
    """For each (organization, source, message id, external id), by position, the id of its message.

    Only messages on channels that are `carried` by the source (`registry.CARRIED`). For sources in
    `for_good`, the results hold until the transaction ends: other transactions that would give one
    of these external ids to another message wait.
    """
    wanted = [
        {
            "n": n,
            "organization_id": organization_id,
            "source": source,
            "message_id": message_id,
            "external_id": external_id,
        }
        for n, (organization_id, source, message_id, external_id) in enumerate(keys)
    ]
    rows = await db.fetch(_SQL["resolve"], as_json(wanted), as_json(carried))
    open_ones = [
        wanted[row["n"]] for row in rows if row["may_be_taken"] and keys[row["n"]][1] in for_good
    ]
    if open_ones:
        await take_turns(db, {each["external_id"] for each in open_ones})
        rows += await db.fetch(_SQL["resolve"], as_json(open_ones), as_json(carried))
    return {row["n"]: row["message_id"] for row in rows}


async def take_turns(db: Connection, external_ids: Iterable[str]) -> None:
    """Lock these ids of a provider until the transaction ends, so that no other transaction gives
    one of them to a message meanwhile."""
    await db.execute(_SQL["lock_external_ids"], sorted(external_ids))


async def is_anothers(
    db: Connection, organization_id: UUID, message_id: UUID, external_id: str
) -> bool:
    """Whether a message other than this one has the provider's id."""
    found: bool = await db.fetchval(_SQL["is_anothers"], organization_id, message_id, external_id)
    return found


async def resolve_any(
    db: Connection, organization_id: UUID, external_ids: Sequence[str], at: datetime | None = None
) -> dict[str, UUID]:
    """One message, inbound or outbound, for each external id: the newest, or that of time `at`."""
    rows = await db.fetch(_SQL["resolve_any"], list(external_ids), organization_id, at)
    return {row["external_id"]: row["id"] for row in rows}


async def all_of(
    db: Connection, organization_id: UUID, external_ids: Sequence[str]
) -> dict[str, list[UUID]]:
    """All messages, inbound or outbound, with these external ids."""
    found: dict[str, list[UUID]] = {}
    for row in await db.fetch(_SQL["all_of"], list(external_ids), organization_id):
        found.setdefault(row["external_id"], []).append(row["id"])
    return found


async def known(
    db: Connection, organization_id: UUID, message_ids: Sequence[UUID], ids: Sequence[UUID]
) -> set[UUID]:
    """Those of these events of messages that are stored."""
    rows = await db.fetch(_SQL["known"], organization_id, list(message_ids), list(ids))
    return {row["id"] for row in rows}


async def told_before(
    db: Connection, organization_id: UUID, errors: Mapping[int, Event]
) -> set[int]:
    """The numbers of those errors that are stored, perhaps in other words.

    An error without `occurred_at` matches any time.
    """
    rows = [
        {
            "n": n,
            "message_id": str(event.message_id),
            "type": event.type,
            "status": event.status,
            "source": event.source,
            "error_code": event.error_code,
            "occurred_at": event.occurred_at,
        }
        for n, event in errors.items()
    ]
    found = await db.fetch(_SQL["told_before"], as_stored(rows), organization_id)
    return {row["n"] for row in found}


async def addressees(
    db: Connection, organization_id: UUID, message_ids: Sequence[UUID]
) -> dict[UUID, str]:
    """The recipients' addresses of messages of ours."""
    rows = await db.fetch(_SQL["addressees"], list(message_ids), organization_id)
    return {row["id"]: row["to_address"] for row in rows}


async def external_ids(db: Connection, messages: Sequence[tuple[UUID, UUID]]) -> dict[UUID, str]:
    """The provider's ids of messages (organization, message), if they are known."""
    rows = await db.fetch(_SQL["external_ids"], *columns(messages))
    return dict(map(tuple, rows))
