"""Planning: the events since a subscription's position become its deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from channels.model import Status
from gateway.ids import derived_id
from gateway.live.events import event_name
from gateway.observability.logs import logger
from gateway.store import deliveries, live
from gateway.store.database import Database
from gateway.store.deliveries import Holder, Planned

_log = logger(__name__)

# How many events of a subscription are planned in one transaction.
_AT_ONCE = 500
# Statuses that a message reaches once; it may wait, be sent and become unknown several times.
_ONCE = frozenset(Status) - {Status.PENDING, Status.SENDING, Status.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Done:
    """Whether anything was planned, and whether there are more events than were read."""

    is_due: bool = False
    is_more: bool = False


async def plan(database: Database, behind: Sequence[Holder]) -> Done:
    """Plan the next deliveries of each of these subscriptions.

    The deliveries and the position after them are stored in one transaction, while no other worker
    plans for this subscription: none is missed, and none is planned twice.
    """
    done = [await _plan(database, *holder) for holder in behind]
    return Done(any(each.is_due for each in done), any(each.is_more for each in done))


async def _plan(database: Database, organization_id: UUID, subscription_id: UUID) -> Done:
    async with database.as_service() as db:
        place = await deliveries.take_place(db, organization_id, subscription_id)
        if place is None:
            return Done()
        if place.is_foreign:
            # Its position has transaction ids of another cluster.
            here = await live.here(db)
            await deliveries.plan(db, organization_id, subscription_id, [], here)
            _log.error(
                "a subscription begins anew: the database was restored into another cluster",
                subscription_id=str(subscription_id),
                organization_id=str(organization_id),
                since=place.position.at.isoformat(),
            )
            return Done()
        passed = await live.pass_by(db, organization_id, place.position, _AT_ONCE)
        planned = (_planned(subscription_id, event) for event in passed.events)
        wanted = [each for each in planned if not place.events or each.type in place.events]
        await deliveries.plan(db, organization_id, subscription_id, wanted, passed.position)
    return Done(bool(wanted), passed.is_more)


def _planned(subscription_id: UUID, event: Mapping[str, Any]) -> Planned:
    is_told_once = event["status"] in _ONCE
    # Concurrent transactions do not see each other's events. Changes of a conversation have no ids
    # of their own: their transactions tell them apart.
    parts = (event["status"],) if is_told_once else (event["id"], event["position"])
    return Planned(
        id=derived_id(subscription_id, event["about"], *parts),
        type=event_name(event["kind"], event["type"], event["status"]),
        about=event["about"],
        occurred_at=event["occurred_at"],
        event=event["id"],
        position=event["position"],
        status=event["status"] if is_told_once else None,
    )
