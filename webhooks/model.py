"""The vocabulary of webhooks: a request comes in, events come out. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol
from uuid import UUID

from channels.frozen import frozen
from channels.model import Account, Attachment, Channel, Status


class InvalidSignature(Exception):
    """The request does not prove that it comes from the account's provider.

    The text never contains the expected signature, with which anybody could sign.
    """


class Unreadable(Exception):
    """The request is signed, but its form cannot be read."""


class NeedsCertificate(Exception):
    """The signature is checked with a certificate that `WebhookRequest.certificates` lacks.

    `url` is one of the provider's own hosts; the caller fetches it and verifies again.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class Reason(StrEnum):
    """Why an address must not be written to; the words of `gateway.suppressions.reason`."""

    STOP = "stop"
    HARD_BOUNCE = "hard_bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    MANUAL = "manual"


@frozen
class WebhookRequest:
    """One request of a provider, exactly as it came.

    `url` is the public URL with the raw query as sent, made from PUBLIC_URL and never from the
    Host header; `event` is the last part of its path; `headers` have lower-case names. `sender_id`
    is the provider's own id of the account's sender, if its credentials name one.
    """

    method: str
    url: str
    event: str
    headers: Mapping[str, str]
    body: bytes
    sender_id: str | None = None
    certificates: Mapping[str, bytes] = field(default_factory=dict, repr=False)


# The `word` of a report without one, such as one that only tells a price.
UNNAMED: Final = "unnamed"


# Unlike the others not frozen: there are thousands a second, and a frozen one takes four times as
# long to make.
@dataclass(kw_only=True, slots=True)
class StatusReport:
    """The provider reports what happened to a message.

    The message is found by `message_id` (ours, carried by the callback URL), or else by
    `external_id`. `status` is None for a word that changes nothing; `word` is the provider's own.
    `key` identifies the report among those of its message: two with the same key, status, time and
    error are the same report, which is stored once.
    `occurred_at` is the provider's time, if it tells one. `recipient` are the addresses of the
    person it went to, if the provider names several.
    """

    external_id: str | None
    message_id: UUID | None = None
    status: Status | None
    word: str
    key: str
    occurred_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    recipient: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)
    provider: Mapping[str, Any] = field(default_factory=dict)


@frozen
class Inbound:
    """Somebody wrote to us; addresses are without any prefix, texts without NUL.

    `html_body` is sanitised. `quotes` is the external id of the message that it answers;
    `references` are the Message-IDs that an e-mail answers, without <>, the nearest first;
    `recipients` are all addresses that it was sent to, one of which may contain our reply token.
    `detail` becomes `metadata.provider`.
    """

    external_id: str
    channel: Channel
    from_address: str
    to_address: str
    body: str
    subject: str | None = None
    html_body: str | None = None
    attachments: tuple[Attachment, ...] = ()
    quotes: str | None = None
    references: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    occurred_at: datetime | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Addition:
    """More of an inbound message: a recording, a transcript.

    `text` becomes the body of a message that has none; the rest is as in `StatusReport`.
    """

    external_id: str
    word: str
    key: str
    text: str | None = None
    attachments: tuple[Attachment, ...] = ()
    occurred_at: datetime | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    provider: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsentChange:
    """An address must not be written to any more, or, with `is_lifted`, may be again.

    If the provider names no address, that of the message with `message_id` (ours) or `external_id`
    is meant. The same `key` is the same change, which is stored once. `is_own`: it lifts only what
    this provider said itself, and with a `group` of the provider only what was said about that
    group. `is_accounts`: the provider has a list for each of its accounts, with groups within it.
    """

    channel: Channel
    reason: Reason
    is_lifted: bool = False
    is_own: bool = False
    group: str | None = None
    is_accounts: bool = False
    address: str | None = None
    message_id: UUID | None = None
    external_id: str | None = None
    word: str
    key: str
    occurred_at: datetime | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Renamed:
    """Somebody has new addresses: suppressions of the former ones hold for the new ones, too.

    The same `key` is the same news, which is stored once.
    """

    channel: Channel
    former: tuple[str, ...]
    addresses: tuple[str, ...]
    word: str
    key: str
    occurred_at: datetime | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetch:
    """Something is to be fetched from the provider, after the webhook was answered, with retries.

    `url` is one of the provider's own API, at its own base address. The answer is parsed as the
    webhook event `fetched` of the same account, or, with `is_visit`, ignored. `after` is in
    seconds. The same `key` is the same errand, which is stored once.
    """

    url: str
    key: str
    after: float = 0.0
    is_visit: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown:
    """Something that we do not understand: the request is kept raw, and answered with success.

    `sender_id` is the provider's own id of the sender that it is about, if that is another one than
    `WebhookRequest.sender_id`: it may belong to another account.
    """

    word: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    sender_id: str | None = None


WebhookEvent = StatusReport | Inbound | Addition | ConsentChange | Renamed | Fetch | Unknown


@frozen
class Reply:
    """The answer that the provider expects once the events are stored."""

    status: int = 204
    content_type: str | None = None
    body: str = ""


def ok(_request: WebhookRequest, _events: Sequence[WebhookEvent], _account: Account, /) -> Reply:
    """The `reply` of a half whose provider only looks at the status."""
    return Reply(status=200)


class WebhookHalf(Protocol):
    """What `webhooks/<name>.py` offers to `gateway/registry.py`."""

    def verify(self, request: WebhookRequest, account: Account) -> None:
        """Return if the account's provider signed the request.

        Otherwise raises `InvalidSignature`, or `NeedsCertificate`.
        """
        ...

    def parse(self, request: WebhookRequest) -> Sequence[WebhookEvent]:
        """Read a verified request; raises `Unreadable`."""
        ...

    def reply(
        self, request: WebhookRequest, events: Sequence[WebhookEvent], account: Account, /
    ) -> Reply:
        """The answer that the provider expects."""
        ...
