"""The vocabulary of everything that is sent: channels, statuses, accounts, contents.

Imports nothing of ours. Values are frozen; the words are those of the `messages` table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

if TYPE_CHECKING:
    import aiohttp


class Channel(StrEnum):
    """How a message travels; the words of `messages.channel`."""

    EMAIL = "email"
    SMS = "sms"
    WHATSAPP = "whatsapp"
    CALL = "call"


class Direction(StrEnum):
    """Whose message it is; the words of `messages.direction`."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Status(StrEnum):
    """What became of a message; the words of `messages.status`, lowest first.

    The order itself lives in SQL (`gateway.status_rank`), the one place that advances a row.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """An organization's credentials at a provider, opened for use.

    `api_url` is another base address of the provider (the simulator), or None for its own.
    """

    id: UUID
    organization_id: UUID
    provider: str
    credentials: Mapping[str, str] = field(repr=False)
    api_url: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """A file that goes with a message; `size` in bytes where it is known."""

    url: str
    filename: str | None = None
    content_type: str | None = None
    size: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What is said: rendered, within the channel's limits, ready to leave."""

    body: str
    subject: str | None = None
    html_body: str | None = None
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Outbound:
    """One message on its way to a provider; addresses without any prefix."""

    message_id: UUID
    channel: Channel
    from_address: str
    to_address: str
    content: Content


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """The provider took the message: its id for it, and what else it told."""

    external_id: str
    detail: Mapping[str, Any] = field(default_factory=dict)


class SendHalf(Protocol):
    """What `channels/providers/<name>.py` offers to `gateway/registry.py`."""

    async def send(
        self,
        account: Account,
        outbound: Outbound,
        session: aiohttp.ClientSession,
        callback_url: str,
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
    ) -> list[Sent]:
        """Ask the provider which messages like `outbound` it has taken since then, oldest first.

        The caller leaves out the ids that other messages of ours have. Raises a `SendError`
        when the provider did not answer.
        """
        ...
