"""Reporting: providers' reports about our messages, those of concurrent requests together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from channels.model import Account, Status
from gateway.batching import Batching
from gateway.consent import early
from gateway.held import ANSWER_SECONDS, Around, Wait
from gateway.lately import Lately
from gateway.observability.logs import info_each, logger
from gateway.observability.metrics import Metrics
from gateway.receive import incoming
from gateway.registry import CARRIED, PROVIDERS
from gateway.reported import has_it, report_event
from gateway.store import kept_reports, reports, requests
from gateway.store.database import Connection, Database
from gateway.store.errors import (
    OF_ITS_ROWS,
    ConflictError,
    DatabaseAwayError,
    HeldError,
    RolledBackError,
)
from gateway.store.reports import Advance
from gateway.store.requests import RawRequest
from webhooks.model import ConsentChange, StatusReport

_log = logger(__name__)

# How many reports one statement takes: `record` searches all of them for each message.
_AT_ONCE = 300
# Seconds to wait for locks while reports are only kept.
_PATIENCE = 4
# The providers whose answers to questions give ids to messages, as reports do.
_ASKED = frozenset(name for name, row in PROVIDERS.items() if row.can_be_asked)

# The account that a report came for, the report, `at` of its request (see `Received`), its message.
_Matched = tuple[Account, StatusReport, datetime | None, UUID]


@dataclass(frozen=True, slots=True)
class Received:
    """One verified request with its reports; `at` is when it came, if that is long ago."""

    account: Account
    request: RawRequest
    reports: Sequence[StatusReport]
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Advanced:
    """How a message advanced, and the provider that reported it."""

    provider: str
    advance: Advance


class Reporting:
    """Stores reports and the requests that they came in."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics
        self._around = Around()
        self._batching = Batching(
            self._store,
            undone=(RolledBackError,),
            held=OF_ITS_ROWS,
            owner=lambda received: received.account.organization_id,
            most=_AT_ONCE,
            lanes=2,
        )
        self._aside = Batching(
            self._put_aside,
            undone=(RolledBackError,),
            held=OF_ITS_ROWS,
            owner=lambda received: received.account.organization_id,
            most=_AT_ONCE,
        )
        # Organizations whose reports could not be applied in time: a worker will apply them.
        self._late: Lately[UUID] = Lately()

    async def store(self, received: Received) -> None:
        """Store a request that contains only reports.

        Raises `DatabaseAwayError`, or `FullError` if too much waits.
        """
        size = max(1, len(received.reports))
        organization_id = received.account.organization_id
        if organization_id in self._late:
            with suppress(HeldError):  # a report with only our own id cannot be kept
                await self._aside(received, size=size)
                return
        try:
            await self._batching(received, size=size)
        except OF_ITS_ROWS as error:
            # Perhaps a trigger of another program waits or is slow. The provider waits only for
            # seconds, and may not come again.
            await self._aside(received, size=size)
            _log.warning("reports are applied later", error=str(error), **_of(received))
            self._late.add(organization_id)

    async def _store(self, batch: Sequence[Received]) -> list[None]:
        try:
            advanced = await self._around(lambda wait: self._store_now(batch, wait))
        except (DatabaseAwayError, ConflictError):
            raise
        except Exception:
            if len(batch) > 1:
                raise  # `Batching` tries each alone
            # Perhaps a trigger of another program on messages. The provider's retries may end
            # before that is fixed, so the reports are kept, and a worker tries to apply them.
            _log.exception("reports could not be applied")
            advanced = []
            await self._put_aside(batch)
        count_and_log(self._metrics, advanced)
        return [None] * len(batch)

    async def _store_now(self, batch: Sequence[Received], wait: Wait) -> list[Advanced]:
        async with self._database.as_service(
            planned_once=True, patience=wait.seconds, seconds=ANSWER_SECONDS
        ) as db:
            await requests.keep(db, [received.request for received in batch])
            return await record(db, batch, waits=wait.for_rows)

    async def _put_aside(self, batch: Sequence[Received]) -> list[None]:
        async with self._database.as_service(patience=_PATIENCE, seconds=ANSWER_SECONDS) as db:
            await requests.keep(db, [received.request for received in batch])
            await record(db, batch, applies=False)
        return [None] * len(batch)


