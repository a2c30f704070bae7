"""How many connections of a pool one organization may have: half, and more of what is free."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass
from uuid import UUID

from gateway.store.errors import BusyError


@dataclass(slots=True, eq=False)
class Place:
    """For a transaction that may have a connection; `has_connection` once the pool gave it one.

    `organization_id` is None if it counts towards no share.
    """

    organization_id: UUID | None
    has_connection: bool = False


class Shares:
    """Places for the transactions on `size` connections.

    An organization is sure of half of them, and gets more while that leaves a quarter free, so that
    others find one at once. What counts towards no share never waits here, only for the pool.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._share, self._kept = max(1, size // 2), max(1, size // 4)
        self._used = 0
        self._places: defaultdict[UUID, set[Place]] = defaultdict(set)
        self._waiting: defaultdict[UUID, deque[asyncio.Future[Place]]] = defaultdict(deque)

    async def take(self, organization_id: UUID | None, until: float) -> Place:
        """Wait for a place until then, in the loop's time.

        Raises `BusyError` if transactions of that organization have connections, and `TimeoutError`
        if they all wait for the pool themselves: then the database is slow, not the organization.
        """
        if organization_id is None or self._may_have_more(organization_id):
            return self._new(organization_id)
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._waiting[organization_id].append(turn)
        try:
            async with asyncio.timeout_at(until):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.give(turn.result())  # it came just when nobody waited for it any more
            if isinstance(error, TimeoutError) and self._has_connections(organization_id):
                text = "other requests of the same organization take too long"
                raise BusyError(text) from None
            raise

    def give(self, place: Place) -> None:
        """Give a place back, and let in whoever may have one now; each organization's in order."""
        self._used -= 1
        if place.organization_id is not None:
            self._places[place.organization_id].remove(place)
            if not self._places[place.organization_id]:
                del self._places[place.organization_id]
        for organization_id, line in list(self._waiting.items()):
            while line and (line[0].done() or self._may_have_more(organization_id)):
                turn = line.popleft()
                if not turn.done():  # whoever waited has not gone away
                    turn.set_result(self._new(organization_id))
            if not line:
                del self._waiting[organization_id]

    def _may_have_more(self, organization_id: UUID) -> bool:
        own = len(self._places.get(organization_id, ()))
        return own < self._share or self._size - self._used > self._kept

    def _has_connections(self, organization_id: UUID) -> bool:
        return any(each.has_connection for each in self._places.get(organization_id, ()))

    def _new(self, organization_id: UUID | None) -> Place:
        place = Place(organization_id)
        self._used += 1
        if organization_id is not None:
            self._places[organization_id].add(place)
        return place
