"""Deliveries: what subscriptions are to be told is planned, sent, and sent again until it is taken.

At least once: a delivery is removed after its receiver has taken it. A worker that dies in between
leaves it to the next one, which sends the same event with the same id.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from channels.posting import NotPosted, Poster
from gateway.batching import Batching
from gateway.live.events import Row, render
from gateway.logs import logger
from gateway.metrics import Metrics
from gateway.store import live, subscriptions
from gateway.store.database import Connection, Database
from gateway.store.errors import UNDONE, DatabaseAwayError
from gateway.store.subscriptions import Delivery, Waiting
from gateway.subscriptions.planning import plan
from gateway.subscriptions.signing import headers
from gateway.vault import Vault, VaultError

_log = logger(__name__)

# Deliveries under way at the same time: in all, of one organization, of one subscription; and, in
# all, those to receivers that have failed several times in a row, which have one each.
_PLACES, _OF_ORGANIZATION, _OF_SUBSCRIPTION, _OF_FAILING = 128, 32, 16, 32
_FAILING_FROM = 5
# Deliveries that may wait for one subscription: no more are planned until there are fewer.
_MOST_WAITING = 5000
# What ends together in so many seconds is replaced together.
_GATHER = 0.01
# A receiver may ask to be left alone for so many seconds (Retry-After).
_LONGEST_PAUSE = 3600.0
# Added to each wait at most, as a part of it, so that what failed together does not come together.
_JITTER = 0.1
_GONE = 410


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long deliveries are tried: `seconds` for an answer, and `waits` after each attempt.

    `lease` seconds must outlast one attempt; `rest` seconds lie between two looks. A receiver that
    fails is left alone for `pause` seconds, so that it is asked, not flooded. What is under way has
    `last` seconds to end when the worker stops.
    """

    seconds: float = 20.0
    waits: tuple[float, ...] = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    lease: float = 60.0
    rest: float = 1.0
    pause: float = 1.0
    last: float = 5.0

    @property
    def most(self) -> int:
        """How many attempts there are."""
        return len(self.waits) + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class _Failure:
    """An attempt that failed, in a sentence; `pause`: the seconds that the receiver asked for."""

    error: str
    status: int | None = None
    pause: float | None = None


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
    ) -> None:
        self._database = database
        self._vault = vault
        self._poster = poster
        self._metrics = metrics
        self._patience = patience or Patience()
        self._most_waiting = most_waiting
        self._wake = asyncio.Event()
        self._look_at, self._is_due = 0.0, False
        self._planning: asyncio.Task[None] | None = None  # beside the deliveries
        self._under_way: dict[asyncio.Task[None], Delivery] = {}
        self._delivered = Batching(
            self._store_delivered, shared=(DatabaseAwayError,), undone=UNDONE
        )

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
            found = await subscriptions.look(db, self._most_waiting)
        self._is_due = any(each.is_due for each in found)
        self._plan(found)

    def _plan(self, found: Sequence[Waiting]) -> None:
        """Plan beside the deliveries, which need not wait for an organization with many events."""
        behind = [(each.organization_id, each.id) for each in found if each.is_behind]
        if behind and (self._planning is None or self._planning.done()):
            random.shuffle(behind)  # one that cannot be planned is not in front of others each time
            self._planning = asyncio.create_task(self._plan_all(behind))

    async def _plan_all(self, behind: Sequence[subscriptions.Holder]) -> None:
        try:
            await plan(self._database, behind)
            self._look_at = 0.0  # now something is due, and perhaps more has happened
            self._wake.set()
        except DatabaseAwayError as error:
            _log.warning("the database is away", error=str(error))
        except Exception:  # noqa: BLE001 - what failed once is tried again
            _log.exception("deliveries could not be planned")

    async def _claim(self) -> None:
        free = _PLACES - len(self._under_way)
        if free == 0:
            return
        async with self._database.as_service(planned_once=True) as db:
            due = await subscriptions.claim(
                db,
                free,
                self._patience.lease,
                [each.holder for each in self._under_way.values()],
                of_subscription=_OF_SUBSCRIPTION,
                of_organization=_OF_ORGANIZATION,
                of_failing=_OF_FAILING,
                failing_from=_FAILING_FROM,
            )
            rows = await _rows(db, due)
        for delivery, row in zip(due, rows, strict=True):
            task = asyncio.create_task(self._work(delivery, row))
            self._under_way[task] = delivery
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)
        self._wake.set()

    async def _work(self, delivery: Delivery, row: Row | None) -> None:
        try:
            if row is None:
                await self._forget(delivery)
            elif (failure := await self._send(delivery, row)) is None:
                await self._delivered(delivery)
                self._metrics.event_sent("delivered")
            else:
                await self._failed(delivery, failure)
        except asyncio.CancelledError:
            with suppress(DatabaseAwayError):  # then its lease ends by itself
                async with self._database.as_service() as db:
                    await subscriptions.give_back(db, [delivery])
            raise
        except DatabaseAwayError as error:
            _log.warning("the database is away", error=str(error))
        except Exception:  # noqa: BLE001 - one delivery's defect must not stop the others
            _log.exception("a delivery met what nobody expected", **_ids(delivery))

    async def _send(self, delivery: Delivery, row: Row) -> _Failure | None:
        """Post it; None where it was taken."""
        body = render(delivery.type, delivery.occurred_at, row)
        try:
            secrets = self._vault.open(delivery.organization_id, delivery.credentials)
            signed = headers(
                secrets, delivery.id, body, datetime.now(UTC), is_rotating=delivery.is_rotating
            )
            answer = await self._poster.post(
                delivery.url, body, signed, seconds=self._patience.seconds
            )
        except VaultError as error:
            _log.error("credentials do not open", error=str(error), **_ids(delivery))
            return _Failure(error="The gateway cannot open the secret of this subscription.")
        except NotPosted as error:
            return _Failure(error=str(error))
        if 200 <= answer.status < 300:
            return None
        pause = None if answer.retry_after is None else min(answer.retry_after, _LONGEST_PAUSE)
        return _Failure(
            error=f"Its server answered {answer.status}.", status=answer.status, pause=pause
        )

    async def _failed(self, delivery: Delivery, failure: _Failure) -> None:
        """Have it tried again; or give it up, or the whole subscription."""
        patience = self._patience
        disabled = False
        async with self._database.as_service() as db:
            failures, seconds = await subscriptions.note_failure(
                db,
                delivery,
                failure.error,
                pause=failure.pause,
                failing_from=_FAILING_FROM,
                least_pause=patience.pause,
            )
            if failure.status == _GONE:
                reason = "Its server answered 410: it wants no more events."
                disabled = await subscriptions.disable(db, delivery, reason)
                outcome = "failed"
            elif failures >= patience.most and seconds >= sum(patience.waits):
                reason = f"No attempt has succeeded in {_in_words(seconds)}: {failure.error}"
                disabled = await subscriptions.disable(db, delivery, reason)
                outcome = "failed"
            elif delivery.attempts >= patience.most:
                await subscriptions.forget(db, delivery)
                outcome = "given_up"
            else:
                wait = patience.waits[delivery.attempts - 1]
                wait = max(wait * random.uniform(1, 1 + _JITTER), failure.pause or 0.0)  # noqa: S311
                await subscriptions.postpone(db, delivery, wait, failure.status, failure.error)
                outcome = "failed"
        self._metrics.event_sent(outcome)
        if disabled:
            _log.warning("a subscription is disabled", reason=reason, **_ids(delivery))
        elif outcome == "given_up":
            _log.warning("a delivery is given up", reason=failure.error, **_ids(delivery))

    async def _forget(self, delivery: Delivery) -> None:
        async with self._database.as_service() as db:
            await subscriptions.forget(db, delivery)

    async def _store_delivered(self, deliveries: Sequence[Delivery]) -> list[None]:
        async with self._database.as_service(planned_once=True) as db:
            await subscriptions.delivered(db, deliveries)
        return [None] * len(deliveries)

    async def _end(self) -> None:
        """End what is under way; it is another worker's at once."""
        left = [*self._under_way, *([self._planning] if self._planning else [])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _rows(db: Connection, due: Sequence[Delivery]) -> list[Row | None]:
    """What each is about, as it is now; None where that is gone."""
    found: dict[tuple[str, UUID], Row] = {}
    for organization_id in {each.organization_id for each in due}:
        about = [
            {"kind": each.kind, "about": each.about}
            for each in due
            if each.organization_id == organization_id
        ]
        found |= await live.rows_about(db, organization_id, about)
    return [found.get((each.kind, each.about)) for each in due]


def _in_words(seconds: float) -> str:
    return f"{seconds / 3600:.0f} hours"


def _ids(delivery: Delivery) -> dict[str, str | int]:
    return {
        "subscription_id": str(delivery.subscription_id),
        "organization_id": str(delivery.organization_id),
        "webhook_id": str(delivery.id),
        "type": delivery.type,
        "attempt": delivery.attempts,
    }
