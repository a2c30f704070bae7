"""Reading: the events of a request, and what its messages say about consent.

The latter is read here unless the provider's row says that its own half does it. So a provider that
is added without thinking of it does not let us write to people who said STOP.
"""

from __future__ import annotations

from collections.abc import Sequence

from channels import consent
from channels.consent import Consent
from gateway.receive.applying import events_of
from gateway.registry import Provider
from webhooks.model import ConsentChange, Inbound, Reason, WebhookEvent, WebhookRequest


def read(row: Provider, request: WebhookRequest) -> Sequence[WebhookEvent]:
    """The events of a verified request of this provider; raises `Unreadable`."""
    events = row.webhook.parse(request)
    messages = [] if row.reads_consent else events_of(events, Inbound)
    changes = [change for each in messages if (change := _consent_change(each)) is not None]
    return [*events, *changes] if changes else events


def _consent_change(message: Inbound) -> ConsentChange | None:
    """The wish of a message's author to get no more messages, or to get them again, if any."""
    wish = consent.read(message.body, message.channel)
    if wish not in (Consent.STOP, Consent.START):
        return None
    return ConsentChange(
        channel=message.channel,
        reason=Reason.STOP,
        is_lifted=wish is Consent.START,
        address=message.from_address,
        word=wish,
        # Without the provider's name, which begins the keys that halves make.
        key=f"inbound:{message.external_id}:{wish}",
        occurred_at=message.occurred_at,
        detail={"message": message.external_id, "text": message.body, "to": message.to_address},
    )
