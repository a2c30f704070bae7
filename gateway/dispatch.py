"""Dispatch: queue entry → provider → outcome. No database connection is held while a provider
is being talked to.

What can come of an attempt:
- the provider took it: the row has its id, and the entry is gone;
- refused: the row has failed;
- refused for now: the entry waits (the provider's own time, else longer each time);
- the answer was lost: the row is `unknown`; after a while the provider is asked whether it has the
  message, and only when it surely has not, the message is sent again. The same goes for an entry
  whose worker died while it held it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp
import tenacity

from channels.errors import AnswerLost, OptedOut, Refused, RefusedForNow, SendError
from channels.model import Account, Attachment, Channel, Content, Outbound, Sent, Status
from gateway.ids import new_id
from gateway.logs import logger
from gateway.metrics import Metrics
from gateway.registry import PROVIDERS, status_url
from gateway.store import queue, reports
from gateway.store.database import Connection, Database, DatabaseAway
from gateway.store.queue import Claimed
from gateway.store.reports import Event, event_id
from gateway.vault import Vault, VaultError

_log = logger(__name__)

_backoff = tenacity.wait_exponential_jitter(initial=1, max=3600, exp_base=2, jitter=1)
_TAKEN = (Status.SENT, Status.CANCELED, Status.FAILED, Status.DELIVERED, Status.READ)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Times of dispatch, in seconds.

    A lease outlasts the longest send (connect and answer, 15 s) and the waits before and after it.
    `sure_after` is how long after an attempt a provider that does not list the message surely
    does not have it; until then it is asked every `ask_every`.
    """

    lease: float = 30
    longest_send: float = 16
    ask_every: float = 5
    sure_after: float = 25
    twin_wait: float = 3
    most_refusals: int = 18
    most_questions: int = 300


