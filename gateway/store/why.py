"""All that is known of one message, and which messages a reference means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from gateway.store import media, messages
from gateway.store.database import Connection
from gateway.store.sql import fetch_rows, queries
from gateway.store.values import Row, storable
from gateway.why import File, Other, Queued, Reference, Story, reference

_SQL = queries("why")

MOST_EVENTS = 200


async def story(db: Connection, organization_id: UUID, message_id: UUID) -> Story | None:
    """All that is known of one message, or None where the caller can see none."""
    # The queue before the row: a message that is no longer queued has its new status by then. In
    # the other order, a message that is just being sent would seem lost.
    around = await db.fetchrow(_SQL["around"], organization_id, message_id)
    row = await messages.get(db, organization_id, message_id)
    if around is None or row is None:
        return None
    events = await messages.events(db, organization_id, message_id, None, MOST_EVENTS)
    files = await media.by_message(db, organization_id, message_id)
    retries = await db.fetch(_SQL["retries"], organization_id, message_id)
    # Another program may have stored it without a time.
    stored_at = row["created_at"] or row["updated_at"] or around["now"]
    return Story(
        message={**row, "created_at": stored_at},
        now=around["now"],
        events=tuple(reversed(events.rows)),
        is_cut=events.next_cursor is not None,
        provider=around["provider"],
        contact=around["contact"],
        contact_kind=around["contact_kind"],
        queued=_queued(around),
        suppressions=tuple(around["suppressions"]),
        can_leave=around["can_leave"],
        files=tuple(File(filename=f.filename, state=f.state, reason=f.reason) for f in files),
        retries=tuple(Other(**retry) for retry in retries),
        next=Other(id=around["next_id"], created_at=around["next_at"])
        if around["next_id"]
        else None,
        is_answer=bool(around["is_answer"]),
    )


def _queued(around: Any) -> Queued | None:  # noqa: ANN401 - a row of asyncpg
    if around["phase"] is None:
        return None
    return Queued(
        phase=around["phase"],
        run_at=around["run_at"],
        attempts=around["attempts"],
        refusals=around["refusals"],
        is_held=around["is_held"],
        was_held=around["was_held"],
        is_paced=around["rate"] is not None,
    )


async def find(db: Connection, organization_id: UUID | None, text: str) -> list[Row]:
    """The messages with an id, a provider's id or an address, latest first, at most 20.

    `organization_id` None searches all organizations that the caller can see.
    """
    meant = await _meant(db, organization_id, text)
    wanted: Sequence[tuple[str, Sequence[Any]]] = (
        (_SQL["by_id"], meant.ids),
        (_SQL["by_external_id"], meant.external_ids),
        (_SQL["by_address"], meant.addresses),
    )
    # A generic plan cannot fold away an organization that is not given.
    await db.execute("SET LOCAL plan_cache_mode = force_custom_plan")
    for sql, values in wanted:
        found = await db.fetch(sql, organization_id, list(values)) if values else []
        if found:
            return [dict(row) for row in found]
    return []


async def external_id(db: Connection, organization_id: UUID, text: str) -> str:
    """The provider's id in a text, as a message has it; the text itself if none has it."""
    forms = reference(storable(text)).external_ids
    found: str | None = await db.fetchval(_SQL["external_id"], organization_id, list(forms))
    return found or text


async def suppressed(db: Connection, organization_id: UUID | None, text: str) -> list[Row]:
    """Why nothing is sent to an address, the latest reasons first.

    `organization_id, channel, reason, source, created_at`, at most 20.
    """
    meant = await _meant(db, organization_id, text)
    await db.execute("SET LOCAL plan_cache_mode = force_custom_plan")
    return await fetch_rows(db, _SQL["suppressed"], organization_id, list(meant.addresses))


async def own(db: Connection, organization_id: UUID | None, text: str) -> list[Row]:
    """Organizations that have an address as a sender: `organization_id, channels`, at most 20."""
    meant = await _meant(db, organization_id, text)
    return await fetch_rows(db, _SQL["own"], organization_id, list(meant.addresses))


async def _meant(db: Connection, organization_id: UUID | None, text: str) -> Reference:
    rows = await db.fetch(_SQL["countries"], organization_id)
    return reference(storable(text), [row["country"] for row in rows])
