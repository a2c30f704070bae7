"""What providers tell us, as values: a request comes in, events come out. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from channels.model import Account, Attachment, Channel, Status


class InvalidSignature(Exception):
    """The request does not prove that it comes from the account's provider.

    The text never holds the expected signature: that would make an oracle.
    """


class Unreadable(Exception):
    """The request is signed, but its form cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookRequest:
    """One request of a provider, exactly as it came.

    `url` is the public URL with the raw query as sent, made from PUBLIC_URL and never from the
    Host header; `event` the last part of its path; `headers` have lower-case names.
    """

    method: str
    url: str
    event: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusReport:
    """The provider says what became of a message.

    Found by `message_id` (ours, carried by the callback URL) or else by `external_id`.
    `status` is None for a word that changes nothing; `word` is the provider's own.
    `key` names the report among those of its message: the same key is the same report, once.
    `occurred_at` is the provider's time, None where it tells none.
    """

    external_id: str | None
    message_id: UUID | None = None
    status: Status | None
    word: str
    key: str
    occurred_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    opted_out: bool = False
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Inbound:
    """Somebody wrote to us; addresses without any prefix, text without NUL."""

    external_id: str
    channel: Channel
    from_address: str
    to_address: str
    body: str
    attachments: tuple[Attachment, ...] = ()
    occurred_at: datetime | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown:
    """Something that this provider says and we do not know: kept raw, answered well."""

    word: str
    detail: Mapping[str, Any] = field(default_factory=dict)


WebhookEvent = StatusReport | Inbound | Unknown


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """The answer that the provider expects once the events are stored."""

    status: int = 204
    content_type: str | None = None
    body: str = ""


class WebhookHalf(Protocol):
    """What `webhooks/<name>.py` offers to `gateway/registry.py`."""

    def verify(self, request: WebhookRequest, account: Account) -> None:
        """Return when the account's provider signed the request; raises `InvalidSignature`."""
        ...

    def parse(self, request: WebhookRequest) -> Sequence[WebhookEvent]:
        """Read a verified request; raises `Unreadable`."""
        ...

    def reply(self, request: WebhookRequest, events: Sequence[WebhookEvent]) -> Reply:
        """The provider's expected answer."""
        ...
