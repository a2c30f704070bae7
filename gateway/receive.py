"""Receive: signed request → event → row. A 2xx means that everything in it is stored.

One transaction keeps the raw request, appends the events, and moves the rows by the one status
statement; what is about a message that we do not know yet is kept and applied when we do.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from channels import phone
from channels.model import Account, Channel
from gateway.ids import derived_id, new_id
from gateway.logs import logger
from gateway.metrics import Metrics
from gateway.registry import PROVIDERS
from gateway.store import accounts, contacts, messages, reports
from gateway.store.database import Connection, Database, storable
from gateway.store.reports import Advance, Event, RawRequest, event_id, report_id
from gateway.vault import Vault
from webhooks.model import Inbound, Reply, StatusReport, WebhookRequest

_log = logger(__name__)

_ACCOUNT_SECONDS = 5.0
_KNOWN_ACCOUNTS = 10_000
_KEPT_HEADERS = ("content-type", "user-agent", "i-twilio-idempotency-token")


class UnknownHookError(Exception):
    """No such provider, event or account, or an account of another provider."""


@dataclass(frozen=True, slots=True)
class _Known:
    account: Account
    until: float


class Receiving:
    """The coordinator of receive."""

    def __init__(
        self, database: Database, vault: Vault, metrics: Metrics, api_urls: dict[str, str | None]
    ) -> None:
        self._database = database
        self._vault = vault
        self._metrics = metrics
        self._api_urls = api_urls
        self._known: dict[UUID, _Known] = {}

    async def account(self, provider: str, account_id: str, event: str) -> Account:
        """The account that a webhook's path names; raises `UnknownHookError`.

        An account is believed for five seconds: a changed secret counts after that.
        """
        row = PROVIDERS.get(provider)
        if row is None or event not in row.events:
            raise UnknownHookError
        try:
            wanted = UUID(account_id)
        except ValueError:
            raise UnknownHookError from None
        known = self._known.get(wanted)
        if known is None or known.until < time.monotonic():
            known = await self._open(wanted)
        if known.account.provider != provider:
            raise UnknownHookError
        return known.account

    def forget(self, account_id: UUID) -> None:
        """Read an account anew the next time: it was changed."""
        self._known.pop(account_id, None)

    async def receive(self, account: Account, request: WebhookRequest) -> Reply:
        """Verify, read and store one request; the answer that its provider expects.

        Raises `InvalidSignature` or `Unreadable`, with nothing stored.
        """
        half = PROVIDERS[account.provider].webhook
        half.verify(request, account)
        events = half.parse(request)
        async with self._database.as_service() as db:
            await reports.keep_request(db, _raw(account, request))
            inbound = [event for event in events if isinstance(event, Inbound)]
            new = await self._store_inbound(db, account, inbound) if inbound else []
            told = [event for event in events if isinstance(event, StatusReport)]
            advances = await self._store_reports(db, account, told) if told else []
        self._count(account, new, advances)
        return half.reply(request, events)

    def _count(
        self, account: Account, new: Sequence[messages.Row], advances: Sequence[Advance]
    ) -> None:
        """Numbers and log lines for what is stored: a transaction that failed comes again."""
        now = datetime.now(UTC)
        for advance in advances:
            self._metrics.advanced(advance, account.provider, now)
            _log.info(
                "reported",
                message_id=str(advance.message_id),
                organization_id=str(advance.organization_id),
                provider=account.provider,
                status=advance.status,
            )
        for row in new:
            self._metrics.received(Channel(row["channel"]), account.provider)
            _log.info(
                "received",
                message_id=str(row["id"]),
                organization_id=str(account.organization_id),
                provider=account.provider,
            )

    async def _store_reports(
        self, db: Connection, account: Account, told: Sequence[StatusReport]
    ) -> list[Advance]:
        found = await reports.resolve(
            db, account.organization_id, [(r.message_id, r.external_id) for r in told]
        )
        advances = await reports.record(
            db, [_event(account, told[n], message_id) for n, message_id in found.items()]
        )
        unmatched = [
            _unmatched(account, report)
            for n, report in enumerate(told)
            if n not in found and report.external_id is not None
        ]
        if unmatched:
            await reports.keep_unmatched(db, unmatched)
        return advances

    async def _store_inbound(
        self, db: Connection, account: Account, inbound: Sequence[Inbound]
    ) -> list[messages.Row]:
        known = await contacts.by_address(
            db,
            account.organization_id,
            list({tail for i in inbound if (tail := phone.tail(i.from_address))}),
            [],
        )
        rows = [_inbound_row(account, message, known) for message in inbound]
        return await messages.receive(db, account.organization_id, rows)

    async def _open(self, account_id: UUID) -> _Known:
        async with self._database.as_service() as db:
            sealed = await accounts.open_account(db, account_id)
        if sealed is None or sealed.provider not in PROVIDERS:
            raise UnknownHookError
        account = Account(
            id=sealed.id,
            organization_id=sealed.organization_id,
            provider=sealed.provider,
            credentials=self._vault.open(sealed.organization_id, sealed.credentials),
            api_url=self._api_urls.get(sealed.provider),
        )
        if len(self._known) >= _KNOWN_ACCOUNTS:
            self._known.clear()
        known = self._known[account_id] = _Known(account, time.monotonic() + _ACCOUNT_SECONDS)
        return known


def _raw(account: Account, request: WebhookRequest) -> RawRequest:
    return RawRequest(
        organization_id=account.organization_id,
        id=new_id(),
        account_id=account.id,
        provider=account.provider,
        event=request.event,
        method=request.method,
        url=storable(request.url),
        headers={k: storable(v) for k, v in request.headers.items() if k in _KEPT_HEADERS},
        body=request.body,
    )


def _event(account: Account, report: StatusReport, message_id: UUID) -> Event:
    return Event(
        organization_id=account.organization_id,
        message_id=message_id,
        id=event_id(message_id, report.key),
        type=report.word,
        status=report.status,
        source=account.provider,
        occurred_at=report.occurred_at,
        external_id=report.external_id,
        error_code=report.error_code,
        error_message=report.error_message,
        detail=_detail(report),
    )


def _unmatched(account: Account, report: StatusReport) -> dict[str, Any]:
    return {
        "organization_id": account.organization_id,
        "account_id": account.id,
        "external_id": report.external_id,
        "id": report_id(report.key),
        "type": report.word,
        "status": report.status,
        "occurred_at": report.occurred_at or datetime.now(UTC),
        "error_code": report.error_code,
        "error_message": report.error_message,
        "source": account.provider,
        "detail": _detail(report),
    }


def _detail(report: StatusReport) -> dict[str, Any]:
    return dict(report.detail) | ({"opted_out": True} if report.opted_out else {})


def _inbound_row(
    account: Account, message: Inbound, known: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    # The same external id is the same message: its id is derived from it, and the primary key
    # refuses the second.
    message_id = derived_id(account.id, "inbound", message.external_id)
    contact = {"lead": None, "client": None}
    for row in reversed(known):
        if phone.to_e164(row["phone"] or "", row["country"]) == message.from_address:
            contact[row["kind"]] = row["id"]
    return {
        "id": message_id,
        "channel": message.channel,
        "from_address": message.from_address,
        "to_address": message.to_address,
        "lead_id": contact["lead"],
        "client_id": contact["client"],
        "body": message.body,
        "attachments": [
            {
                "url": a.url,
                "filename": a.filename,
                "content_type": a.content_type,
                "size": a.size,
            }
            for a in message.attachments
        ],
        "external_id": message.external_id,
        "provider": dict(message.detail),
        "occurred_at": message.occurred_at,
        "event_id": event_id(message_id, "received"),
        "source": account.provider,
    }
