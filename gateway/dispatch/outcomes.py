"""What the result of an attempt means: which events are recorded, and when to try again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from channels.errors import Busy, CannotAsk, CutOff, OptedOut, Refused, RefusedForNow, Unreachable
from channels.model import Sent, Status
from gateway.consent import inheriting
from gateway.dispatch.entry import only_sending_tells
from gateway.dispatch.events import event_of, failed, ids, not_to_be_written_to, reported
from gateway.dispatch.pace import Pace, wait_after, wait_for_turn
from gateway.dispatch.recording import Recording
from gateway.dispatch.sizes import slowest_seconds
from gateway.observability.logs import logger
from gateway.observability.metrics import Metrics
from gateway.registry import PROVIDERS
from gateway.store import queue, suppressions
from gateway.store.database import Connection, Database
from gateway.store.queue import Claimed

_log = logger(__name__)

# For messages that only reports can settle: the pause in multiples of `ask_every`, and how many
# times they are asked about in all.
_SELDOM, _LAST = 6, 10
# How many leases a worker that lost the database may take to record what it knows.
_LATE = 2


class Outcomes:
    """Records the results of the entries that one worker holds leases on."""

    def __init__(self, database: Database, metrics: Metrics, lease_id: UUID, pace: Pace) -> None:
        self._recording = Recording(database, metrics, most_defects=pace.most_defects)
        self._lease_id = lease_id
        self._pace = pace

    async def sent(self, claimed: Claimed, sent: Sent, open_for: float) -> None:
        """The provider took it; reports that came before its answer are applied, too.

        If the provider's id cannot be stored, the answer counts as `lost`.
        """
        if sent.has_id:
            await self._recording.take(claimed, sent, open_for)
        else:
            await self.lost(claimed, "The provider's id for it cannot be stored.", open_for)

    async def adopted(self, claimed: Claimed, found: Sequence[Sent]) -> bool:
        """The provider has it after all: its id is the first of these that is free."""
        return await self._recording.adopt(claimed, found)

    async def pretended(self, claimed: Claimed) -> None:
        """A test key's message counts as delivered, without a request to anybody."""
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
        await self._recording.note(claimed, events)

    async def refused(self, claimed: Claimed, error: Refused) -> None:
        """It will never be taken: it has failed."""

        async def suppress(db: Connection) -> None:
            if isinstance(error, OptedOut | Unreachable):
                statement = not_to_be_written_to(claimed, error)
                theirs = await inheriting.of_all_theirs(db, claimed.organization_id, statement)
                await suppressions.change(db, claimed.organization_id, theirs)

        await self._recording.note(claimed, [failed(claimed, error)], suppress)
        _log.info("message failed", code=error.code, **ids(claimed))

    async def given_up(self, claimed: Claimed, error: Refused) -> None:
        """No more attempts: it has failed, unless an earlier request may have been taken."""
        if only_sending_tells(claimed):
            await self.cannot_ask(claimed, CannotAsk(error.message, code=error.code))
        else:
            await self.refused(claimed, error)

    async def overtaken(self, claimed: Claimed) -> None:
        """A fallback was sent instead: it is canceled, as it would have been if it had still been
        waiting then; if an answer was lost, it has failed."""
        if claimed.status == Status.UNKNOWN:
            text = "It was not sent once more, because something else was sent instead."
            await self.given_up(claimed, Refused(text, code="fallback"))
            return
        canceled = event_of(
            claimed, "canceled", "canceled", Status.CANCELED, detail={"reason": "fallback"}
        )
        await self._recording.note(claimed, [canceled])

    async def refused_for_now(self, claimed: Claimed, error: RefusedForNow) -> None:
        """It waits as long as the provider says, else longer each time, and fails in the end."""
        if claimed.refusals >= self._pace.most_refusals:
            text = f"The provider did not take it in many attempts: {error.message}"
            await self.given_up(claimed, Refused(text, code=error.code))
            return
        seconds = wait_after(claimed.refusals + 1, error.retry_after)
        await self._later(claimed, error, seconds, claimed.refusals + 1)

    async def cut_off(self, claimed: Claimed, error: CutOff) -> None:
        """This worker stops: another one may send it at once. It does not count as a refusal."""
        await self._later(claimed, error, 0.0, claimed.refusals)

    async def busy(self, claimed: Claimed, error: Busy) -> None:
        """It waits for our connections, longer each time. It does not count as a refusal."""
        await self._later(claimed, error, wait_for_turn(claimed.attempts), claimed.refusals)

    async def _later(
        self, claimed: Claimed, error: RefusedForNow, seconds: float, refusals: int
    ) -> None:
        event = event_of(
            claimed,
            f"refused:{claimed.attempts}",
            "refused_for_now",
            None,
            error_code=error.code,
            error_message=error.message,
            detail={"attempt": claimed.attempts, "next_attempt_after": round(seconds, 1)},
        )
        await self._recording.note(claimed, [event], self._to_send(claimed, seconds, refusals))
        _log.info("refused for now", code=error.code, wait=round(seconds, 1), **ids(claimed))

    async def abandoned(self, claimed: Claimed) -> None:
        """Its worker is gone: the provider will be asked.

        That worker may be alive, and only have lost the database. If the provider cannot be asked,
        we wait for the worker's result, for as much longer as its send may take.
        """
        provider, wait = PROVIDERS.get(claimed.provider or ""), self._pace.ask_every
        if provider is not None and not provider.can_be_asked:
            wait = _LATE * self._pace.lease + slowest_seconds(claimed) + provider.more_seconds
        await self._lost(claimed, "Its worker ended before it knew what came of it.", wait, 0.0)

    async def lost(self, claimed: Claimed, reason: str, open_for: float) -> None:
        """It is not known whether it was taken, `open_for` seconds after its request began: the
        provider will be asked, if it can be."""
        await self._lost(claimed, reason, self._pace.ask_every, open_for)

    async def _lost(self, claimed: Claimed, reason: str, wait: float, open_for: float) -> None:
        event = event_of(
            claimed,
            f"lost:{claimed.attempts}",
            "answer_lost",
            Status.UNKNOWN,
            error_message=reason,
            detail={"attempt": claimed.attempts},
        )
        is_open = await self._recording.note_if(
            claimed,
            event,
            lambda db: queue.postpone(
                db,
                claimed,
                self._lease_id,
                seconds=wait,
                phase="ask",
                refusals=claimed.refusals,
                open_for=open_for,
            ),
        )
        if not is_open:
            return
        provider = PROVIDERS.get(claimed.provider or "")
        if provider is None or provider.can_be_asked:
            _log.warning("answer lost, the provider will be asked", reason=reason, **ids(claimed))
        else:
            _log.warning(
                "answer lost, and the provider cannot be asked", reason=reason, **ids(claimed)
            )

    async def ask_again(self, claimed: Claimed, seconds: float, *, questions: int = 1) -> None:
        """The provider could not tell yet; this counts as so many questions."""
        await self._recording.save(self._to_ask(claimed, seconds, questions))

    async def cannot_tell(self, claimed: Claimed) -> None:
        """The provider lists fewer messages than may be among them: it is not sent again.

        Once reports have settled the others, the list may settle this one, too.
        """
        event = event_of(
            claimed,
            f"cannot_tell:{claimed.attempts}",
            "cannot_be_told_apart",
            Status.UNKNOWN,
            detail={"attempt": claimed.attempts},
        )
        then = self._to_ask(claimed, *self._seldom())
        if await self._recording.note_if(claimed, event, then):
            _log.warning("what is listed may be another one: a report may tell", **ids(claimed))

    async def not_asked(self, claimed: Claimed) -> None:
        """Nobody is asked. It stays open for a while, so that equal messages do not get its id."""
        await self._recording.save(self._to_ask(claimed, *self._seldom()))

    def _seldom(self) -> tuple[float, int]:
        """How many seconds to wait for reports, and how many questions that counts as."""
        return _SELDOM * self._pace.ask_every, max(1, self._pace.most_questions // _LAST)

    async def cannot_ask(self, claimed: Claimed, error: CannotAsk) -> None:
        """Nobody can be asked: it stays unknown until a report comes, and is never sent again."""
        event = event_of(
            claimed,
            f"cannot_ask:{claimed.attempts}",
            "cannot_be_asked",
            Status.UNKNOWN,
            error_code=error.code,
            error_message=error.message,
            detail={"attempt": claimed.attempts},
        )
        if await self._recording.note_if(claimed, event, self._drop(claimed)):
            _log.warning("nobody can be asked: it is unknown until a report tells", **ids(claimed))

    async def not_there(self, claimed: Claimed) -> None:
        """It is sent again, with growing pauses: the provider certainly does not have it, or will
        answer the same request with the id of the first."""
        by_sending = only_sending_tells(claimed)
        if claimed.refusals >= self._pace.most_refusals:
            text = "." if by_sending else ", and does not have it."
            error = Refused(f"The provider never answered{text}", code="answer_lost")
            if by_sending:
                await self.given_up(claimed, error)
            elif await self._recording.note_if(
                claimed,
                failed(claimed, error),
                self._drop(claimed),
                is_first=True,
            ):
                _log.info("message failed", code=error.code, **ids(claimed))
            return
        # The first time at once: finding out took longer than the first pause.
        seconds = wait_after(claimed.refusals + 1, None) if claimed.refusals else 0.0
        event = event_of(
            claimed,
            f"not_there:{claimed.attempts}",
            "asked_by_sending" if by_sending else "not_found_at_provider",
            None,
            detail={"attempt": claimed.attempts, "next_attempt_after": round(seconds, 1)},
        )
        then = self._to_send(claimed, seconds, claimed.refusals + 1)
        if not await self._recording.note_if(claimed, event, then):
            return
        about = {"wait": round(seconds, 1), **ids(claimed)}
        if by_sending:
            _log.info("the provider is asked by the same request again", **about)
        else:
            _log.info("the provider does not have it: it is sent once more", **about)

    async def settled(self, claimed: Claimed) -> None:
        """No worker is needed for it any more."""
        await self._recording.note(claimed, reported(claimed), self._drop(claimed))

    async def not_begun(self, entries: Sequence[Claimed]) -> None:
        """They were claimed and not begun: they are due again at once."""
        at_once = [(entry, 0.0) for entry in entries]
        await self._recording.save(lambda db: queue.give_back(db, at_once, self._lease_id))

    def _drop(self, claimed: Claimed) -> Callable[[Connection], Awaitable[bool]]:
        return lambda db: queue.drop(db, claimed, self._lease_id)

    def _to_ask(
        self, claimed: Claimed, seconds: float, questions: int
    ) -> Callable[[Connection], Awaitable[bool]]:
        """Ask again in so many seconds, and count so many questions.

        Of each wait at most `ask_every` counts towards `open_for`, because a clock that is set
        forward may end a wait early. Not counting the first wait, that of `lost`, makes up for it.
        """
        return lambda db: queue.postpone(
            db,
            claimed,
            self._lease_id,
            seconds=seconds,
            phase="ask",
            refusals=claimed.refusals,
            asked=min(claimed.asked + questions, self._pace.most_questions),
            open_for=claimed.open_for + min(seconds, self._pace.ask_every),
        )

    def _to_send(
        self, claimed: Claimed, seconds: float, refusals: int
    ) -> Callable[[Connection], Awaitable[bool]]:
        return lambda db: queue.postpone(
            db, claimed, self._lease_id, seconds=seconds, phase="send", refusals=refusals
        )
