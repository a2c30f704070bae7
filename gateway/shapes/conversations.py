"""Conversations: all messages with one contact, across all channels."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, PlainValidator

from channels.model import Channel
from gateway.shapes.base import Answer, Given, Line, PageQuery, Shape
from gateway.shapes.messages import Message, SendRequest

ConversationStatus = Literal["open", "closed"]


def _assignee(value: str) -> UUID | Literal["me"]:
    # In the errors of a union pydantic names the member: the field would be "assigned_to.uuid".
    try:
        return "me" if value == "me" else UUID(value)
    except ValueError:
        raise ValueError("must be the UUID of a member of staff, or me") from None


Assignee = Annotated[
    UUID | Literal["me"],
    PlainValidator(_assignee, json_schema_input_type=UUID | Literal["me"]),
]


class Contact(Answer):
    """Whom a conversation is with: a lead, a client (or both, of one person), or a stranger."""

    lead_id: UUID | None
    client_id: UUID | None
    name: str | None
    addresses: list[str] = Field(description="as they can be written to, on whatever channel")


class Conversation(Answer):
    """One for each contact; `channels` are those on which something was said."""

    id: UUID
    organization_id: UUID
    contact: Contact
    channels: list[Channel]
    last_message: Message | None
    last_message_at: datetime
    last_inbound_at: datetime | None
    unread_count: int
    status: ConversationStatus
    assigned_to: UUID | None
    created_at: datetime


class ConversationQuery(PageQuery):
    """Filters: all that are given must hold. A page is shorter if the texts of its last messages
    come to 16 MiB."""

    q: Line | None = Field(
        None,
        description="words of the contact's name or addresses, or of what was said lately (the "
        "newest 200 messages that have them), as in `GET /v1/messages`",
    )
    channel: Channel | None = None
    assigned_to: Assignee | None = Field(
        None, description="`auth_users.id` of a member of staff; `me`: the one who asks"
    )
    status: ConversationStatus | None = None
    unread: bool | None = None


class ConversationPatch(Shape):
    """Only what is given changes."""

    status: Given[ConversationStatus] = None
    assigned_to: UUID | None = Field(
        None, description="`auth_users.id` of active staff; null: nobody"
    )
    read: Given[bool] = Field(None, description="true: nothing is unread; false: something is")


class ReplyRequest(SendRequest):
    """A message into this conversation; `channel`, `to` and `from` as in their last message, and
    an e-mail's `subject` after `Re:`."""

    channel: Channel | None = None  # type: ignore[assignment]


class LinkRequest(Shape):
    """Whom the conversation is with; null removes a link, a field that is not given keeps it."""

    lead_id: UUID | None = None
    client_id: UUID | None = None


class MergeRequest(Shape):
    """The conversation that becomes part of this one, with all its messages and addresses."""

    conversation_id: UUID


class UnlinkRequest(Shape):
    """An address of this conversation that is somebody else's."""

    address: Line = Field(min_length=1)
