"""Receive: signed request → event → row. A 2xx means that everything in it is stored.

One transaction keeps the raw request, appends the events, and advances the rows by the one status
statement; a report about a message that we do not know yet is kept, and applied once we do. Files
in the request are stored before that; files that it only links to are fetched later by a worker.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ParamSpec, TypeVar
from uuid import UUID

from channels.model import Account, Channel
from gateway import placing
from gateway.again import once_more
from gateway.held import Around, Wait
from gateway.lately import Lately
from gateway.media.files import Files
from gateway.observability.logs import logger
from gateway.observability.metrics import Metrics
from gateway.receive import incoming, reading, reporting
from gateway.receive.applying import Applying, events_of
from gateway.receive.arriving import Arriving
from gateway.receive.hook_accounts import HookAccounts
from gateway.receive.incoming import Arrived
from gateway.receive.raw_requests import raw_request
from gateway.receive.recipients import Recipients
from gateway.receive.reporting import Received, Reporting
from gateway.registry import PROVIDERS
from gateway.store import requests
from gateway.store.database import Database
from gateway.store.errors import UNDONE
from gateway.vault import Vault
from webhooks.model import (
    Inbound,
    InvalidSignature,
    NeedsCertificate,
    Reply,
    StatusReport,
    Unknown,
    WebhookEvent,
    WebhookRequest,
)

_log = logger(__name__)

# Certificates that are cached.
_KNOWN_CERTIFICATES = 100
# From so many bytes on, a request takes longer to read than to hand to a thread, and is not stored
# together with others. So is any mail handed to one: a KiB of nothing but tags takes 10 ms to read.
_LARGE = 32 * 2**10
_MAILS = frozenset(event for row in PROVIDERS.values() for event in row.large_events)
# Seconds until it is logged again that events about other senders come to an account's URL: that
# may go on for ever.
_QUIET = 600.0
# Characters that are logged of a sender's id, which in a request may be of any length.
_SHOWN = 64

T = TypeVar("T")
P = ParamSpec("P")


class Receiving:
    """The coordinator of receive."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        metrics: Metrics,
        files: Files,
    ) -> None:
        self._database = database
        self._files = files
        self._metrics = metrics
        self._warned: Lately[tuple[UUID, str]] = Lately()
        self._certificates: dict[str, bytes] = {}
        self._around = Around()
        self._reporting = Reporting(database, metrics)
        self._arriving = Arriving(database, vault, metrics)
        self._applying = Applying(files, self._arriving)
        self._recipients = Recipients(database)

    async def close(self) -> None:
        """Finish the work that goes on after requests were answered."""
        await self._recipients.close()

    async def receive(
        self, account: Account, request: WebhookRequest, accounts: HookAccounts
    ) -> Reply:
        """Verify, parse and store one request; returns the answer that its provider expects.

        Events about the sender of another of the organization's `accounts` are stored for that one.
        Raises `InvalidSignature` or `Unreadable`, with nothing stored.
        """
        row = PROVIDERS[account.provider]
        if row.sender_credential:
            request = replace(request, sender_id=account.credentials.get(row.sender_credential))
        await self.verify(account, request)
        events = await _in_thread(request, reading.read, row, request)
        await self._store(account, request, events)
        others = Counter(
            each.sender_id for each in events_of(events, Unknown) if each.sender_id is not None
        )
        if others:
            await self._store_for_others(account, request, others, accounts)
        return row.webhook.reply(request, events, account)

    async def verify(self, account: Account, request: WebhookRequest) -> None:
        """Return when the account's provider signed the request; raises `InvalidSignature`."""
        half = PROVIDERS[account.provider].webhook
        try:
            await _in_thread(request, half.verify, request, account)
        except NeedsCertificate as needed:
            certificates = {needed.url: await self._certificate(needed.url)}
            half.verify(replace(request, certificates=certificates), account)

    async def _store_for_others(
        self,
        account: Account,
        request: WebhookRequest,
        others: Counter[str],
        accounts: HookAccounts,
    ) -> None:
        """Store the events about other senders for the accounts that have these senders. `others`
        has their numbers; events that no account can have are kept raw, logged and counted."""
        left = dict(others)
        for anew in (False, True):
            found = await accounts.siblings(account, left, anew=anew)
            for sender_id, siblings in found.items():
                about = replace(request, sender_id=sender_id)
                for sibling in siblings:
                    if await self._store_as(sibling, about):
                        del left[sender_id]
                        break
            if not left:
                return
        for sender_id, events in left.items():
            if sender_id in found:
                self._metrics.put_aside(account.provider, "other_secret", events)
                self._warn(account, sender_id, "its account has another secret")
            else:
                self._metrics.put_aside(account.provider, "no_account", events)
                self._warn(account, sender_id, "no account has this sender")

    def _warn(self, account: Account, sender_id: str, reason: str) -> None:
        if (account.id, reason) in self._warned:
            return
        self._warned.add((account.id, reason), _QUIET)
        _log.warning(
            "events are put aside",
            provider=account.provider,
            account_id=str(account.id),
            sender_id=sender_id[:_SHOWN],
            reason=reason,
        )

    async def _store_as(self, account: Account, request: WebhookRequest) -> bool:
        """Store the events about this account's sender, if its own secret verifies the request."""
        try:
            await self.verify(account, request)
        except InvalidSignature:
            return False  # another app's request, whatever it says
        await self.fetched(account, request)
        return True

    async def fetched(self, account: Account, request: WebhookRequest) -> None:
        """Store what a worker fetched from the provider itself; raises `Unreadable`."""
        row = PROVIDERS[account.provider]
        events = await _in_thread(request, reading.read, row, request)
        await self._store(account, request, events)

    async def _store(
        self, account: Account, request: WebhookRequest, events: Sequence[WebhookEvent]
    ) -> None:
        reports = events_of(events, StatusReport)
        received = Received(account, raw_request(account, request), reports)
        await self._store_received(received, request, events)
        self._recipients.learn(account.organization_id, reports)

    async def _store_received(
        self, received: Received, request: WebhookRequest, events: Sequence[WebhookEvent]
    ) -> None:
        account, reports = received.account, received.reports
        rest = len(events) - len(reports) - len(events_of(events, Unknown))
        if not rest:
            await self._reporting.store(received)
            return
        # In a thread if large: the ids are digests that include the files.
        inbound = await _in_thread(request, incoming.by_id, account, events_of(events, Inbound))
        arrived = await self._applying.arrived(account, inbound)
        has_call = any(message.channel is Channel.CALL for message in inbound.values())
        if rest == len(events_of(events, Inbound)) and not has_call and len(request.body) < _LARGE:
            await self._arriving.store(received, arrived)
            return
        await once_more(
            lambda: self._around(lambda wait: self._store_apart(received, events, arrived, wait)),
            UNDONE,
        )

    async def _store_apart(
        self,
        received: Received,
        events: Sequence[WebhookEvent],
        arrived: Sequence[Arrived],
        wait: Wait,
    ) -> None:
        """Store a request that also has events other than messages and reports, in a transaction of
        its own: it locks more rows."""
        organization_id = received.account.organization_id
        async with self._database.as_service(share_of=organization_id, patience=wait.seconds) as db:
            await requests.keep(db, [received.request])
            applied = await self._applying.apply(db, received, events, arrived, waits=wait.for_rows)
        await placing.join(self._database, organization_id, applied.placed)
        reporting.count_and_log(self._metrics, applied.advanced)
        self._arriving.count_and_log(applied.arrived)

    async def _certificate(self, url: str) -> bytes:
        known = self._certificates.get(url)
        if known is None:
            known = await self._files.certificate(url)
            if len(self._certificates) >= _KNOWN_CERTIFICATES:
                self._certificates.clear()
            self._certificates[url] = known
        return known


async def _in_thread(
    request: WebhookRequest, do: Callable[P, T], *args: P.args, **more: P.kwargs
) -> T:
    """Call `do`; in a thread if the request is large or a mail, so that it does not block others:
    even a short mail may take long to read."""
    if len(request.body) < _LARGE and request.event not in _MAILS:
        return do(*args, **more)
    return await asyncio.to_thread(do, *args, **more)
