"""Messages, and what happened to them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from channels.model import Channel, Direction, Status
from gateway.shapes.base import (
    Answer,
    Integer,
    JsonObject,
    Line,
    Moment,
    PageQuery,
    ProblemAnswer,
    Shape,
    Text,
    Url,
    without_nul,
)


class AttachmentIn(Shape):
    """A file, by URL or inline."""

    url: Url | None = None
    content: str | None = None
    filename: Line | None = None
    content_type: Line | None = None


class FallbackStep(Shape):
    """What to send if the message before it has failed, or has not got far enough in time.

    Its errors are named with those of the request. It is sent from the channel's default sender,
    without the first message's `html_body`, `attachments` and `options`. An e-mail with a `body`
    has the request's `subject`, or else the first line of its text as its subject.
    """

    channel: Channel
    to: Line | None = Field(
        None,
        description="default: the same number, or the address of the same lead or client",
    )
    template: Line | None = Field(
        None, description="of this channel's type; it gets the request's `variables`"
    )
    body: Text | None = Field(
        None, description="default, where there is no template either: the first message's text"
    )
    after: Integer = Field(
        ge=0,
        le=604_800,
        description="seconds that the message before it has, from when it may leave; one that "
        "fails is followed at once, one that has not left by then leaves no more",
    )
    until: Literal["delivered", "read"] = Field(
        "delivered",
        description="what that message has to reach in time: read counts as delivered. Nothing "
        "but WhatsApp and e-mail is ever `read`",
    )


class SendRequest(Shape):
    """A message to send: an address or a contact, a template or a text."""

    channel: Channel
    to: Line | None = Field(
        None,
        description="an e-mail address; or a phone number in E.164, or a national one in the "
        "organization's country; on WhatsApp also a user id",
    )
    from_: Line | None = Field(
        None, alias="from", description="a sender's address; default: the channel's default sender"
    )
    template: Line | None = Field(
        None,
        description="name or id of an active template; on WhatsApp also beside a `body`, in place "
        "of which it leaves where more than 24 hours have passed since they last wrote: the "
        "message then has the template's text as its `body`, and no `attachments`",
    )
    variables: dict[str, Any] = Field(default_factory=dict)
    body: Text | None = None
    subject: Text | None = Field(
        default=None, description="of an e-mail; in place of a `template`'s own, and never rendered"
    )
    html_body: Text | None = None
    attachments: list[AttachmentIn] | None = None
    options: JsonObject | None = Field(
        None, description="what the channel can be told beyond the text, over the template's own"
    )
    in_reply_to: UUID | None = Field(
        None,
        description="the message that this one answers (e-mail) or quotes (WhatsApp through Meta, "
        "of what Meta carried); 422 where the sender's provider quotes none",
    )
    lead_id: UUID | None = None
    client_id: UUID | None = None
    send_at: Moment | None = Field(None, description="not before")
    expires_at: Moment | None = Field(None, description="not after")
    priority: Literal["high", "normal", "bulk"] = "normal"
    fallback: list[FallbackStep] | None = Field(
        None,
        max_length=5,
        description="what is sent instead, step by step, while the message before has failed or "
        "is not there in time. Each is a message of its own, with `metadata.fallback_of`, this "
        "request's `reference`, `metadata` and `expires_at`; all together have at most 1 MiB. To "
        "cancel a message ends it",
    )
    reference: Annotated[str, Field(max_length=255), AfterValidator(without_nul)] | None = None
    metadata: JsonObject = Field(default_factory=dict)


class BatchRequest(Shape):
    """Up to 1,000 messages; each is judged by itself."""

    messages: list[SendRequest] = Field(min_length=1, max_length=1000)


class Message(Answer):
    """One row of `messages`."""

    id: UUID
    organization_id: UUID
    channel: Channel
    direction: Direction
    from_address: str
    to_address: str
    lead_id: UUID | None
    client_id: UUID | None
    conversation_id: UUID | None
    subject: str | None
    body: str
    html_body: str | None
    attachments: list[dict[str, Any]]
    status: Status
    sent_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None
    failed_at: datetime | None
    error_code: str | None
    error_message: str | None
    external_id: str | None
    template_id: UUID | None
    reference: str | None
    send_at: datetime | None
    expires_at: datetime | None
    retry_of: UUID | None
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class BatchItem(Answer):
    """What became of one message of a batch."""

    status: int
    message: Message | None = None
    problem: ProblemAnswer | None = None


class BatchAnswer(Answer):
    """In the order of the request.

    With an `Idempotency-Key` the answer is kept if at least one message has a 202. The same request
    then gets it again, and messages that were answered 503 are tried again; refused ones must be
    sent under another key. If you send messages that were answered 503 under another key, do not
    repeat this request: they would be stored twice.
    """

    data: list[BatchItem]


class CheckAnswer(Answer):
    """What would be sent, and every reason why it would not."""

    ok: bool
    errors: list[dict[str, str]]
    from_: str | None = Field(alias="from")
    to: str | None
    parts: dict[str, Any] | None = Field(
        description="the rendered parts: `body`, for e-mail `subject` and `html_body`; on "
        "WhatsApp, outside of the 24 hours, those of the `template` beside a `body`"
    )
    encoding: Literal["GSM-7", "UCS-2"] | None
    segments: int | None
    forced_by: str | None = Field(description="the first character that forces UCS-2")


class Event(Answer):
    """One thing that happened to a message."""

    id: UUID
    type: str
    status: Status | None
    occurred_at: datetime
    recorded_at: datetime
    source: str
    detail: dict[str, Any]


class MessageFilters(Shape):
    """Filters; all that are given must hold."""

    channel: Channel | None = None
    direction: Direction | None = None
    status: Status | None = None
    address: Line | None = None
    lead_id: UUID | None = None
    client_id: UUID | None = None
    conversation_id: UUID | None = None
    external_id: Line | None = Field(
        None,
        description="the provider's id; where no message has just that, without <> around it, then "
        "what is before its @, then before its first point, behind which SendGrid appends more",
    )
    reference: Line | None = None
    q: Line | None = Field(
        None,
        description="words that are all in subject and body, or all in the contact's names and "
        'addresses: words, "phrases", beginnings*, -words that are not there, choices with `or`; '
        "422 where the messages of more than 20,000 contacts are asked for in this way",
    )
    since: Moment | None = None
    until: Moment | None = None


class MessageQuery(PageQuery, MessageFilters):
    """One page of the messages that pass the filters; shorter if their texts come to 16 MiB."""


class ExportQuery(MessageFilters):
    """All messages that pass the filters."""

    format: Literal["csv", "jsonl"] = Field(
        "csv", description="`csv` with a header line, or one JSON object a line"
    )
