"""The Message resource: https://www.twilio.com/docs/messaging/api/message-resource."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime

from gateway.simulator.callbacks import Delivery
from gateway.simulator.twilio_book import API_VERSION
from gateway.simulator.twilio_rules import channel_of

_PRICE = 0.0079

# Error texts of the resource and the callbacks: https://www.twilio.com/docs/api/errors
MESSAGE_ERRORS = {
    30001: "Queue overflow",
    30002: "Account suspended",
    30003: "Unreachable destination handset",
    30004: "Message blocked",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
    30007: "Carrier violation",
    30008: "Unknown error",
    21610: "Attempt to send to unsubscribed recipient",
    63016: "Failed to send freeform message because you are outside the allowed window.",
}


@dataclass(kw_only=True, slots=True)
class Message:
    """One message of an account, in or out; `serial` grows with every message of the book."""

    serial: int
    sid: str
    account_sid: str
    to: str
    from_: str | None
    body: str
    status: str
    direction: str
    created: datetime
    updated: datetime
    num_segments: int
    service: str | None = None
    media: tuple[str, ...] = ()
    content_sid: str | None = None
    sent: datetime | None = None
    send_at: datetime | None = None
    status_callback: str | None = None
    error_code: int | str | None = None
    callbacks: list[Delivery] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    deleted: bool = False

    @property
    def moment(self) -> datetime | None:
        """The time by which lists are filtered."""
        return self.sent

    @property
    def channel(self) -> str:
        """`sms` or `whatsapp`."""
        return channel_of(self.to)

    @property
    def error_message(self) -> str | None:
        """Twilio's text for the error code, if it has one."""
        code = self.error_code
        return MESSAGE_ERRORS.get(code) if isinstance(code, int) else None

    def advance(self, status: str, now: datetime) -> None:
        """Move on to `status`; the message counts as sent from its first status after the queue."""
        self.status = status
        self.updated = now
        if self.sent is None and status not in {"queued", "accepted", "scheduled", "canceled"}:
            self.sent = now

    def resource(self) -> dict[str, object]:
        """The resource, with strings for numbers as in Twilio's, and dates of RFC 2822."""
        uri = f"/{API_VERSION}/Accounts/{self.account_sid}/Messages/{self.sid}"
        priced = self.sent is not None and self.channel == "sms"
        return {
            "account_sid": self.account_sid,
            "api_version": API_VERSION,
            "body": self.body,
            "date_created": format_datetime(self.created),
            "date_sent": None if self.sent is None else format_datetime(self.sent),
            "date_updated": format_datetime(self.updated),
            "direction": self.direction,
            "error_code": self.error_code,
            "error_message": self.error_message,
            "from": self.from_,
            "messaging_service_sid": self.service,
            "num_media": str(len(self.media)),
            "num_segments": str(self.num_segments),
            "price": f"-{_PRICE * self.num_segments:.5f}" if priced else None,
            "price_unit": "USD" if priced else None,
            "sid": self.sid,
            "status": self.status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": self.to,
            "uri": f"{uri}.json",
        }
