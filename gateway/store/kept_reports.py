"""Reports whose message is not known yet: kept, and returned as events once it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from gateway.ids import derived_id
from gateway.store.database import Connection
from gateway.store.reports import Event
from gateway.store.sql import queries
from gateway.store.values import as_json, as_stored, columns

_SQL = queries("kept_reports")
# The key in the detail of a kept report for its changes of consent, which are no part of the event.
CONSENT = "consent of its recipient"
KEPT = {"account_id", "channel", "reason", "word", "key", "occurred_at", "detail"}


async def keep_unmatched(db: Connection, reports: Sequence[Mapping[str, object]]) -> None:
    """Keep reports whose message is not known yet."""
    await db.execute(_SQL["keep_unmatched"], as_stored(list(reports)))


async def take_unmatched(
    db: Connection, known: Sequence[tuple[UUID, UUID, str, UUID]]
) -> list[Event]:
    """Reports that came before the external id of their message was known, as events to record.

    `known` are (organization, account, external id, message).
    """
    if not known:
        return []
    rows = await db.fetch(_SQL["take_unmatched"], *columns(known))
    return [_kept(row) for row in rows]


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """A look at some kept reports: `at` which time, how many, and the events of those whose message
    is known now.

    `reached` is when the oldest of them was received, None if there are no older ones. `is_held`:
    some stay because another transaction has their message locked.
    """

    at: datetime
    looked: int
    reached: datetime | None
    is_held: bool
    missed: Sequence[Event]


async def take_missed(
    db: Connection,
    since: datetime | None,
    before: datetime | None,
    limit: int,
    *,
    carried: Mapping[str, Sequence[str]],
    without: Sequence[UUID] = (),
) -> Look:
    """Take the reports that were kept while the external id of their message was being stored.

    Looks at the `limit` newest that were received after `since` and before `before`, and at all of
    the same moment as the last. Leaves out organizations and messages in `without`. `carried` as in
    `reports.resolve`.
    """
    rows = await db.fetch(
        _SQL["take_missed"], since, before, limit, list(without), as_json(carried)
    )
    return Look(
        at=rows[0]["looked_at"],
        looked=rows[0]["looked"],
        reached=rows[0]["reached"],
        is_held=rows[0]["is_held"],
        missed=[
            of_inbound(_kept(row)) if row["is_of_inbound"] else _kept(row)
            for row in rows
            if row["id"] is not None
        ],
    )


async def whose_missed(
    db: Connection, since: datetime | None, before: datetime | None, limit: int
) -> set[UUID]:
    """The organizations whose reports `take_missed` looks at."""
    rows = await db.fetch(_SQL["whose_missed"], since, before, limit)
    return {row["organization_id"] for row in rows}


def of_inbound(event: Event) -> Event:
    """A kept report whose message turned out to be inbound: it was read as one about a message of
    ours, but changes neither a status nor consent."""
    return replace(event, status=None, consent=())


def _kept(row: Record) -> Event:
    detail = dict(row["detail"])
    consent = detail.pop(CONSENT, None)
    return Event(
        organization_id=row["organization_id"],
        message_id=row["message_id"],
        id=derived_id(row["message_id"], row["id"]),
        type=row["type"],
        status=row["status"],
        source=row["source"],
        occurred_at=row["occurred_at"],
        external_id=row["external_id"],
        error_code=row["error_code"],
        error_message=row["error_message"],
        detail=detail,
        provider=row["provider"],
        account_id=row["account_id"],
        # a report kept by an earlier version may have any value of the provider's there
        consent=[each for each in consent if isinstance(each, dict) and each.keys() >= KEPT]
        if isinstance(consent, list)
        else (),
    )
