"""Subscriptions and their deliveries: events that are told to other services by webhook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.store.database import Connection
from gateway.store.paging import Cursor, Page, page
from gateway.store.positions import Position, Snapshot
from gateway.store.sql import queries
from gateway.store.values import as_json

_SQL = queries("subscriptions")

Row = dict[str, Any]
# An organization and one of its subscriptions.
Holder = tuple[UUID, UUID]


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """An active subscription with something to do."""

    organization_id: UUID
    id: UUID
    is_due: bool
    is_behind: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a subscription stands, and the events it is told (none: all).

    `is_foreign`: the position is another cluster's, from which this database was restored.
    """

    events: Sequence[str]
    position: Position
    is_foreign: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """An event that a subscription is to be told; the same has the same id."""

    id: UUID
    type: str
    about: UUID
    occurred_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A due delivery that this worker holds for a while; `attempts` counts this one, too.

    `is_rotating`: the secret before it signs, too.
    """

    organization_id: UUID
    subscription_id: UUID
    id: UUID
    number: int
    type: str
    about: UUID
    occurred_at: datetime
    attempts: int
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


async def insert(
    db: Connection,
    subscription_id: UUID,
    organization_id: UUID,
    *,
    url: str,
    description: str | None,
    events: Sequence[str],
    credentials: bytes,
    most: int,
) -> bool:
    """Store a subscription, told from now on; False where the organization has `most`."""
    made = await db.fetchval(
        _SQL["insert"],
        subscription_id,
        organization_id,
        url,
        description,
        list(events),
        credentials,
        most,
    )
    return made is not None


async def search(db: Connection, organization_id: UUID, cursor: Cursor | None, limit: int) -> Page:
    """One page of subscriptions, without their secrets."""
    after = (cursor.at, cursor.id) if cursor else (None, None)
    return page(await db.fetch(_SQL["list"], organization_id, *after, limit + 1), limit)


async def get(db: Connection, organization_id: UUID, subscription_id: UUID) -> Row | None:
    """One subscription, without its secret."""
    row = await db.fetchrow(_SQL["get"], organization_id, subscription_id)
    return dict(row) if row else None


async def update(
    db: Connection,
    organization_id: UUID,
    subscription_id: UUID,
    *,
    url: str | None,
    description: str | None,
    set_description: bool,
    events: Sequence[str] | None,
    is_active: bool | None,
) -> bool:
    """Change what is given; False where there is no such subscription."""
    changed = await db.fetchval(
        _SQL["update"],
        organization_id,
        subscription_id,
        url,
        set_description,
        description,
        None if events is None else list(events),
        is_active,
    )
    return changed is not None


async def replace_credentials(
    db: Connection,
    organization_id: UUID,
    subscription_id: UUID,
    credentials: bytes,
    *,
    former_for: float | None,
    updated_at: datetime,
) -> bool:
    """Replace the secrets, unless the subscription has been changed since `updated_at`.

    `former_for`: seconds for which the secret before it signs, too; None: as long as before.
    """
    changed = await db.fetchval(
        _SQL["replace_credentials"],
        organization_id,
        subscription_id,
        credentials,
        former_for,
        updated_at,
    )
    return changed is not None


async def delete(db: Connection, organization_id: UUID, subscription_id: UUID) -> bool:
    """Delete a subscription and what waits for it; False where there is none."""
    return await db.fetchval(_SQL["delete"], organization_id, subscription_id) is not None


async def credentials(db: Connection, organization_id: UUID, subscription_id: UUID) -> bytes | None:
    """Its secrets as they are stored."""
    found: bytes | None = await db.fetchval(_SQL["credentials"], organization_id, subscription_id)
    return found


async def look(db: Connection, most: int) -> list[Waiting]:
    """Active subscriptions with something to do; `most` deliveries may wait for each."""
    return [Waiting(**row) for row in await db.fetch(_SQL["look"], most)]


async def take_place(db: Connection, organization_id: UUID, subscription_id: UUID) -> Place | None:
    """Hold a subscription's place until the transaction ends; None while another worker has it."""
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
    """Store what a subscription is to be told, and the position behind it."""
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
) -> list[Delivery]:
    """Take up to `limit` due deliveries for `seconds`; whoever ends before leaves them to others.

    `held`: whose deliveries the caller has under way, one entry for each. A subscription and an
    organization have so many at most, and all whose receivers have failed `failing_from` times in
    a row one each, and so many together.
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
    )
    return [Delivery(**row) for row in rows]


async def delivered(db: Connection, deliveries: Sequence[Delivery]) -> None:
    """These were taken by their receivers."""
    await db.execute(_SQL["delivered"], *_keys(deliveries))


async def note_failure(
    db: Connection,
    delivery: Delivery,
    error: str,
    *,
    pause: float | None,
    failing_from: int,
    least_pause: float,
) -> tuple[int, float]:
    """Note that an attempt failed: how many in a row, and since how many seconds.

    `pause`: seconds for which nothing is sent there, from `failing_from` failures on `least_pause`
    at least.
    """
    row = await db.fetchrow(
        _SQL["note_failure"], *delivery.holder, error, pause, failing_from, least_pause
    )
    return (row["failures"], row["seconds"]) if row else (0, 0.0)


async def postpone(
    db: Connection, delivery: Delivery, seconds: float, status: int | None, error: str
) -> None:
    """Have a delivery tried again in some seconds, unless another worker holds it by now."""
    await db.execute(
        _SQL["postpone"],
        *delivery.holder,
        delivery.id,
        delivery.attempts,
        seconds,
        status,
        error,
    )


async def give_back(db: Connection, deliveries: Sequence[Delivery]) -> None:
    """Leave deliveries to others, as if nobody had taken them."""
    await db.execute(
        _SQL["give_back"], *_keys(deliveries), [delivery.attempts for delivery in deliveries]
    )


async def forget(db: Connection, delivery: Delivery) -> None:
    """Remove a delivery that nobody will be told."""
    await db.execute(_SQL["forget"], *delivery.holder, delivery.id)


async def disable(db: Connection, delivery: Delivery, reason: str) -> bool:
    """Turn a delivery's subscription off; False where it is off already."""
    return await db.fetchval(_SQL["disable"], *delivery.holder, reason) is not None


def _keys(deliveries: Sequence[Delivery]) -> tuple[list[UUID], list[UUID], list[UUID]]:
    return (
        [each.organization_id for each in deliveries],
        [each.subscription_id for each in deliveries],
        [each.id for each in deliveries],
    )
