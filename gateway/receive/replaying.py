"""Replaying: kept requests are read again, and those of their events that were lost are stored.

They take the same way as new requests, except for what must happen only once: they are not verified
or kept again, nobody is answered, and nothing that was done since is undone. An event without a
time is dated by its request. Requests are replayed in the order in which they came, each in its own
transaction; a second replay changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from channels.model import Account
from gateway import placing
from gateway.again import once_more
from gateway.held import Around, Wait
from gateway.media.files import Files
from gateway.media.store import MediaStoreError
from gateway.observability.logs import logger
from gateway.observability.metrics import Metrics
from gateway.receive import lost, reading
from gateway.receive.applying import Applied, Applying, events_of
from gateway.receive.arriving import Arriving
from gateway.receive.hook_accounts import HookAccounts
from gateway.receive.reporting import Received
from gateway.registry import PROVIDERS, Provider
from gateway.store import media, requests
from gateway.store.database import Database
from gateway.store.errors import UNDONE, ConflictError, DatabaseAwayError, RefusedError, TrialError
from gateway.store.requests import Kept, RawRequest
from gateway.vault import Vault, VaultError
from webhooks.model import (
    Addition,
    ConsentChange,
    Fetch,
    Inbound,
    Renamed,
    StatusReport,
    Unknown,
    Unreadable,
    WebhookEvent,
    WebhookRequest,
)

_log = logger(__name__)

# How many ids of requests are read at once; their bodies are read one after the other.
_AT_ONCE = 500
# How many failures are listed; all of them are counted.
_LISTED = 20
_BEGINNING, _FIRST = datetime(2000, 1, 1, tzinfo=UTC), UUID(int=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which requests: of `account` (organization, id), received from `since` on and before `until`;
    a trial changes nothing."""

    account: tuple[UUID, UUID] | None = None
    since: datetime | None = None
    until: datetime | None = None
    is_trial: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A request that could not be applied, and why."""

    id: UUID
    account_id: UUID
    received_at: datetime
    reason: str


@dataclass(kw_only=True, slots=True)
class Replayed:
    """What became of the requests, and of the events in them.

    `new` events were not stored before, `known` ones were; `unmatched` ones are reports about
    messages that are not stored, `unknown` ones the gateway does not understand. `reached` is when
    the last request that was looked at was received.
    """

    requests: int = 0
    events: int = 0
    new: int = 0
    known: int = 0
    unmatched: int = 0
    unknown: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    reached: datetime | None = None


class Replaying:
    """Applies kept requests again; `_read_as` as in `lost.inbound`."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        files: Files,
        accounts: HookAccounts,
    ) -> None:
        metrics = Metrics()  # discarded: replayed requests must not be counted as new ones
        self._database = database
        self._accounts = accounts
        self._around = Around()
        self._read_as: dict[UUID, UUID] = {}
        self._applying = Applying(files, Arriving(database, vault, metrics))

    async def replay(
        self, wanted: Wanted, progress: Callable[[Replayed], None] = lambda _: None
    ) -> Replayed:
        """Apply the wanted requests, without those that come meanwhile; `progress` is called after
        each.

        A request that cannot be applied does not stop the others. Raises `DatabaseAwayError`.
        """
        result = Replayed()
        async with self._database.as_service() as db:
            until = await requests.now(db)
        until = min(until, wanted.until or until)
        at, last = wanted.since or _BEGINNING, _FIRST
        while True:
            async with self._database.as_service() as db:
                page = await requests.after(
                    db, at, last, until=until, account=wanted.account, limit=_AT_ONCE
                )
            for kept in page:
                await self._one(kept, result, is_trial=wanted.is_trial)
                progress(result)
            if len(page) < _AT_ONCE:
                return result
            at, last = page[-1].received_at, page[-1].id

    async def _one(self, kept: Kept, result: Replayed, *, is_trial: bool) -> None:
        async with self._database.as_service() as db:
            raw = await requests.get(db, kept.organization_id, kept.id)
        if raw is None:
            return  # it was deleted just now, because of its age
        result.requests += 1
        result.reached = kept.received_at
        try:
            await self._apply(raw, kept.received_at, result, is_trial=is_trial)
        except Exception as error:  # noqa: BLE001 - the others are still applied
            result.failed += 1
            if len(result.failures) < _LISTED:
                result.failures.append(
                    Failure(
                        id=raw.id,
                        account_id=raw.account_id,
                        received_at=kept.received_at,
                        reason=_reason(error, raw),
                    )
                )

    async def _apply(
        self, raw: RawRequest, at: datetime, result: Replayed, *, is_trial: bool
    ) -> None:
        account = await self._accounts.by_id(raw.account_id)
        if account is None:
            if raw.provider in PROVIDERS:
                raise Unreadable("its account was deleted meanwhile")
            raise Unreadable(f"this version has no provider {raw.provider}")
        row = PROVIDERS[account.provider]
        events = reading.read(row, _as_request(raw, row, account))
        of_accounts = [(account, events)]
        others = {each.sender_id for each in events_of(events, Unknown) if each.sender_id}
        found = await self._accounts.siblings(account, others) if others else {}
        taken = set()
        for sender_id, siblings in found.items():
            for sibling in siblings:
                if _is_of_one_app(row, account, sibling):
                    of_accounts.append((sibling, reading.read(row, _as_request(raw, row, sibling))))
                    taken.add(sender_id)
                    break
        unknown = [each for each in events_of(events, Unknown) if each.sender_id not in taken]
        result.events += len(unknown)
        result.unknown += len(unknown)
        for owner, own in of_accounts:
            await self._store(owner, raw, at, own, result, is_trial=is_trial)

    async def _store(
        self,
        account: Account,
        raw: RawRequest,
        at: datetime,
        events: Sequence[WebhookEvent],
        result: Replayed,
        *,
        is_trial: bool,
    ) -> None:
        events = [lost.dated(each, at) for each in events if not isinstance(each, Unknown)]
        inbound: dict[UUID, Inbound] = {}
        files: list[UUID] = []  # of messages that are stored
        others: list[WebhookEvent] = [
            *events_of(events, Renamed),
            *events_of(events, ConsentChange),
        ]
        if any(isinstance(each, Inbound | Fetch) for each in events):
            async with self._database.as_service() as db:
                inbound, files = await lost.inbound(
                    db, account, events_of(events, Inbound), at, self._read_as
                )
                others += await lost.unfetched(db, raw, at, events_of(events, Fetch))
        additions = events_of(events, Addition)
        if is_trial:  # files are stored outside of the transaction, and would not be rolled back
            inbound = {own_id: replace(each, attachments=()) for own_id, each in inbound.items()}
            additions = [replace(each, attachments=()) for each in additions]
        arrived = await self._applying.arrived(account, inbound, at)

        async def store(wait: Wait) -> tuple[Applied, int]:
            with suppress(TrialError):
                async with self._database.as_service(patience=wait.seconds) as db:
                    left = await lost.matched(
                        db, account, events_of(events, StatusReport), additions, at
                    )
                    received = Received(account, raw, left.reported, at)
                    more = [*others, *left.additions]
                    applied = await self._applying.apply(
                        db, received, more, arrived, waits=wait.for_rows
                    )
                    kept_before = [*files, *left.files]
                    await media.fetch_again(db, account.organization_id, account.id, kept_before)
                    if is_trial:
                        raise TrialError
            return applied, left.unmatched

        applied, unmatched = await once_more(lambda: self._around(store), UNDONE)
        if not is_trial:
            await placing.join(self._database, account.organization_id, applied.placed)
        # One change of consent may be stored for several addresses.
        new = min(applied.new, len(events) - unmatched)
        result.events += len(events)
        result.new += new
        result.unmatched += unmatched
        result.known += len(events) - new - unmatched