def count_and_log(metrics: Metrics, advanced: Sequence[Advanced]) -> None:
    """Count and log stored reports; called after the commit, because a failed transaction is tried
    again."""
    now = datetime.now(UTC)
    for each in advanced:
        metrics.advanced(each.advance, each.provider, now)
    info_each(_log, "reported", map(_line, advanced))


def _of(received: Received) -> dict[str, str]:
    return {
        "organization_id": str(received.account.organization_id),
        "provider": received.account.provider,
    }


def _line(each: Advanced) -> dict[str, str]:
    return {
        "message_id": str(each.advance.message_id),
        "organization_id": str(each.advance.organization_id),
        "provider": each.provider,
        "status": each.advance.status,
    }


async def record(
    db: Connection,
    batch: Sequence[Received],
    *,
    waits: bool = True,
    applies: bool = True,
    consent: Sequence[ConsentChange] = (),
) -> list[Advanced]:
    """Record the reports of requests; keep those about messages that we do not know yet.

    Without `waits`, reports about locked messages are kept, too, and without `applies` all of them.
    A worker records kept ones as soon as it can, with the changes of `consent` that belong to them.
    Raises `HeldError` for a report without an external id under which it could be kept.
    """
    given = [(each.account, report, each.at) for each in batch for report in each.reports]
    found: dict[int, UUID] = {}
    for start in range(0, len(given), _AT_ONCE):
        some = given[start : start + _AT_ONCE]
        keys = [
            (account.organization_id, account.provider, report.message_id, report.external_id)
            for account, report, _ in some
        ]
        known = await reports.resolve(db, CARRIED, keys, for_good=_ASKED if applies else ())
        found |= {start + n: about for n, about in known.items()}
    advanced: list[Advanced] = []
    if applies:
        matched = [(*given[n], about) for n, about in found.items()]
        advanced = await _record_known(db, matched, waits=waits)
    if not (waits and applies):
        recorded = {each.advance.message_id for each in advanced}
        held = {n: about for n, about in found.items() if about not in recorded}
        if held:
            await _check_that_they_are_found(db, [(*given[n], about) for n, about in held.items()])
        found = {n: about for n, about in found.items() if n not in held}
    unnamed = early.unnamed(consent)
    unmatched = [
        incoming.unmatched(account, report, at, unnamed.get(report.external_id, ()))
        for n, (account, report, at) in enumerate(given)
        if n not in found and report.external_id is not None
    ]
    if unmatched:
        await kept_reports.keep_unmatched(db, unmatched)
    return advanced


async def _check_that_they_are_found(db: Connection, held: Sequence[_Matched]) -> None:
    """Raise `HeldError` for a report that would not be matched with its message if it were kept:
    kept reports are matched only by the provider's id."""
    known = await reports.external_ids(
        db, [(account.organization_id, about) for account, _, _, about in held]
    )
    for account, report, _, about in held:
        its_id = known.get(about)
        if its_id is None and PROVIDERS[account.provider].can_be_asked:
            its_id = report.external_id  # it will be known once the provider is asked
        if report.external_id is None or its_id != report.external_id:
            raise HeldError("another transaction holds the message of a report")


async def _record_known(db: Connection, matched: list[_Matched], *, waits: bool) -> list[Advanced]:
    if len(matched) > _AT_ONCE:
        # Each statement locks its rows in the order of their ids. Sorted like this, several of them
        # do, too, so that two requests about the same messages never deadlock.
        matched.sort(key=lambda each: each[3])
    advanced: list[Advanced] = []
    for start in range(0, len(matched), _AT_ONCE):
        some = matched[start : start + _AT_ONCE]
        events = [report_event(account, report, about, at) for account, report, at, about in some]
        advances = await reports.record(db, events, waits=waits)
        open_ones = {a.message_id for a in advances if a.status == Status.UNKNOWN}
        # Such as a delay, which gives no status: it may be the last report.
        named = {e.message_id: e for e in events if e.message_id in open_ones and e.external_id}
        advances += await reports.record(db, [has_it(event) for event in named.values()])
        providers = {about: account.provider for account, _, _, about in some}
        advanced += [Advanced(providers[advance.message_id], advance) for advance in advances]
    return advanced
