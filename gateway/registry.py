"""PROVIDERS: one row per provider, the only place that names them all.

A row joins the two halves of a provider: how we send (`channels.providers.<name>`) and what it
tells us (`webhooks.<name>`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import webhooks.twilio
from channels import phone
from channels.errors import InvalidCredentials
from channels.model import Channel, SendHalf
from channels.providers import twilio
from webhooks.model import WebhookHalf


class NotPossibleError(ValueError):
    """What was asked of a provider cannot be; `problems` are (field of the request, reason)."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{field} {reason}" for field, reason in problems))
        self.problems = problems


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """One row: what the provider carries, its halves, and its webhooks.

    `status_event` is where reports about a channel's messages go; `retry_suffix` is put behind
    every webhook URL that the provider is given.
    """

    carries: tuple[Channel, ...]
    send: SendHalf
    webhook: WebhookHalf
    check_credentials: Callable[[Mapping[str, str]], dict[str, str]]
    events: tuple[str, ...]
    status_event: Mapping[Channel, str] = field(default_factory=dict)
    retry_suffix: str = ""


PROVIDERS: dict[str, Provider] = {
    "twilio": Provider(
        carries=(Channel.SMS,),
        send=twilio.Twilio(),
        webhook=webhooks.twilio,
        check_credentials=twilio.validate_credentials,
        events=("message", "status"),
        status_event={Channel.SMS: "status"},
        # Twilio retries a 5xx only when the URL's fragment says so
        # https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
        retry_suffix="#rc=5&rp=all",
    ),
}


def webhook_urls(base_url: str, provider: str, account_id: UUID) -> dict[str, str]:
    """The URLs to paste at the provider, complete, by event."""
    row = PROVIDERS[provider]
    return {
        event: f"{base_url}/webhooks/{provider}/{account_id}/{event}{row.retry_suffix}"
        for event in row.events
    }


def status_url(
    base_url: str, provider: str, account_id: UUID, channel: Channel, message_id: UUID
) -> str:
    """Where the provider reports about one message: it carries our id, for early reports."""
    row = PROVIDERS[provider]
    return (
        f"{base_url}/webhooks/{provider}/{account_id}/{row.status_event[channel]}"
        f"?message_id={message_id}{row.retry_suffix}"
    )


def check_credentials(provider: str, given: Mapping[str, str]) -> dict[str, str]:
    """Credentials in their right form; raises `NotPossibleError` that names what is wrong."""
    row = _row(provider)
    try:
        return row.check_credentials(given)
    except InvalidCredentials as error:
        raise NotPossibleError(
            *((f"credentials.{name}", reason) for name, reason in error.problems)
        ) from None


def sender_address(provider: str, channel: Channel, address: str) -> str:
    """A sender's address in its stored form; raises `NotPossibleError`."""
    row = _row(provider)
    if channel not in row.carries:
        carried = ", ".join(row.carries)
        raise NotPossibleError(("channel", f"{provider} carries {carried}, not {channel}"))
    stored = phone.sms_sender(address, None)
    if stored is None:
        reason = (
            "is no sender for SMS: give a number as +15551230001, a short code, or a name of up "
            "to 11 letters and digits"
        )
        raise NotPossibleError(("address", reason))
    return stored


def _row(provider: str) -> Provider:
    if provider not in PROVIDERS:
        known = ", ".join(sorted(PROVIDERS))
        raise NotPossibleError(("provider", f"{provider!r} is not built yet; there is {known}"))
    return PROVIDERS[provider]
