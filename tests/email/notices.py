"""Reads bounces and complaints that arrive as mails."""

from typing import Any
from uuid import UUID

from webhooks import mail
from webhooks.model import StatusReport, WebhookEvent

ID = UUID("0192f0c1-2345-7000-8000-000000000001")
OURS = f"{ID}@example.com"


def events(raw: bytes, **more: Any) -> list[WebhookEvent]:
    """The events in a mail."""
    return mail.events(raw, provider="smtp", **more)


def report(raw: bytes) -> StatusReport:
    """The first event of a mail, which must be a status report."""
    found = events(raw)[0]
    assert isinstance(found, StatusReport)
    return found