class Dispatching:
    """The coordinator of dispatch, for one worker and its leases."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        session: aiohttp.ClientSession,
        metrics: Metrics,
        *,
        base_url: str,
        api_urls: dict[str, str | None],
        pace: Pace | None = None,
    ) -> None:
        self.lease_id = new_id()
        self._database = database
        self._vault = vault
        self._session = session
        self._metrics = metrics
        self._base_url = base_url
        self._api_urls = api_urls
        self._pace = pace or Pace()

    async def claim(self, limit: int) -> list[Turn]:
        """Take up to `limit` due entries; those about to be sent are `sending` from now on."""
        deadline = time.monotonic() + self._pace.lease - self._pace.longest_send
        async with self._database.as_service() as db:
            claimed = await queue.claim(db, limit, self.lease_id, self._pace.lease)
            turns = await self._in_turn(db, claimed, deadline)
            await reports.record(
                db,
                [
                    _event(
                        turn.claimed,
                        f"attempt:{turn.claimed.attempts}",
                        "attempt",
                        Status.SENDING,
                        detail={"attempt": turn.claimed.attempts},
                    )
                    for turn in turns
                    if _is_send(turn.claimed)
                ],
            )
        return turns

    async def work(self, turn: Turn) -> None:
        """Bring one entry one step further, and record what came of it."""
        claimed = turn.claimed
        if claimed.external_id is not None or claimed.status in _TAKEN:
            await self._recorded(lambda db: _drop(db, claimed))
        elif claimed.phase == "ask":
            await self._ask(claimed)
        elif claimed.was_leased:
            await self._lost(claimed, "its worker ended before it could say what came of it")
        elif claimed.expires_at is not None and claimed.expires_at <= datetime.now(UTC):
            await self._failed(claimed, "expired", "It was not sent before its expires_at.")
        elif claimed.provider is None or not claimed.is_active:
            await self._failed(
                claimed, "no_sender", "Its sender or provider account was removed or turned off."
            )
        else:
            await self._send(turn)

    async def give_back(self, turns: Sequence[Turn]) -> None:
        """Return entries that were not begun."""
        async with self._database.as_service() as db:
            await self._give_back(db, [turn.claimed for turn in turns])

    async def _send(self, turn: Turn) -> None:
        claimed = turn.claimed
        if claimed.is_test:
            await self._pretend(claimed)
            return
        try:
            account = self._account(claimed)
        except VaultError as error:
            # The operator can put the key back: the message waits for that.
            _log.error("credentials do not open", error=str(error), **_ids(claimed))
            await self._refused_for_now(claimed, RefusedForNow(str(error), code="credentials"))
            return
        await asyncio.sleep(max(0.0, (turn.not_before - datetime.now(UTC)).total_seconds()))
        if time.monotonic() > turn.deadline:
            # Too little of the lease is left (a frozen machine): somebody else may hold it soon.
            await self._recorded(lambda db: self._give_back(db, [claimed]))
            return
        outbound = _outbound(claimed)
        callback = status_url(
            self._base_url, account.provider, account.id, outbound.channel, outbound.message_id
        )
        started = time.perf_counter()
        try:
            sent = await PROVIDERS[account.provider].send.send(
                account, outbound, self._session, callback
            )
        except Refused as error:
            await self._failed(
                claimed, error.code, error.message, opted_out=isinstance(error, OptedOut)
            )
        except RefusedForNow as error:
            await self._refused_for_now(claimed, error)
        except AnswerLost as error:
            await self._lost(claimed, error.message)
        else:
            await self._sent(claimed, sent)
        finally:
            self._metrics.send_took(account.provider, time.perf_counter() - started)

    async def _sent(self, claimed: Claimed, sent: Sent) -> None:
        event = _event(
            claimed,
            f"taken:{sent.external_id}",
            "sent",
            Status.SENT,
            external_id=sent.external_id,
            provider=dict(sent.detail),
        )

        async def save(db: Connection) -> None:
            await self._record(db, claimed, [event])
            early = await reports.take_unmatched(db, [sent.external_id])
            await self._record(db, claimed, early)

        await self._recorded(save)

    async def _pretend(self, claimed: Claimed) -> None:
        """A message of a test key: every step, and no request to anybody."""
        external_id = f"test_{claimed.message_id}"
        await self._recorded(
            lambda db: self._record(
                db,
                claimed,
                [
                    _event(
                        claimed,
                        "taken",
                        "sent",
                        Status.SENT,
                        external_id=external_id,
                        provider={"test": True},
                    ),
                    _event(claimed, "delivered", "delivered", Status.DELIVERED),
                ],
            )
        )

    async def _failed(
        self, claimed: Claimed, code: str | None, message: str, *, opted_out: bool = False
    ) -> None:
        event = _event(
            claimed,
            "failed",
            "failed",
            Status.FAILED,
            error_code=code,
            error_message=message,
            detail={"opted_out": True} if opted_out else None,
        )
        await self._recorded(lambda db: self._record(db, claimed, [event]))
        _log.info("message failed", code=code, **_ids(claimed))

    async def _refused_for_now(self, claimed: Claimed, error: RefusedForNow) -> None:
        if claimed.refusals >= self._pace.most_refusals:
            await self._failed(
                claimed,
                error.code,
                f"The provider did not take it in many attempts: {error.message}",
            )
            return
        wait = _wait(claimed.refusals + 1, error.retry_after)
        until = datetime.now(UTC) + timedelta(seconds=wait)
        event = _event(
            claimed,
            f"refused:{claimed.attempts}",
            "refused_for_now",
            None,
            error_code=error.code,
            error_message=error.message,
            detail={"attempt": claimed.attempts, "next_attempt_at": until.isoformat()},
        )
        await self._postponed(
            claimed, event, until=until, phase="send", refusals=claimed.refusals + 1, asked=0
        )
        _log.info("refused for now", code=error.code, wait=round(wait, 1), **_ids(claimed))

    async def _lost(self, claimed: Claimed, reason: str) -> None:
        event = _event(
            claimed,
            f"lost:{claimed.attempts}",
            "answer_lost",
            Status.UNKNOWN,
            error_message=reason,
            detail={"attempt": claimed.attempts},
        )
        until = datetime.now(UTC) + timedelta(seconds=self._pace.ask_every)
        await self._postponed(
            claimed, event, until=until, phase="ask", refusals=claimed.refusals, asked=0
        )
        _log.warning("answer lost, the provider will be asked", reason=reason, **_ids(claimed))

    async def _ask(self, claimed: Claimed) -> None:
        """Ask the provider whether it has a message whose answer was lost."""
        if claimed.provider is None or claimed.asked >= self._pace.most_questions:
            await self._recorded(lambda db: _drop(db, claimed))
            _log.error("nobody can say what became of it: it stays unknown", **_ids(claimed))
            return
        async with self._database.as_service() as db:
            twin = await queue.has_twin_in_flight(db, claimed.organization_id, claimed.message_id)
        if twin:
            await self._ask_again(claimed, self._pace.twin_wait)
            return
        attempted_at = claimed.attempted_at or claimed.created_at
        try:
            account = self._account(claimed)
            found = await PROVIDERS[account.provider].send.find(
                account, _outbound(claimed), self._session, attempted_at
            )
        except (SendError, VaultError) as error:
            _log.warning("the provider could not be asked", error=str(error), **_ids(claimed))
            await self._ask_again(claimed, min(self._pace.ask_every * (claimed.asked + 1), 300))
            return
        if await self._adopt(claimed, found):
            return
        age = (datetime.now(UTC) - attempted_at).total_seconds()
        if age < self._pace.sure_after:
            await self._ask_again(claimed, self._pace.ask_every)
            return
        event = _event(
            claimed,
            f"not_there:{claimed.attempts}",
            "not_found_at_provider",
            None,
            detail={"attempt": claimed.attempts},
        )
        if claimed.refusals >= self._pace.most_refusals:
            await self._failed(
                claimed, "answer_lost", "The provider never answered, and does not have it."
            )
            return
        await self._postponed(
            claimed,
            event,
            until=datetime.now(UTC),
            phase="send",
            refusals=claimed.refusals + 1,
            asked=0,
        )
        _log.info("the provider does not have it: it is sent once more", **_ids(claimed))

    async def _adopt(self, claimed: Claimed, found: Sequence[Sent]) -> bool:
        for sent in found:
            async with self._database.as_service() as db:
                free = await queue.may_adopt(
                    db, claimed.organization_id, sent.external_id, claimed.message_id
                )
                if free:
                    event = _event(
                        claimed,
                        f"taken:{sent.external_id}",
                        "found_at_provider",
                        Status.SENT,
                        external_id=sent.external_id,
                        provider=dict(sent.detail),
                    )
                    await self._record(db, claimed, [event])
                    early = await reports.take_unmatched(db, [sent.external_id])
                    await self._record(db, claimed, early)
                    return True
        return False

    async def _ask_again(self, claimed: Claimed, seconds: float) -> None:
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        await self._recorded(
            lambda db: queue.postpone(
                db,
                claimed,
                self.lease_id,
                until=until,
                phase="ask",
                refusals=claimed.refusals,
                asked=claimed.asked + 1,
            )
        )

    async def _postponed(
        self,
        claimed: Claimed,
        event: Event,
        *,
        until: datetime,
        phase: str,
        refusals: int,
        asked: int,
    ) -> None:
        async def save(db: Connection) -> None:
            await self._record(db, claimed, [event])
            await queue.postpone(
                db,
                claimed,
                self.lease_id,
                until=until,
                phase=phase,
                refusals=refusals,
                asked=asked,
            )

        await self._recorded(save)

    async def _record(self, db: Connection, claimed: Claimed, events: Sequence[Event]) -> None:
        now = datetime.now(UTC)
        for advance in await reports.record(db, events):
            if advance.status != advance.old_status:
                self._metrics.advanced(
                    Channel(advance.channel),
                    claimed.provider or "none",
                    Status(advance.status),
                    (now - advance.created_at).total_seconds(),
                )

    async def _recorded(self, save: Callable[[Connection], Awaitable[Any]]) -> None:
        """Save an outcome, however long the database is away: it must not be forgotten."""
        wait = 0.1
        while True:
            try:
                async with self._database.as_service() as db:
                    await save(db)
            except DatabaseAway as error:
                _log.warning("the database is away, an outcome waits", error=str(error))
                await asyncio.sleep(wait)
                wait = min(wait * 2, 2.0)
            else:
                return

    async def _in_turn(
        self, db: Connection, claimed: Sequence[Claimed], deadline: float
    ) -> list[Turn]:
        """When each entry may go, at its sender's rate; what has no turn soon is given back."""
        now = datetime.now(UTC)
        turns: list[Turn] = []
        paced: dict[tuple[UUID, UUID, float], list[Claimed]] = defaultdict(list)
        for entry in claimed:
            if _is_send(entry) and entry.rate is not None and entry.sender_id is not None:
                paced[entry.organization_id, entry.sender_id, entry.rate].append(entry)
            else:
                turns.append(Turn(entry, now, deadline))
        # One order for all workers: two that pace the same senders never wait for each other.
        for (organization_id, sender_id, rate), entries in sorted(paced.items()):
            first, granted = await queue.take_turns(
                db, organization_id, sender_id, len(entries), rate
            )
            turns += [
                Turn(entry, first + timedelta(seconds=n / rate), deadline)
                for n, entry in enumerate(entries[:granted])
            ]
            await self._give_back(db, entries[granted:])
        return turns

    async def _give_back(self, db: Connection, entries: Sequence[Claimed]) -> None:
        if entries:
            await queue.give_back(
                db, [(e.organization_id, e.message_id) for e in entries], self.lease_id
            )

    def _account(self, claimed: Claimed) -> Account:
        if claimed.account_id is None or claimed.provider is None or claimed.credentials is None:
            raise VaultError("its provider account was removed")
        return Account(
            id=claimed.account_id,
            organization_id=claimed.organization_id,
            provider=claimed.provider,
            credentials=self._vault.open(claimed.organization_id, claimed.credentials),
            api_url=self._api_urls.get(claimed.provider),
        )


