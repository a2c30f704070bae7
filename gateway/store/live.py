"""What has happened since a position in the stream of an organization's events."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from gateway.store import conversations
from gateway.store.database import Connection
from gateway.store.positions import Position, Snapshot
from gateway.store.sql import queries

_SQL = queries("live")

# The longest time between the recording of an event and the end of its transaction.
_LONGEST = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Happened:
    """One event: of a `message` or a `conversation`, whose row is that of now.

    `about` is its id: not the row's where a conversation was merged meanwhile. `status` is None
    where it changed none; `position` is the place behind it.
    """

    kind: str
    about: UUID
    type: str
    status: str | None
    at: datetime
    row: dict[str, Any]
    position: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """Events in their order, the position after them, and whether there are more."""

    events: list[Happened]
    position: Position
    is_more: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Passed:
    """Events since a place in their order, the position after them, and whether there are more."""

    events: list[dict[str, Any]]
    since: Position
    now: Snapshot
    position: Position
    is_more: bool

    def behind(self, event: Mapping[str, Any]) -> Position:
        """The position behind one of the events."""
        return self.since.behind(int(event["position"]), event["id"], self.now)


async def here(db: Connection) -> Position:
    """The current position of the stream."""
    (row,) = await db.fetch(_SQL["here"])
    return Position(row["at"], Snapshot.read(row["snapshot"]))


async def since(
    db: Connection,
    organization_id: UUID,
    place: Position,
    limit: int,
    *,
    until: Snapshot | None = None,
    is_brief: bool = False,
) -> Told:
    """What happened since a place (and could be seen in a later snapshot), `limit` at most.

    `is_brief`: of the rows their `id` alone, of a message its `conversation_id`, too.
    """
    passed = await pass_by(db, organization_id, place, limit, until=until)
    about = await (_names if is_brief else rows_about)(db, organization_id, passed.events)
    events = []
    for n, row in enumerate(passed.events):
        last = n == len(passed.events) - 1 and not passed.is_more
        if (row["kind"], row["about"]) in about:
            events.append(
                Happened(
                    kind=row["kind"],
                    about=row["about"],
                    type=row["type"],
                    status=row["status"],
                    at=row["occurred_at"],
                    row=about[row["kind"], row["about"]],
                    position=passed.position if last else passed.behind(row),
                )
            )
    return Told(events=events, position=passed.position, is_more=passed.is_more)


async def pass_by(
    db: Connection,
    organization_id: UUID,
    place: Position,
    limit: int,
    *,
    until: Snapshot | None = None,
) -> Passed:
    """The same as `since`, without the rows that the events are about."""
    rows = await db.fetch(
        _SQL["since"],
        organization_id,
        str(place.snapshot),
        [str(transaction) for transaction, _ in place.within],
        [event for _, event in place.within],
        place.at - _LONGEST,
        None if until is None else str(until),
        limit,
        str(place.snapshot.xmin),
    )
    now = until or Snapshot.read(rows[0]["snapshot"])
    told = [dict(row) for row in rows if row["kind"] is not None]
    passed = Passed(
        events=told,
        since=place,
        now=now,
        position=Position(rows[0]["at"], now),
        is_more=len(told) == limit,
    )
    return replace(passed, position=passed.behind(told[-1])) if passed.is_more else passed


async def rows_about(
    db: Connection,
    organization_id: UUID,
    told: Collection[Mapping[str, Any]],
    *,
    most_bytes: int | None = None,
) -> dict[tuple[str, UUID], dict[str, Any]]:
    """The messages and conversations that events are about (`kind`, `about`), as they are now.

    What has been deleted since (with its lead, its organization) is left out, and so are messages
    whose texts have more than `most_bytes`.
    """
    found: dict[tuple[str, UUID], dict[str, Any]] = {}
    ids = list({row["about"] for row in told if row["kind"] == "message"})
    if ids:
        for row in await db.fetch(_SQL["messages"], organization_id, ids, most_bytes):
            found["message", row["id"]] = dict(row)
    for changed in {row["about"] for row in told if row["kind"] == "conversation"}:
        conversation = await conversations.get(db, organization_id, changed)
        if conversation is not None:
            found["conversation", changed] = conversation
    return found


async def _names(
    db: Connection, organization_id: UUID, told: Collection[Mapping[str, Any]]
) -> dict[tuple[str, UUID], dict[str, Any]]:
    """What they are about, with as much of it as says which one it is."""
    by_kind = {
        kind: list({row["about"] for row in told if row["kind"] == kind})
        for kind in ("message", "conversation")
    }
    rows = await db.fetch(_SQL["names"], organization_id, *by_kind.values()) if told else []
    return {(row["kind"], row["about"]): dict(row) for row in rows}
