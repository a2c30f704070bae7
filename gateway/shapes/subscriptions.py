"""Subscriptions: events that are sent to other services."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from gateway.shapes.base import Answer, Given, Line, Shape, Short
from gateway.subscriptions.signing import check_secret


class EventType(StrEnum):
    """The events that can be chosen; events named by providers, such as clicks, come only if none
    is chosen, which means all."""

    ACCEPTED = "message.accepted"
    SENDING = "message.sending"
    UNKNOWN = "message.unknown"
    SENT = "message.sent"
    CANCELED = "message.canceled"
    FAILED = "message.failed"
    DELIVERED = "message.delivered"
    READ = "message.read"
    RECEIVED = "message.received"
    CONVERSATION_UPDATED = "conversation.updated"


def _secret(value: str) -> str:
    check_secret(value)
    return value


Secret = Annotated[
    str,
    Field(max_length=100, description="whsec_ and then 24 to 64 bytes in base64"),
    AfterValidator(_secret),
]
Events = Annotated[
    list[EventType], Field(max_length=50, description="which events are told; none named: all")
]


class SubscriptionIn(Shape):
    """A service that is told of events; without a `secret` one is made."""

    url: Line = Field(description="https, to a public host")
    description: Short | None = None
    events: Events = Field(default_factory=list)
    secret: Secret | None = None


class SubscriptionPatch(Shape):
    """What is to be changed; the former secret also signs for another day."""

    url: Given[Line] = None
    description: Short | None = None
    events: Given[Events] = None
    secret: Given[Secret] = None
    is_active: Given[bool] = None


class Subscription(Answer):
    """One subscription, without its secret; `pending` is how many events are still to be sent."""

    id: UUID
    organization_id: UUID
    url: str
    description: str | None
    events: list[EventType]
    is_active: bool
    disabled_reason: str | None
    former_until: datetime | None = Field(
        description="until then the secret before this one signs, too"
    )
    pending: int
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_error: str | None
    created_at: datetime
    updated_at: datetime


class NewSubscription(Subscription):
    """The only answer that shows the secret."""

    secret: str
