"""Recording: outcomes are stored, however long that takes.

A provider's answer must not be lost because the database was down for a moment. After an unexpected
error storing is retried for some minutes: by then the entry's lease has long ended, and the
provider is asked. All messages that providers took at the same time are recorded together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from datetime import UTC, datetime
from typing import Any

from channels.model import Channel, Sent
from channels.moment import Moment
from gateway.batching import Batching
from gateway.dispatch.answer_reports import ReportsInAnswers
from gateway.dispatch.events import ids, renamed, taken
from gateway.held import Around, Wait
from gateway.observability.logs import info_each, logger
from gateway.observability.metrics import Metrics
from gateway.store import kept_reports, queue, reports, suppressions
from gateway.store.database import Connection, Database
from gateway.store.errors import (
    OF_ITS_ROWS,
    DatabaseAwayError,
    HeldError,
    RolledBackError,
    TrialError,
)
from gateway.store.queue import Claimed
from gateway.store.reports import Advance, Event

_log = logger(__name__)

# Outcomes that may wait: more than a worker can have, so that none is ever turned away.
_ROOM = 1_000_000
# Seconds to wait for a row that another transaction has locked.
_PATIENCE = 1
# How many outcomes with locked rows are tried at the same time.
_FEW = 2
# Seconds since a request began; after 20, the provider's record may be given to an equal message.
_LATE = 15.0
# The longest pause in seconds: while the database is down, and after an unexpected error.
_AWAY, _DEFECT = 2.0, 30.0

Taken = tuple[Claimed, Sent]
# One of few, held while locked rows are waited for.
_Slot = AbstractAsyncContextManager[object]


class Recording:
    """Stores outcomes; gives up on an unexpected error after `most_defects` attempts."""

    def __init__(self, database: Database, metrics: Metrics, *, most_defects: int) -> None:
        self._database = database
        self._metrics = metrics
        self._most_defects = most_defects
        self._around = Around()
        self._few = asyncio.Semaphore(_FEW)
        self._taking = Batching(
            self._take_all,
            undone=(RolledBackError,),
            held=OF_ITS_ROWS,
            owner=lambda taken: taken[0].organization_id,
            room=_ROOM,
        )

    async def take(self, claimed: Claimed, sent: Sent, open_for: float) -> None:
        """The provider took it, `open_for` seconds after its request began; reports that came
        before its answer are applied, too."""
        since = Moment.now()

        async def store(slot: _Slot) -> None:
            if claimed.channel != Channel.EMAIL and open_for + since.steady_age() > _LATE:
                async with slot:
                    await self._take_late(claimed, sent)
            elif not await self._taking((claimed, sent)):
                raise HeldError("another transaction holds its row")

        await self._until_stored(store)

    async def _take_late(self, claimed: Claimed, sent: Sent) -> None:
        """The same, unless an equal message has the provider's id by now: then this one counts as
        not sent, is asked about, and sent again."""
        async with self._database.as_service(patience=_PATIENCE) as db:
            await reports.take_turns(db, [sent.external_id])
            own = (claimed.organization_id, claimed.message_id)
            if await reports.is_anothers(db, *own, sent.external_id):
                _log.warning("an equal message was taken for it meanwhile", **ids(claimed))
                return
            advances = await self._take(db, [(claimed, sent)], "sent")
        self._count_and_log([(claimed, sent)], advances)

    async def adopt(self, claimed: Claimed, found: Sequence[Sent]) -> bool:
        """Take it under the first of these ids that no other message has; False if there is none,
        or if its outcome has become known meanwhile.

        Raises `HeldError` soon if its row is locked: whoever stores a report or an answer with such
        an id waits for this.
        """
        for sent in found:
            async with self._database.as_service(patience=_PATIENCE) as db:
                if not await queue.may_adopt(db, claimed, sent.external_id):
                    continue
                advances = await self._take(db, [(claimed, sent)], "found_at_provider")
            self._count_and_log([(claimed, sent)], advances)
            return True
        return False

    async def save(self, change: Callable[[Connection], Awaitable[Any]]) -> None:
        """Do `change` in a transaction of its own, again and again until it is stored."""

        async def store(slot: _Slot) -> None:
            # A short wait: it is tried again, and others have its connection meanwhile.
            with suppress(TrialError):  # nothing of it is stored
                async with slot, self._database.as_service(patience=_PATIENCE) as db:
                    await change(db)

        await self._until_stored(store)

    async def note(
        self,
        claimed: Claimed,
        events: Sequence[Event],
        then: Callable[[Connection], Awaitable[Any]] | None = None,
        *,
        first: Callable[[Connection], Awaitable[Any]] | None = None,
    ) -> None:
        """Append events of an entry and advance its message; `first` is done before that, and
        `then` after it, in the same transaction."""
        advances: list[Advance] = []

        async def change(db: Connection) -> None:
            if first is not None:
                await first(db)
            noted = await reports.record(db, events)
            if then is not None:
                await then(db)
            advances[:] = noted

        await self.save(change)
        now = datetime.now(UTC)
        for advance in advances:  # counted once it is stored: until then it may be tried again
            provider = claimed.provider or "none"
            self._metrics.advanced(advance, provider, now, is_test=claimed.is_test)

    async def note_if(
        self,
        claimed: Claimed,
        event: Event,
        then: Callable[[Connection], Awaitable[bool]],
        *,
        is_first: bool = False,
    ) -> bool:
        """Note an event about an uncertain message, unless `then` is false: then its outcome has
        become known. `is_first`: do `then` first, because the event itself removes the entry."""
        is_open = True

        async def change(db: Connection) -> None:
            nonlocal is_open
            is_open = await then(db)
            if not is_open:
                raise TrialError

        if is_first:
            await self.note(claimed, [event], first=change)
        else:
            await self.note(claimed, [event], change)
        return is_open

    async def _until_stored(self, store: Callable[[_Slot], Awaitable[None]]) -> None:
        """Call `store` until it succeeds; from the first locked row on it gets one of few slots.

        Otherwise all connections could wait for one tenant's locked rows.
        """
        is_held = False

        async def attempt() -> None:
            nonlocal is_held
            try:
                await store(self._few if is_held else nullcontext())
            except OF_ITS_ROWS:
                is_held = True
                raise

        try:
            await _endure(attempt, self._most_defects)
        except asyncio.CancelledError:
            # A stopping worker cancels what is under way, but this outcome is known, so it is
            # stored. The second cancellation ends it.
            task = asyncio.current_task()
            if task is None or task.cancelling() > 1:
                raise
            await _endure(attempt, self._most_defects)
            raise

    async def _take_all(self, batch: Sequence[Taken]) -> list[bool]:
        """Record what providers took, all at once; False for a message whose row is locked."""
        return await self._around(lambda wait: self._take_now(batch, wait))

    async def _take_now(self, batch: Sequence[Taken], wait: Wait) -> list[bool]:
        async with self._database.as_service(planned_once=True, patience=wait.seconds) as db:
            advances = await self._take(db, batch, "sent", waits=wait.for_rows)
        found = {advance.message_id for advance in advances}
        # If locked rows were waited for, a missing message was deleted.
        is_done = [wait.for_rows or claimed.message_id in found for claimed, _ in batch]
        self._count_and_log(
            [each for each, done in zip(batch, is_done, strict=True) if done], advances
        )
        return is_done

    async def _take(
        self, db: Connection, batch: Sequence[Taken], kind: str, *, waits: bool = True
    ) -> list[Advance]:
        events = [taken(claimed, sent, kind) for claimed, sent in batch]
        advances = await reports.record(db, events, waits=waits)
        if not waits:
            found = {advance.message_id for advance in advances}
            batch = [each for each in batch if each[0].message_id in found]
        await suppressions.known_as(db, renamed(batch))
        early = await kept_reports.take_unmatched(
            db,
            [
                (claimed.organization_id, claimed.account_id, sent.external_id, claimed.message_id)
                for claimed, sent in batch
                if claimed.account_id is not None
            ],
        )
        in_answers = ReportsInAnswers(batch, early)
        # Second, so that these come later in the log of events.
        advances += await reports.record(db, [*early, *in_answers.events])
        await in_answers.store_consent(db)
        return advances

    def _count_and_log(self, batch: Sequence[Taken], advances: Sequence[Advance]) -> None:
        """Count and log messages whose outcome is stored."""
        providers = {claimed.message_id: claimed.provider for claimed, _ in batch}
        now = datetime.now(UTC)
        for advance in advances:
            self._metrics.advanced(advance, providers[advance.message_id] or "none", now)
        info_each(
            _log,
            "sent",
            (
                {"provider": claimed.provider, "attempt": claimed.attempts, **ids(claimed)}
                for claimed, _ in batch
            ),
        )
        if reported := [claimed for claimed, sent in batch if sent.reports]:
            became = {advance.message_id: advance.status for advance in advances}
            info_each(
                _log,
                "reported",
                (
                    {
                        "provider": claimed.provider,
                        "status": became.get(claimed.message_id),
                        **ids(claimed),
                    }
                    for claimed in reported
                ),
            )


async def _endure(store: Callable[[], Awaitable[None]], most_defects: int) -> None:
    """Call `store` until it succeeds, however long the database is down.

    After `most_defects` unexpected errors, raises the last one.
    """
    wait, defects = 0.1, 0
    while True:
        try:
            await store()
        except DatabaseAwayError as error:
            _log.warning("the database is away, an outcome waits", error=str(error))
            longest = _AWAY
        except Exception:
            defects += 1
            if defects >= most_defects:
                raise
            _log.exception("an outcome could not be stored, it waits")
            longest = _DEFECT
        else:
            return
        await asyncio.sleep(wait)
        wait = min(wait * 2, longest)
