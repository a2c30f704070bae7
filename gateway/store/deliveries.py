"""Deliveries of events to subscriptions, which workers plan and send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from gateway.store.database import Connection
from gateway.store.positions import Position, Snapshot
from gateway.store.sql import queries
from gateway.store.values import as_json

_SQL = queries("deliveries")

# An organization and one of its subscriptions.
Holder = tuple[UUID, UUID]


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """A subscription with something to do."""

    organization_id: UUID
    id: UUID
    is_due: bool
    is_behind: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A subscription's position, and the types of events that it wants (none: all).

    `is_foreign`: the position is of another cluster, from which this database was restored.
    """

    events: Sequence[str]
    position: Position
    is_foreign: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """An event that is to be delivered; the same event has the same id.

    A `status` is that of a message which is told once, although several events may report it. This
    `event` was stored by the transaction `position`.
    """

    id: UUID
    type: str
    about: UUID
    occurred_at: datetime
    event: UUID
    position: str
    status: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A due delivery that this worker has leased; `attempts` counts this one, too.

    `failures`: how many attempts ended without success. `is_rotating`: the former secret signs,
    too.
    """

    organization_id: UUID
    subscription_id: UUID
    id: UUID
    number: int
    type: str
    about: UUID
    occurred_at: datetime
    attempts: int
    failures: int
    url: str = field(repr=False)
    credentials: bytes = field(repr=False)
    is_rotating: bool

    @property
    def kind(self) -> str:
        """What it is about: `message` or `conversation`."""
        return self.type.partition(".")[0]

    @property
    def holder(self) -> Holder:
        """Whose it is."""
        return self.organization_id, self.subscription_id


async def look(db: Connection, most: int) -> list[Waiting]:
    """Subscriptions with something to do; `most` deliveries may wait for each."""
    return [Waiting(**row) for row in await db.fetch(_SQL["look"], most)]


async def take_place(db: Connection, organization_id: UUID, subscription_id: UUID) -> Place | None:
    """Lock a subscription's place until the transaction ends; None while another worker has it."""
    row = await db.fetchrow(_SQL["take_place"], organization_id, subscription_id)
    if row is None:
        return None
    within = (each.split("/") for each in row["within"])
    position = Position(
        row["reached_at"],
        Snapshot.read(row["snapshot"]),
        tuple((int(transaction), UUID(event)) for transaction, event in within),
    )
    return Place(events=row["events"], position=position, is_foreign=row["is_foreign"])


async def plan(
    db: Connection,
    organization_id: UUID,
    subscription_id: UUID,
    planned: Sequence[Planned],
    reached: Position,
) -> None:
    """Store planned deliveries of a subscription, and its position after them."""
    await db.execute(
        _SQL["plan"],
        organization_id,
        subscription_id,
        as_json(list(planned)),
        str(reached.snapshot),
        reached.at,
        [f"{transaction}/{event}" for transaction, event in reached.within],
    )


async def claim(
    db: Connection,
    limit: int,
    seconds: float,
    held: Sequence[Holder],
    *,
    of_subscription: int,
    of_organization: int,
    of_failing: int,
    failing_from: int,
    slow: Sequence[UUID],
    of_slow: int,
) -> list[Delivery]:
    """Lease up to `limit` due deliveries for `seconds`.

    `held`: the holders of the deliveries that the caller has under way, one entry for each.
    Together with those, a subscription gets at most `of_subscription` and an organization
    `of_organization`. Subscriptions whose receivers have failed `failing_from` times in a row get
    one each, and `of_failing` together; the organizations `slow` get `of_slow` together.
    """
    rows = await db.fetch(
        _SQL["claim"],
        limit,
        seconds,
        of_subscription,
        failing_from,
        of_organization,
        of_failing,
        [organization_id for organization_id, _ in held],
        [subscription_id for _, subscription_id in held],
        slow,
        of_slow,
    )
    return [Delivery(**row) for row in rows]


async def delivered(db: Connection, deliveries: Sequence[Delivery]) -> None:
    """These were taken by their receivers."""
    await db.execute(
        _SQL["delivered"],
        [each.organization_id for each in deliveries],
        [each.subscription_id for each in deliveries],
        [each.id for each in deliveries],
    )


async def note_failure(
    db: Connection,
    delivery: Delivery,
    error: str,
    *,
    pause: float | None,
    failing_from: int,
    least_pause: float,
) -> tuple[int, float] | None:
    """Count a failed attempt; returns how many failed in a row, and for how many seconds.

    None if the subscription has another URL by now, or is gone: then it does not count. `pause`:
    seconds for which nothing is sent there; from `failing_from` failures on at least `least_pause`.
    """
    row = await db.fetchrow(
        _SQL["note_failure"],
        *delivery.holder,
        error,
        pause,
        failing_from,
        least_pause,
        delivery.url,
    )
    return (row["failures"], row["seconds"]) if row else None


async def postpone(
    db: Connection, delivery: Delivery, seconds: float, status: int | None, error: str
) -> None:
    """Try a delivery again in some seconds, unless another worker has leased it by now."""
    await db.execute(
        _SQL["postpone"],
        delivery.organization_id,
        delivery.id,
        delivery.attempts,
        seconds,
        status,
        error,
    )


async def give_back(db: Connection, delivery: Delivery, seconds: float) -> None:
    """Return a delivery to the queue, due in some seconds, as if it had not been leased."""
    await db.execute(
        _SQL["give_back"], delivery.organization_id, delivery.id, delivery.attempts, seconds
    )


async def forget(db: Connection, delivery: Delivery) -> None:
    """Remove a delivery that will not be sent."""
    await db.execute(_SQL["forget"], delivery.organization_id, delivery.id, delivery.attempts)


async def disable(db: Connection, delivery: Delivery, reason: str) -> bool:
    """Turn a delivery's subscription off; False where it is off already."""
    found = await db.fetchval(_SQL["disable"], *delivery.holder, reason, delivery.url)
    return found is not None