def _as_request(raw: RawRequest, row: Provider, account: Account) -> WebhookRequest:
    return WebhookRequest(
        method=raw.method,
        url=raw.url,
        event=raw.event,
        headers=raw.headers,
        body=raw.body,
        sender_id=account.credentials.get(row.sender_credential) if row.sender_credential else None,
    )


def _is_of_one_app(row: Provider, account: Account, sibling: Account) -> bool:
    """Whether a sibling's secret would verify the request, too; its signature is not kept."""
    secrets = [
        {own for name in row.app_secrets if (own := each.credentials.get(name))}
        for each in (account, sibling)
    ]
    return not secrets[0].isdisjoint(secrets[1])


def _reason(error: Exception, raw: RawRequest) -> str:
    """Why a request could not be applied, in words for the operator."""
    if isinstance(error, Unreadable):
        return f"it cannot be read: {error}"
    if isinstance(error, ConflictError):
        return "what it is about was changed meanwhile: replay it again"
    if isinstance(error, DatabaseAwayError | RefusedError | MediaStoreError | VaultError):
        return str(error)
    _log.exception(
        "a request cannot be replayed",
        request_id=str(raw.id),
        organization_id=str(raw.organization_id),
        provider=raw.provider,
    )
    return f"the gateway made a mistake ({type(error).__name__}): its log says where"
