"""Reading: what a request tells, and what people say about consent in the messages that it brings.

The second is read here unless the provider's row says that its half does it: forgotten there, it
would let us write to people who said STOP.
"""

from __future__ import annotations

from collections.abc import Sequence

from channels import consent
from channels.consent import Consent
from gateway.receive.applying import events_of
from gateway.registry import Provider
from webhooks.model import ConsentChange, Inbound, Reason, WebhookEvent, WebhookRequest


def read(row: Provider, request: WebhookRequest) -> Sequence[WebhookEvent]:
    """The events of a verified request of this provider's; raises `Unreadable`."""
    events = row.webhook.parse(request)
    messages = [] if row.reads_consent else events_of(events, Inbound)
    said = [change for each in messages if (change := _said(each)) is not None]
    return [*events, *said] if said else events


def _said(message: Inbound) -> ConsentChange | None:
    """That whoever wrote it wants no more messages, or wants them again."""
    wish = consent.read(message.body, message.channel)
    if wish not in (Consent.STOP, Consent.START):
        return None
    return ConsentChange(
        channel=message.channel,
        reason=Reason.STOP,
        is_lifted=wish is Consent.START,
        address=message.from_address,
        word=wish,
        # No provider's name: a key that a half makes is another one.
        key=f"inbound:{message.external_id}:{wish}",
        occurred_at=message.occurred_at,
        detail={"message": message.external_id, "text": message.body, "to": message.to_address},
    )
