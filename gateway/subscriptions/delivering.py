"""Deliveries: what subscriptions are to be told is planned, sent, and sent again until it is taken.

At least once: a delivery is removed after its receiver has taken it. A worker that dies in between
leaves it to the next one, which sends the same event with the same id.
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
# To receivers that have failed several times in a row: one each, and so many together.
_OF_FAILING = 32
# Deliveries that may wait for one subscription: no more are planned until there are fewer.
_MOST_WAITING = 5000
# One of so many places is kept from organizations whose deliveries were slow: whoever comes finds
# one free.
_KEPT = 4
# Seconds for which having been slow counts.
_LATELY = 60.0
# Bytes of text from which on an event is large: of a subscription one such is in memory at a time.
# The others are 32 MiB at most, each as a row and as a body.
_LARGE = 2**18
# Large events that one organization, and all organizations together, have in memory.
_LARGE_OF_ORGANIZATION = 2
_OF_LARGE = 16
# Seconds: deliveries that end within them are replaced together.
_GATHER = 0.01


class Deliveries:
    """Tells subscriptions what has happened, side by side."""

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
        # What it is, and since when it is under way (monotonic clock).
        self._under_way: dict[asyncio.Task[None], tuple[Delivery, float]] = {}
        self._large = asyncio.Semaphore(_OF_LARGE)
        self._large_of: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        # Organizations whose deliveries were slow.
        self._slow: Lately[UUID] = Lately()

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until told to stop; what is under way then has a moment to end."""
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
        """Begin what there is to do: as long as something is due, whatever has room for it."""
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
            random.shuffle(behind)  # one that cannot be planned is not in front of others each time
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
        """Note whose deliveries are slow.

        Each claim is fair, but slow ones stay and quick ones go: after some claims a few
        organizations with slow receivers would have all the places.
        """
        begun = time.monotonic() - self._patience.slow
        for delivery, since in self._under_way.values():
            if since < begun:
                self._slow.add(delivery.organization_id, _LATELY)

    async def _begin(self, due: Sequence[Delivery]) -> None:
        """Begin to send what is due of one organization; of rows that cannot be read nothing is."""
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
        """Tell of what is large, or gone.

        Where its turn is too far off it is given back: its lease must not end meanwhile.
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
        """End what is under way; it is another worker's at once."""
        left = [*self._under_way, *([self._planning] if self._planning else [])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
