"""A provider's report, from a webhook or in an answer to us, as an event of its message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from channels.model import Account, Status
from gateway.store.reports import Event, event_id
from webhooks.model import StatusReport

# How far a provider's clock may be ahead of ours and still be believed.
_AHEAD = timedelta(days=1)


def report_event(
    account: Account, report: StatusReport, about: UUID, at: datetime | None = None
) -> Event:
    """A report as an event of its message; `at` is when it came, if that is long ago."""
    return Event(
        organization_id=account.organization_id,
        message_id=about,
        id=event_id(about, report_name(report)),
        type=report.word,
        status=report.status,
        source=account.provider,
        occurred_at=believed(report.occurred_at, at) or at,
        external_id=report.external_id,
        error_code=report.error_code,
        error_message=report.error_message,
        detail=dict(report.detail),
        provider=dict(report.provider) or None,
    )


def has_it(event: Event) -> Event:
    """The event that the provider took a message, because it reported its id for it."""
    return Event(
        organization_id=event.organization_id,
        message_id=event.message_id,
        id=event_id(event.message_id, "reported"),
        type="sent",
        status=Status.SENT,
        source="worker",
        occurred_at=event.occurred_at,
        external_id=event.external_id,
        detail={"provider": event.source},
    )


def report_name(report: StatusReport) -> str:
    """What identifies a report: its key, and everything that can change the message.

    A provider may report one thing with two times, or two things in the same second. If the second
    report were dropped as a repetition, the result would depend on which of them came first.
    """
    at = report.occurred_at.timestamp() if report.occurred_at else ""
    name = f"{report.key}\x1f{report.status}\x1f{at}"
    if report.error_code is not None or report.error_message is not None:
        name += f"\x1f{report.error_code}\x1f{report.error_message}"
    if report.provider:
        name += f"\x1f{sorted(report.provider.items())}"
    return name


def believed(given: datetime | None, at: datetime | None = None) -> datetime | None:
    """The provider's time of an event, even if its clock is ahead of ours, so that the order of
    arrival does not matter; None if it is more than a day after now, or after `at`."""
    return None if given is None or given > (at or datetime.now(UTC)) + _AHEAD else given
