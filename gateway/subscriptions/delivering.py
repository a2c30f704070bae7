"""Deliveries of events to subscriptions: planned, sent, and sent again until they are accepted.

At least once: a delivery is removed after its receiver has accepted it. If a worker dies in
between, the next one sends the same event again, with the same id.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from uuid import UUID
from weakref import WeakValueDictionary

from gateway.lately import Lately
from gateway.observability.logs import logger
from gateway.observability.metrics import Metrics
from gateway.outside.posting import Poster
from gateway.store import deliveries, live
from gateway.store.database import Database
from gateway.store.deliveries import Delivery, Waiting
from gateway.store.errors import DatabaseAwayError
from gateway.store.values import Row
from gateway.subscriptions.planning import plan
from gateway.subscriptions.sending import FAILING_FROM, Patience, Sending, ids
from gateway.vault import Vault

_log = logger(__name__)

# Deliveries under way at the same time.
_PLACES = 128
_OF_ORGANIZATION = 32
_OF_SUBSCRIPTION = 16
# The same to all receivers that have failed several times in a row; each of them gets one.
_OF_FAILING = 32
# Deliveries that may wait for one subscription: with more, planning pauses.
_MOST_WAITING = 5000
# One in so many places is never given to organizations whose deliveries were slow, so that others
# find some free.
_KEPT = 4
# Seconds for which an organization counts as slow.
_LATELY = 60.0
# From so many bytes of text on, an event is large: a subscription has one such in memory at a time.
# All others together have 32 MiB at most, each as a row and as a body.
_LARGE = 2**18
# Large events that one organization, and all organizations together, have in memory.
_LARGE_OF_ORGANIZATION = 2
_OF_LARGE = 16
# Seconds to wait after a delivery ends, so that those that end together are replaced together.
_GATHER = 0.01


class Deliveries:
    """Delivers events to subscriptions, concurrently."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        poster: Poster,
        metrics: Metrics,
        *,
        patience: Patience | None = None,
        most_waiting: int = _MOST_WAITING,
        places: int = _PLACES,
    ) -> None:
        self._database = database
        self._patience = patience or Patience()
        self._sending = Sending(database, vault, poster, metrics, self._patience)
        self._most_waiting = most_waiting
        self._places = places
        self._wake = asyncio.Event()
        self._look_at, self._is_due = 0.0, False
        self._planning: asyncio.Task[None] | None = None  # beside the deliveries
        # The delivery, and since when it is under way (monotonic clock).
        self._under_way: dict[asyncio.Task[None], tuple[Delivery, float]] = {}
        self._large = asyncio.Semaphore(_OF_LARGE)
        self._large_of: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        # Organizations whose deliveries were slow.
        self._slow: Lately[UUID] = Lately()

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until told to stop; deliveries under way then have some seconds to end."""
        told = asyncio.create_task(self._wake_at(stopping))
        try:
            while not stopping.is_set():
                self._wake.clear()
                await self._step()
                await self._rest()
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=self._patience.last)
        finally:
            told.cancel()
            await self._end()

    async def _wake_at(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._wake.set()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience.rest):
                await self._wake.wait()
            await asyncio.sleep(_GATHER)

    async def _step(self) -> None:
        """Look for something to do, if it is time, and begin due deliveries that have a place."""
        self._note_slow()
        try:
            if time.monotonic() >= self._look_at:
                await self._look()
            if self._is_due:
                await self._claim()
        except DatabaseAwayError as error:
            _log.warning("the database is away", error=str(error))
        except Exception:  # noqa: BLE001 - what failed once is tried again
            _log.exception("deliveries could not be claimed")

    async def _look(self) -> None:
        self._look_at = time.monotonic() + self._patience.rest
        async with self._database.as_service(planned_once=True) as db:
            found = await deliveries.look(db, self._most_waiting)
        self._is_due = any(each.is_due for each in found)
        self._plan(found)

    def _plan(self, found: Sequence[Waiting]) -> None:
        """Plan beside the deliveries, which need not wait for an organization with many events."""
        behind = [(each.organization_id, each.id) for each in found if each.is_behind]
        if behind and (self._planning is None or self._planning.done()):
            random.shuffle(behind)  # so that one that cannot be planned is not always the first
            self._planning = asyncio.create_task(self._plan_all(behind))

    async def _plan_all(self, behind: Sequence[deliveries.Holder]) -> None:
        try:
            done = await plan(self._database, behind)
        except DatabaseAwayError as error:
            _log.warning("the database is away", error=str(error))
        except Exception:  # noqa: BLE001 - what failed once is tried again
            _log.exception("deliveries could not be planned")
        else:
            self._is_due |= done.is_due
            if done.is_more:
                self._look_at = 0.0
            self._wake.set()

    async def _claim(self) -> None:
        free = self._places - len(self._under_way)
        if free == 0:
            return
        held = [delivery.holder for delivery, _ in self._under_way.values()]
        of_slow = sum(organization_id in self._slow for organization_id, _ in held)
        async with self._database.as_service(planned_once=True) as db:
            due = await deliveries.claim(
                db,
                free,
                self._patience.lease,
                held,
                of_subscription=_OF_SUBSCRIPTION,
                of_organization=_OF_ORGANIZATION,
                of_failing=_OF_FAILING,
                failing_from=FAILING_FROM,
                slow=list(self._slow),
                of_slow=max(0, self._places - self._places // _KEPT - of_slow),
            )
        try:
            while due:
                first = due[0].organization_id
                await self._begin([each for each in due if each.organization_id == first])
                due = [each for each in due if each.organization_id != first]
        finally:
            await self._sending.give_back(due)

    def _note_slow(self) -> None:
        """Note the organizations of slow deliveries.

        Each claim is fair, but slow deliveries stay and quick ones go: after some claims a few
        organizations with slow receivers would have all the places.
        """
        begun = time.monotonic() - self._patience.slow
        for delivery, since in self._under_way.values():
            if since < begun:
                self._slow.add(delivery.organization_id, _LATELY)

    async def _begin(self, due: Sequence[Delivery]) -> None:
        """Begin due deliveries of one organization; none if its rows cannot be read."""
        about = [{"kind": each.kind, "about": each.about} for each in due]
        try:
            async with self._database.as_service() as db:
                found = await live.rows_about(db, due[0].organization_id, about, most_bytes=_LARGE)
        except DatabaseAwayError:
            raise
        except Exception:  # noqa: BLE001 - one organization's rows must not stop the others
            _log.exception("a delivery met what nobody expected", **ids(due[0]))
            await self._sending.give_back(due, seconds=self._patience.lease)
            return
        for delivery in due:
            row = found.get((delivery.kind, delivery.about))
            task = asyncio.create_task(self._tell(delivery, row))
            self._under_way[task] = (delivery, time.monotonic())
            task.add_done_callback(self._done)

    async def _tell(self, delivery: Delivery, row: Row | None) -> None:
        try:
            if row is None:
                await self._tell_in_turn(delivery)
            else:
                await self._sending.tell(delivery, row)
        except DatabaseAwayError as error:
            _log.warning("the database is away", error=str(error))
        except Exception:  # noqa: BLE001 - one delivery's defect must not stop the others
            _log.exception("a delivery met what nobody expected", **ids(delivery))

    async def _tell_in_turn(self, delivery: Delivery) -> None:
        """Deliver an event that is large, or whose row is gone.

        Given back if its turn does not come in time: its lease must not end meanwhile.
        """
        organization_id = delivery.organization_id
        about = {"kind": delivery.kind, "about": delivery.about}
        turn = self._turns.setdefault(delivery.subscription_id, asyncio.Lock())
        own = self._large_of.setdefault(organization_id, asyncio.Semaphore(_LARGE_OF_ORGANIZATION))
        async with AsyncExitStack() as turns:
            try:
                async with asyncio.timeout(self._patience.seconds):
                    await turns.enter_async_context(turn)
                    await turns.enter_async_context(own)
                    await turns.enter_async_context(self._large)
                    async with self._database.as_service(share_of=organization_id) as db:
                        found = await live.rows_about(db, organization_id, [about])
            except BaseException as error:
                await self._sending.give_back([delivery], seconds=self._patience.rest)
                if isinstance(error, TimeoutError):
                    return
                raise
            await self._sending.tell(delivery, found.get((delivery.kind, delivery.about)))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)
        self._wake.set()

    async def _end(self) -> None:
        """Cut off deliveries under way; they are given back."""
        left = [*self._under_way, *([self._planning] if self._planning else [])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
