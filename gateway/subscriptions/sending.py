"""Sending: one delivery is sent to its receiver, and the result is stored."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.batching import Batching
from gateway.live.events import render
from gateway.observability.logs import logger
from gateway.observability.metrics import Metrics
from gateway.outside.posting import NotPosted, Poster
from gateway.store import deliveries
from gateway.store.database import Database, Transaction
from gateway.store.deliveries import Delivery
from gateway.store.errors import OF_ITS_ROWS, UNDONE, DatabaseAwayError, HeldError
from gateway.store.values import Row
from gateway.subscriptions.signing import headers
from gateway.vault import Vault, VaultError

_log = logger(__name__)

# From so many failures in a row on, a receiver is tried less often.
FAILING_FROM = 5
# A receiver may ask to be left alone for so many seconds (Retry-After).
_LONGEST_PAUSE = 3600.0
# The largest part of a wait that is added at random, so that those that failed together are not
# tried again together.
_JITTER = 0.1
_GONE = 410
# Seconds to wait for a row that another transaction has locked, before it is tried again.
_PATIENCE = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long deliveries are tried, in seconds: `seconds` for an answer, `waits` after attempts.

    A `lease` must outlast one attempt; `rest` is the time between two looks. After a failure
    nothing is sent to the receiver for `pause`, lest it be flooded. A delivery that takes more than
    `slow` is slow. Deliveries under way have `last` to end when the worker stops.
    """

    seconds: float = 20.0
    waits: tuple[float, ...] = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    lease: float = 60.0
    rest: float = 1.0
    pause: float = 1.0
    slow: float = 2.0
    last: float = 5.0

    @property
    def most(self) -> int:
        """How many attempts there are."""
        return len(self.waits) + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class _Failure:
    """A failed attempt: the `error` as a sentence; `pause`: seconds that the receiver asked for."""

    error: str
    status: int | None = None
    pause: float | None = None


class Sending:
    """Sends deliveries; if a receiver does not accept one, decides how to go on."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        poster: Poster,
        metrics: Metrics,
        patience: Patience,
    ) -> None:
        self._database = database
        self._vault = vault
        self._poster = poster
        self._metrics = metrics
        self._patience = patience
        self._delivered = Batching(
            self._store_delivered,
            undone=UNDONE,
            held=OF_ITS_ROWS,
            owner=lambda delivery: delivery.organization_id,
        )

    async def tell(self, delivery: Delivery, row: Row | None) -> None:
        """Send the event about this row to the receiver; nothing if the row is gone.

        If this is cancelled, the delivery is given back. Raises `DatabaseAwayError`: then its lease
        will end by itself.
        """
        try:
            if row is None:
                async with self._of(delivery) as db:
                    await deliveries.forget(db, delivery)
            elif (failure := await self._send(delivery, row)) is None:
                await self._past_locks(lambda: self._delivered(delivery))
                self._metrics.event_sent("delivered")
            else:
                await self._past_locks(lambda: self._failed(delivery, failure))
        except asyncio.CancelledError:
            await self.give_back([delivery])
            raise

    async def give_back(self, untold: Sequence[Delivery], *, seconds: float = 0.0) -> None:
        """Return these deliveries to the queue, due in some seconds, as if not leased."""
        with suppress(DatabaseAwayError):
            for delivery in untold:
                async with self._of(delivery) as db:
                    await deliveries.give_back(db, delivery, seconds)

    async def _send(self, delivery: Delivery, row: Row) -> _Failure | None:
        """Post it; None if it was accepted."""
        try:
            body = render(delivery.type, delivery.occurred_at, row)
            secrets = self._vault.open(delivery.organization_id, delivery.credentials)
            signed = headers(
                secrets, delivery.id, body, datetime.now(UTC), is_rotating=delivery.is_rotating
            )
            answer = await self._poster.post(
                delivery.url, body, signed, seconds=self._patience.seconds
            )
        except VaultError as error:
            _log.error("credentials do not open", error=str(error), **ids(delivery))
            return _Failure(error="The gateway cannot open the secret of this subscription.")
        except NotPosted as error:
            return _Failure(error=str(error))
        except Exception:  # noqa: BLE001 - one delivery's defect must not stop the others
            _log.exception("a delivery met what nobody expected", **ids(delivery))
            return _Failure(error="The gateway made a mistake.")
        if 200 <= answer.status < 300:
            return None
        pause = None if answer.retry_after is None else min(answer.retry_after, _LONGEST_PAUSE)
        return _Failure(
            error=f"Its server answered {answer.status}.", status=answer.status, pause=pause
        )

    async def _failed(self, delivery: Delivery, failure: _Failure) -> None:
        """Try it again later, or give up the delivery, or the whole subscription."""
        patience = self._patience
        # Not `attempts`: those whose workers died are no failures of the receiver.
        failed = delivery.failures + 1
        reason = None
        async with self._of(delivery) as db:
            noted = await deliveries.note_failure(
                db,
                delivery,
                failure.error,
                pause=failure.pause,
                failing_from=FAILING_FROM,
                least_pause=patience.pause,
            )
            if noted is None:
                return
            failures, seconds = noted
            if failure.status == _GONE:
                reason = "Its server answered 410: it wants no more events."
            elif failures >= patience.most and seconds >= sum(patience.waits):
                hours = f"{seconds / 3600:.0f} hours"
                reason = f"No attempt has succeeded in {hours}: {failure.error}"
            if reason is not None:
                if await deliveries.disable(db, delivery, reason):
                    _log.warning("a subscription is disabled", reason=reason, **ids(delivery))
            elif failed >= patience.most:
                await deliveries.forget(db, delivery)
                _log.warning("a delivery is given up", reason=failure.error, **ids(delivery))
            else:
                wait = patience.waits[failed - 1]
                wait = max(wait * random.uniform(1, 1 + _JITTER), failure.pause or 0.0)  # noqa: S311
                await deliveries.postpone(db, delivery, wait, failure.status, failure.error)
        is_given_up = reason is None and failed >= patience.most
        self._metrics.event_sent("given_up" if is_given_up else "failed")

    async def _past_locks(self, store: Callable[[], Awaitable[None]]) -> None:
        """Store the result, again and again while its row is locked: if the lease ended before, the
        receiver would get the event twice."""
        until = time.monotonic() + self._patience.lease / 4
        while True:
            try:
                return await store()
            except HeldError:
                if time.monotonic() >= until:
                    raise

    async def _store_delivered(self, done: Sequence[Delivery]) -> list[None]:
        async with self._database.as_service(planned_once=True, patience=_PATIENCE) as db:
            await deliveries.delivered(db, done)
        return [None] * len(done)

    def _of(self, delivery: Delivery) -> Transaction:
        """A transaction in the organization's share of the connections, because it may wait."""
        return self._database.as_service(share_of=delivery.organization_id, patience=_PATIENCE)


def ids(delivery: Delivery) -> dict[str, str | int]:
    """What log lines say about a delivery."""
    return {
        "subscription_id": str(delivery.subscription_id),
        "organization_id": str(delivery.organization_id),
        "webhook_id": str(delivery.id),
        "type": delivery.type,
        "attempt": delivery.attempts,
    }
