"""What came of an attempt, recorded: the events, the row, and the entry's place in the queue.

Each is tried until the database takes it: what a provider answered must not be forgotten because
the database was away for a moment. A defect of ours is given some minutes: then the entry's lease
has long ended, and the provider is asked. What providers took is stored together, as it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from channels.errors import CannotAsk, OptedOut, Refused, RefusedForNow
from channels.model import Sent, Status
from gateway.batching import Batching
from gateway.dispatch.events import event_of, ids, opted_out, renamed, taken
from gateway.dispatch.pace import Pace, wait_after
from gateway.dispatch.turns import may_be_taken
from gateway.enduring import until_stored
from gateway.held import Around, Wait
from gateway.logs import info_each, logger
from gateway.metrics import Metrics
from gateway.store import queue, reports, suppressions
from gateway.store.database import Connection, Database
from gateway.store.errors import DatabaseAwayError, HeldError, RolledBackError
from gateway.store.queue import Claimed
from gateway.store.reports import Advance, Event

_log = logger(__name__)

# More than a worker has under way: what a provider took is never turned away.
_ROOM = 1_000_000
# Seconds to wait for a row that somebody else holds.
_PATIENCE = 1
# How many outcomes that somebody holds up are tried at the same time.
_FEW = 2


class Outcomes:
    """Records what came of the entries that one worker holds leases on."""

    def __init__(self, database: Database, metrics: Metrics, lease_id: UUID, pace: Pace) -> None:
        self._database = database
        self._metrics = metrics
        self._lease_id = lease_id
        self._pace = pace
        self._around = Around()
        self._few = asyncio.Semaphore(_FEW)
        self._taking = Batching(
            self._take_all, shared=(DatabaseAwayError,), undone=(RolledBackError,), room=_ROOM
        )

    async def sent(self, claimed: Claimed, sent: Sent) -> None:
        """The provider took it; reports that came before this are applied with it."""

        async def take() -> None:
            if not await self._taking((claimed, sent)):
                raise HeldError("another transaction holds its row")

        await self._until_stored(take)

    async def adopted(self, claimed: Claimed, found: Sequence[Sent]) -> bool:
        """The provider has it after all, under the first of these ids that no other message has."""
        for sent in found:
            async with self._database.as_service() as db:
                if await queue.may_adopt(
                    db, claimed.organization_id, sent.external_id, claimed.message_id
                ):
                    advances = await self._take(db, [(claimed, sent)], "found_at_provider")
                    break
        else:
            return False
        self._taken([(claimed, sent)], advances)
        return True

    async def pretended(self, claimed: Claimed) -> None:
        """A test key's message is done, without a request to anybody."""
        events = [
            event_of(
                claimed,
                "taken",
                "sent",
                Status.SENT,
                external_id=f"test_{claimed.message_id}",
                provider={"test": True},
            ),
            event_of(claimed, "delivered", "delivered", Status.DELIVERED),
        ]
        await self._save(lambda db: self._record(db, claimed, events))

    async def refused(self, claimed: Claimed, error: Refused) -> None:
        """It will never be taken: it has failed."""
        event = event_of(
            claimed,
            "failed",
            "failed",
            Status.FAILED,
            error_code=error.code,
            error_message=error.message,
        )

        async def save(db: Connection) -> None:
            await self._record(db, claimed, [event])
            if isinstance(error, OptedOut):
                said = opted_out(claimed, error)
                await suppressions.change(db, claimed.organization_id, [said])

        await self._save(save)
        _log.info("message failed", code=error.code, **ids(claimed))

    async def given_up(self, claimed: Claimed, error: Refused) -> None:
        """It is not tried any more: it has failed, unless it may have been taken all the same."""
        if may_be_taken(claimed):
            await self.cannot_ask(claimed, CannotAsk(error.message, code=error.code))
        else:
            await self.refused(claimed, error)

    async def refused_for_now(self, claimed: Claimed, error: RefusedForNow) -> None:
        """It waits: as long as the provider says, else longer each time, and not for ever."""
        if claimed.refusals >= self._pace.most_refusals:
            text = f"The provider did not take it in many attempts: {error.message}"
            await self.given_up(claimed, Refused(text, code=error.code))
            return
        seconds = wait_after(claimed.refusals + 1, error.retry_after)
        event = event_of(
            claimed,
            f"refused:{claimed.attempts}",
            "refused_for_now",
            None,
            error_code=error.code,
            error_message=error.message,
            detail={"attempt": claimed.attempts, "next_attempt_after": round(seconds, 1)},
        )
        await self._postpone(
            claimed, event, seconds=seconds, phase="send", refusals=claimed.refusals + 1
        )
        _log.info("refused for now", code=error.code, wait=round(seconds, 1), **ids(claimed))

    async def lost(self, claimed: Claimed, reason: str) -> None:
        """Nobody knows whether it was taken: the provider will be asked."""
        event = event_of(
            claimed,
            f"lost:{claimed.attempts}",
            "answer_lost",
            Status.UNKNOWN,
            error_message=reason,
            detail={"attempt": claimed.attempts},
        )
        await self._postpone(
            claimed,
            event,
            seconds=self._pace.ask_every,
            phase="ask",
            refusals=claimed.refusals,
        )
        _log.warning("answer lost, the provider will be asked", reason=reason, **ids(claimed))

    async def ask_again(self, claimed: Claimed, seconds: float) -> None:
        """The provider could not say yet."""
        await self._save(
            lambda db: queue.postpone(
                db,
                claimed,
                self._lease_id,
                seconds=seconds,
                phase="ask",
                refusals=claimed.refusals,
                asked=claimed.asked + 1,
            )
        )

    async def cannot_ask(self, claimed: Claimed, error: CannotAsk) -> None:
        """Nobody can be asked: it stays unknown until a report tells, and is never sent again."""
        event = event_of(
            claimed,
            f"cannot_ask:{claimed.attempts}",
            "cannot_be_asked",
            Status.UNKNOWN,
            error_message=error.message,
            detail={"attempt": claimed.attempts},
        )

        async def save(db: Connection) -> None:
            await self._record(db, claimed, [event])
            await queue.drop(db, claimed.organization_id, claimed.message_id)

        await self._save(save)
        _log.warning("nobody can be asked: it is unknown until a report tells", **ids(claimed))

    async def not_there(self, claimed: Claimed) -> None:
        """It is sent once more, with pauses that grow: the provider surely does not have it, or
        tells by that very request whether it has."""
        by_sending = may_be_taken(claimed)
        if claimed.refusals >= self._pace.most_refusals:
            text = "." if by_sending else ", and does not have it."
            error = Refused(f"The provider never answered{text}", code="answer_lost")
            await self.given_up(claimed, error)
            return
        # The first time at once: to be sure took longer than a first pause.
        seconds = wait_after(claimed.refusals + 1, None) if claimed.refusals else 0.0
        event = event_of(
            claimed,
            f"not_there:{claimed.attempts}",
            "asked_by_sending" if by_sending else "not_found_at_provider",
            None,
            detail={"attempt": claimed.attempts, "next_attempt_after": round(seconds, 1)},
        )
        await self._postpone(
            claimed, event, seconds=seconds, phase="send", refusals=claimed.refusals + 1
        )
        said = {"wait": round(seconds, 1), **ids(claimed)}
        if by_sending:
            _log.info("the provider is asked by the same request again", **said)
        else:
            _log.info("the provider does not have it: it is sent once more", **said)

    async def settled(self, claimed: Claimed) -> None:
        """Nothing is left to do for it."""
        await self._save(lambda db: queue.drop(db, claimed.organization_id, claimed.message_id))

    async def not_begun(self, entries: Sequence[Claimed]) -> None:
        """They were claimed and not begun: as if nobody had."""
        at_once = [(entry, 0.0) for entry in entries]
        await self._save(lambda db: queue.give_back(db, at_once, self._lease_id))

    async def _take_all(self, batch: Sequence[tuple[Claimed, Sent]]) -> list[bool]:
        """What providers took, as many at a time as have come; False where a row is held."""
        return await self._around(lambda wait: self._take_now(batch, wait))

    async def _take_now(self, batch: Sequence[tuple[Claimed, Sent]], wait: Wait) -> list[bool]:
        async with self._database.as_service(patience=wait.seconds) as db:
            advances = await self._take(db, batch, "sent", waits=wait.for_rows)
        found = {advance.message_id for advance in advances}
        # Where it waits, what is missing is gone for good.
        is_done = [wait.for_rows or claimed.message_id in found for claimed, _ in batch]
        self._taken([each for each, done in zip(batch, is_done, strict=True) if done], advances)
        return is_done

    async def _take(
        self,
        db: Connection,
        batch: Sequence[tuple[Claimed, Sent]],
        kind: str,
        *,
        waits: bool = True,
    ) -> list[Advance]:
        events = [taken(claimed, sent, kind) for claimed, sent in batch]
        advances = await reports.record(db, events, waits=waits)
        if not waits:
            found = {advance.message_id for advance in advances}
            batch = [each for each in batch if each[0].message_id in found]
        await suppressions.known_as(db, renamed(batch))
        early = await reports.take_unmatched(
            db,
            [
                (claimed.organization_id, claimed.account_id, sent.external_id, claimed.message_id)
                for claimed, sent in batch
                if claimed.account_id is not None
            ],
        )
        return [*advances, *await reports.record(db, early)]

    def _taken(self, batch: Sequence[tuple[Claimed, Sent]], advances: Sequence[Advance]) -> None:
        """Numbers and log lines for what is stored."""
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

    async def _postpone(
        self, claimed: Claimed, event: Event, *, seconds: float, phase: str, refusals: int
    ) -> None:
        async def save(db: Connection) -> None:
            await self._record(db, claimed, [event])
            await queue.postpone(
                db,
                claimed,
                self._lease_id,
                seconds=seconds,
                phase=phase,
                refusals=refusals,
                asked=0,
            )

        await self._save(save)

    async def _record(self, db: Connection, claimed: Claimed, events: Sequence[Event]) -> None:
        now = datetime.now(UTC)
        for advance in await reports.record(db, events):
            self._metrics.advanced(advance, claimed.provider or "none", now)

    async def _save(self, save: Callable[[Connection], Awaitable[Any]]) -> None:
        is_held = False

        async def once() -> None:
            nonlocal is_held
            # What was held is tried by few at a time: all connections would wait for one tenant's.
            async with self._few if is_held else nullcontext():
                try:
                    # Not long: it is tried again, and its connection is free for others meanwhile.
                    async with self._database.as_service(patience=_PATIENCE) as db:
                        await save(db)
                except HeldError:
                    is_held = True
                    raise

        await self._until_stored(once)

    async def _until_stored(self, store: Callable[[], Awaitable[None]]) -> None:
        await until_stored(store, most_defects=self._pace.most_defects)
