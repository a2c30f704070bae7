"""What a provider's answer says beyond the id of a message: read and recorded like a webhook."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from channels.model import Account, AnswerReport, Sent
from gateway.consent import early
from gateway.observability.logs import logger
from gateway.registry import PROVIDERS
from gateway.reported import report_event
from gateway.store.database import Connection
from gateway.store.queue import Claimed
from gateway.store.reports import Event
from webhooks.model import ConsentChange, StatusReport, Unreadable, WebhookEvent, WebhookRequest

_log = logger(__name__)


class ReportsInAnswers:
    """The reports in some answers, and what these and `unmatched` reports say about consent."""

    def __init__(self, batch: Sequence[tuple[Claimed, Sent]], unmatched: Sequence[Event]) -> None:
        self.events: list[Event] = []
        self._changes = early.read(unmatched)
        for claimed, sent in batch:
            if sent.reports:
                self._add(claimed, sent)

    def _add(self, claimed: Claimed, sent: Sent) -> None:
        if claimed.account_id is None or claimed.provider is None:
            return
        account = Account(
            id=claimed.account_id,
            organization_id=claimed.organization_id,
            provider=claimed.provider,
            credentials={},
        )
        for report in sent.reports:
            for each in _read(claimed.provider, report):
                if isinstance(each, StatusReport):
                    self.events.append(report_event(account, each, claimed.message_id))
                elif isinstance(each, ConsentChange):
                    # Dated as in the answer: it may be stored much later, after a START of theirs.
                    change = replace(each, occurred_at=each.occurred_at or report.at)
                    self._changes.setdefault(account.id, (account, []))[1].append(change)

    async def store_consent(self, db: Connection) -> None:
        """Store what the reports say about consent."""
        await early.store(db, self._changes)


def _read(provider: str, report: AnswerReport) -> Sequence[WebhookEvent]:
    """The events that a webhook with the same content would have; none if it cannot be read."""
    try:
        request = WebhookRequest(
            method="POST",
            url="",
            event=report.event,
            headers={"content-type": "application/json"},
            body=json.dumps(report.body).encode(),
        )
        return PROVIDERS[provider].webhook.parse(request)
    except Unreadable:
        return ()
    except Exception:  # noqa: BLE001 - if the send were not recorded, it would be repeated
        _log.exception("what an answer says could not be read", provider=provider)
        return ()
