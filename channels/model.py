"""The vocabulary of everything that is sent: channels, statuses, accounts, contents.

Imports nothing of ours but `frozen`. All values are frozen; their words are those of the
`messages` table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

from channels.frozen import frozen

if TYPE_CHECKING:
    import aiohttp


class Channel(StrEnum):
    """How a message travels; the words of `messages.channel`."""

    EMAIL = "email"
    SMS = "sms"
    WHATSAPP = "whatsapp"
    CALL = "call"


class Direction(StrEnum):
    """Whether a message came in or went out; the words of `messages.direction`."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Status(StrEnum):
    """The status of a message; the words of `messages.status`, lowest first.

    The order itself is defined in SQL (`gateway.status_rank`), the only place that advances a row.
    """

    PENDING = "pending"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SENT = "sent"
    CANCELED = "canceled"
    FAILED = "failed"
    DELIVERED = "delivered"
    READ = "read"
    RECEIVED = "received"


@frozen
class Account:
    """An organization's account at a provider, with its credentials decrypted.

    `api_url` replaces the provider's base URL (by the simulator's), or is None.
    `settings` are those of the organization (`organizations.settings`).
    """

    id: UUID
    organization_id: UUID
    provider: str
    credentials: Mapping[str, str] = field(repr=False)
    api_url: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """A file that goes with a message; `size` in bytes if it is known.

    `content` is the file itself if it is loaded; `content_id` is its name in `cid:` URLs of an HTML
    part.
    """

    url: str = ""
    filename: str | None = None
    content_type: str | None = None
    size: int | None = None
    content: bytes | None = field(default=None, repr=False)
    content_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderTemplate:
    """A template that the provider keeps (WhatsApp), with the values for this message.

    Twilio identifies it by `content_sid`, Meta by `name` and `language`. `variables` are the values
    for its body by name ("1", "2", ... or words); `components` are Meta's other parts (header,
    buttons) in the form of its API.
    """

    content_sid: str | None = None
    name: str | None = None
    language: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    components: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CallPlan:
    """How a text is spoken on the phone.

    `voice` and `language` are the provider's names, `play` is the URL of a recording that is played
    after the text, `repeat` is how often all of it is said, `confirm` is the digit that the person
    is asked to press, `timeout` is how many seconds the phone rings.
    """

    voice: str | None = None
    language: str | None = None
    play: str | None = None
    repeat: int = 1
    confirm: str | None = None
    detect_machine: bool = False
    timeout: int | None = None


@frozen
class Content:
    """The content of a message: rendered, within the channel's limits, ready to be sent."""

    body: str
    subject: str | None = None
    html_body: str | None = None
    attachments: tuple[Attachment, ...] = ()
    template: ProviderTemplate | None = None
    call: CallPlan | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Mail:
    """The headers of an e-mail besides its addresses; ids without <>.

    `references` are in the order of RFC 5322: the oldest first. `unsubscribe_url` accepts the POST
    of RFC 8058.
    """

    message_id: str
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    reply_to: str | None = None
    unsubscribe_url: str | None = None


@frozen
class Outbound:
    """One message on its way to a provider; addresses without any prefix.

    `mail` is set for e-mail; `quotes` is the external id of the message that this one quotes.
    `valid_for` is how many seconds are left until it expires, None if it never does.
    """

    message_id: UUID
    channel: Channel
    from_address: str
    to_address: str
    content: Content
    mail: Mail | None = None
    quotes: str | None = None
    valid_for: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerReport:
    """The status of a message in an answer, in the form of the provider's webhook `event`.

    `body` is that webhook's, as JSON, so that it is read like a report, and mostly equals
    the report that comes later. `at`: when it happened, if the answer says so.
    """

    event: str
    body: Mapping[str, Any]
    at: datetime | None = None


# Bytes of a provider's id: an index of PostgreSQL takes no value of some thousands.
_LONGEST_ID: Final = 1000


@frozen
class Sent:
    """The provider took the message: its id, other details, and its status if the answer has one.

    `reports` is empty if the answer says no more than that the provider has the message.
    `may_differ`: this entry of a provider's list may have another text, which is not shown, or was
    changed. `is_hidden`: it shows no text, or a word in its place.
    """

    external_id: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    reports: tuple[AnswerReport, ...] = ()
    may_differ: bool = False
    is_hidden: bool = False

    @property
    def has_id(self) -> bool:
        """Whether the id is 1 to 1,000 bytes of printable text: no other can be stored."""
        given: object = self.external_id  # whatever the answer had
        if not isinstance(given, str) or not given.isprintable():
            return False
        return 1 <= len(given.encode()) <= _LONGEST_ID


class SendHalf(Protocol):
    """What `channels/providers/<name>.py` offers to `gateway/registry.py`."""

    async def send(
        self,
        account: Account,
        outbound: Outbound,
        session: aiohttp.ClientSession,
        callback_url: str,
        /,
    ) -> Sent:
        """Hand the message to the provider with exactly one request.

        Raises a `channels.errors.SendError`: `Refused`, `RefusedForNow` or `AnswerLost`.
        """
        ...

    async def find(
        self,
        account: Account,
        outbound: Outbound,
        session: aiohttp.ClientSession,
        since: datetime,
        /,
    ) -> list[Sent]:
        """Ask the provider which messages like `outbound` it has taken since then, oldest first.

        The caller leaves out the ids that other messages of ours have. Raises a `SendError`
        if the provider did not answer, `CannotAsk` if it cannot be asked.
        """
        ...
