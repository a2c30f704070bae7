"""How many connections of a pool one organization may have: half, and more if many are free."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass
from uuid import UUID

from gateway.store.errors import BusyError


@dataclass(slots=True, eq=False)
class Place:
    """A permission to have a connection; `has_connection` once the pool has given one.

    `organization_id` is None if it counts towards no share.
    """

    organization_id: UUID | None
    has_connection: bool = False


class Shares:
    """Places for the transactions on `size` connections.

    An organization may always have half of them, and more while that leaves a quarter free, so that
    others find one at once. Transactions that count towards no share never wait here.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._share, self._kept = max(1, size // 2), max(1, size // 4)
        self._used = 0
        self._places: defaultdict[UUID, set[Place]] = defaultdict(set)
        self._waiting: defaultdict[UUID, deque[asyncio.Future[Place]]] = defaultdict(deque)

    async def take(self, organization_id: UUID | None, until: float) -> Place:
        """Wait for a place, until a time of the event loop.

        Then raises `BusyError` if transactions of that organization have connections, and
        `TimeoutError` if they all wait for the pool: then the database is slow, not the
        organization.
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
                self.give(turn.result())  # it came at the very moment of the timeout
            if isinstance(error, TimeoutError) and self._has_connections(organization_id):
                text = "other requests of the same organization take too long"
                raise BusyError(text) from None
            raise

    def give(self, place: Place) -> None:
        """Give a place back, and grant places that are possible now, in order for each
        organization."""
        self._used -= 1
        if place.organization_id is not None:
            self._places[place.organization_id].remove(place)
            if not self._places[place.organization_id]:
                del self._places[place.organization_id]
        for organization_id, line in list(self._waiting.items()):
            while line and (line[0].done() or self._may_have_more(organization_id)):
                turn = line.popleft()
                if not turn.done():  # not cancelled
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