@dataclass(frozen=True, slots=True)
class Turn:
    """A claimed entry, when it may be sent, and (by the monotonic clock) until when."""

    claimed: Claimed
    not_before: datetime
    deadline: float


def _is_send(claimed: Claimed) -> bool:
    return (
        claimed.phase == "send"
        and not claimed.was_leased
        and claimed.external_id is None
        and claimed.status not in _TAKEN
    )


def _wait(refusal: int, retry_after: float | None) -> float:
    """Seconds until the next attempt: as the provider says, else 1-2 s, 2-3 s, 4-5 s ..."""
    if retry_after is not None:
        return max(0.0, retry_after) + random.uniform(0, 0.3)  # noqa: S311 - spreads load only
    state = tenacity.RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
    state.attempt_number = refusal
    return _backoff(state)


def _outbound(claimed: Claimed) -> Outbound:
    return Outbound(
        message_id=claimed.message_id,
        channel=Channel(claimed.channel),
        from_address=claimed.from_address,
        to_address=claimed.to_address,
        content=Content(
            body=claimed.body,
            subject=claimed.subject,
            html_body=claimed.html_body,
            attachments=tuple(Attachment(**a) for a in claimed.attachments or []),
        ),
    )


def _event(
    claimed: Claimed,
    key: str,
    kind: str,
    status: Status | None,
    *,
    external_id: str | None = None,
    error_code: str | None = None,
    error_message: str | None = None,
    detail: dict[str, Any] | None = None,
    provider: dict[str, Any] | None = None,
) -> Event:
    return Event(
        organization_id=claimed.organization_id,
        message_id=claimed.message_id,
        id=event_id(claimed.message_id, key),
        type=kind,
        status=status,
        source="worker",
        occurred_at=datetime.now(UTC),
        external_id=external_id,
        error_code=error_code,
        error_message=error_message,
        detail=detail,
        provider=provider,
    )


async def _drop(db: Connection, claimed: Claimed) -> None:
    await queue.drop(db, claimed.organization_id, claimed.message_id)


def _ids(claimed: Claimed) -> dict[str, str]:
    return {
        "message_id": str(claimed.message_id),
        "organization_id": str(claimed.organization_id),
    }
