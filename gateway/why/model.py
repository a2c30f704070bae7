"""The values from which an explanation is made, and the explanation itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from channels.json_text import as_object
from gateway.registry import PROVIDERS
from gateway.why.words import name_of

Row = Mapping[str, Any]
# What became of a message, and what to do next, if anything: `summary` and `advice`.
Answer = tuple[str, str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why a message failed, and what to do: for readers without technical knowledge."""

    text: str
    advice: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Queued:
    """A message's place in the queue; `phase` is `send` or `ask`.

    `is_held`: a worker has it now. `was_held`: a worker had it, and its lease has run out.
    `is_paced`: its sender has a limit of messages per second.
    """

    phase: str
    run_at: datetime
    attempts: int
    refusals: int
    is_held: bool = False
    was_held: bool = False
    is_paced: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file of a message; `state` is `waiting`, `stored`, or `failed` with a `reason`."""

    filename: str | None
    state: str
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Other:
    """A message related to this one: a retry with its status, or the next in the conversation."""

    id: UUID
    created_at: datetime
    status: str | None = None


def named_in(event: Row) -> str | None:
    """The provider that reported an event, or that the worker named in an event of its own."""
    named = event["source"] if event["source"] in PROVIDERS else event["detail"].get("provider")
    return named if isinstance(named, str) and named in PROVIDERS else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """All that is known about one message.

    `message` has the columns of GET /v1/messages/{id}, `events` those of its events, oldest first
    (`is_cut`: the oldest are missing). `now` is the database's time. `provider` is the one that the
    sender has now; one that an event names takes precedence. `contact` is the name of the other
    side, `contact_kind` is `lead` or `client` if it is one. `suppressions` are the reasons why the
    other side must not be written to on this channel. `can_leave`: our address and its account
    exist and are active. `next` is the first message in the other direction after this one;
    `is_answer`: it says itself that it answers this one.
    """

    message: Row
    now: datetime
    events: Sequence[Row] = ()
    is_cut: bool = False
    provider: str | None = None
    contact: str | None = None
    contact_kind: str | None = None
    queued: Queued | None = None
    suppressions: Sequence[str] = ()
    can_leave: bool = True
    files: Sequence[File] = ()
    retries: Sequence[Other] = ()
    next: Other | None = None
    is_answer: bool = False

    @property
    def channel(self) -> str:
        """The channel, as in `messages.channel`."""
        return str(self.message["channel"])

    @property
    def carrier(self) -> str | None:
        """The provider that had the message last, or else the one that the sender has now."""
        named = (named_in(event) for event in reversed(self.events))
        return next((provider for provider in named if provider), self.provider)

    @property
    def who(self) -> str:
        """The carrier's name for use within a sentence."""
        return name_of(self.carrier)

    @property
    def metadata(self) -> Row:
        """The message's metadata; empty if another program has stored other JSON there."""
        return as_object(self.message["metadata"])

    @property
    def is_test(self) -> bool:
        """Whether a test key sent it."""
        return self.provider_detail.get("test") is True

    @property
    def provider_detail(self) -> Row:
        """What the provider has said about the message besides its events."""
        return as_object(self.metadata.get("provider"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing that happened, in plain words: `source` reported it, `detail` is technical."""

    at: datetime
    text: str
    source: str
    detail: Mapping[str, str] = field(default_factory=dict)

    @property
    def other(self) -> UUID | None:
        """The other message that it is about, if any; ids of providers do not count."""
        if self.source != "gateway" and self.detail.get("type") != "fallback":
            return None
        try:
            return UUID(self.detail.get("message_id"))
        except (TypeError, ValueError):
            return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What happened to a message: its state, what to do next (if anything), and its timeline."""

    summary: str
    advice: str | None
    timeline: tuple[Step, ...] = ()
