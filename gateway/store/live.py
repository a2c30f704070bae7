"""The stream of an organization's events since a position."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate
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
    """One event: of a `message` or a `conversation`, with the present `row` of that.

    `about` is the id in the event, not that of the row if a conversation was merged since. `status`
    is None if it changed none; `position` is the place after the event.
    """

    kind: str
    about: UUID
    type: str
    status: str | None
    at: datetime
    row: dict[str, Any]
    position: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Events of the stream in their order, the position after them, and whether there are more."""

    events: list[Happened]
    position: Position
    is_more: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Passed:
    """The same without the rows, with the position before the events and the snapshot `now`."""

    events: list[dict[str, Any]]
    since: Position
    now: Snapshot
    position: Position
    is_more: bool

    def behind(self, event: Mapping[str, Any]) -> Position:
        """The position after one of the events."""
        return self.since.behind(int(event["position"]), event["id"], self.now)

    def first(self, count: int) -> Passed:
        """The first `count` of the events, and the position after these."""
        if count == len(self.events):
            return self
        events = self.events[:count]
        return replace(self, events=events, position=self.behind(events[-1]), is_more=True)


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
    most_bytes: int,
    until: Snapshot | None = None,
    is_brief: bool = False,
) -> Stretch:
    """At most `limit` events since a place, and visible in the snapshot `until`, if it is given.

    Together their texts have at most `most_bytes`, unless it is a single event. `is_brief`: rows
    have only their `id`, those of messages also their `conversation_id`.
    """
    passed = await pass_by(db, organization_id, place, limit, until=until)
    if not is_brief and len(passed.events) > 1:
        passed = passed.first(await _fitting(db, organization_id, passed.events, most_bytes))
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
    return Stretch(events=events, position=passed.position, is_more=passed.is_more)


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
    events = [dict(row) for row in rows if row["kind"] is not None]
    passed = Passed(
        events=events,
        since=place,
        now=now,
        position=Position(rows[0]["at"], now),
        is_more=len(events) == limit,
    )
    return replace(passed, position=passed.behind(events[-1])) if passed.is_more else passed


async def rows_about(
    db: Connection,
    organization_id: UUID,
    events: Collection[Mapping[str, Any]],
    *,
    most_bytes: int | None = None,
) -> dict[tuple[str, UUID], dict[str, Any]]:
    """The messages and conversations of events, by `kind` and `about`, as they are now.

    Without those that have been deleted since (with their lead or organization), and without
    messages whose texts have more than `most_bytes`.
    """
    found: dict[tuple[str, UUID], dict[str, Any]] = {}
    ids = list({row["about"] for row in events if row["kind"] == "message"})
    if ids:
        for row in await db.fetch(_SQL["messages"], organization_id, ids, most_bytes):
            found["message", row["id"]] = dict(row)
    for changed in {row["about"] for row in events if row["kind"] == "conversation"}:
        conversation = await conversations.get(db, organization_id, changed)
        if conversation is not None:
            found["conversation", changed] = conversation
    return found


async def _fitting(
    db: Connection, organization_id: UUID, events: Sequence[Mapping[str, Any]], most_bytes: int
) -> int:
    """How many events, from the first on, have together at most so many bytes of text; at least
    one."""
    rows = await db.fetch(_SQL["sizes"], organization_id, *_by_kind(events))
    sizes: dict[tuple[str, UUID], int] = {(row["kind"], row["about"]): row["bytes"] for row in rows}
    sums = accumulate(sizes.get((row["kind"], row["about"]), 0) for row in events)
    return max(1, sum(each <= most_bytes for each in sums))


async def _names(
    db: Connection, organization_id: UUID, events: Collection[Mapping[str, Any]]
) -> dict[tuple[str, UUID], dict[str, Any]]:
    """The messages and conversations of events, with only the ids that identify them."""
    rows = await db.fetch(_SQL["names"], organization_id, *_by_kind(events)) if events else []
    return {(row["kind"], row["about"]): dict(row) for row in rows}


def _by_kind(events: Collection[Mapping[str, Any]]) -> tuple[list[UUID], list[UUID]]:
    messages = {row["about"] for row in events if row["kind"] == "message"}
    changed = {row["about"] for row in events if row["kind"] == "conversation"}
    return list(messages), list(changed)
