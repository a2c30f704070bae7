"""What comes in and goes out over HTTP, as pydantic models; OpenAPI is made from them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from channels.model import Channel, Direction, Status

T = TypeVar("T")


def _whole(value: object) -> object:
    # JSON has one kind of number: 7.0 is an integer (JSON Schema says so), "7" is none.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _without_nul(value: str) -> str:
    # PostgreSQL's text holds no U+0000, and UTF-8 no lone surrogate.
    if "\x00" in value:
        raise ValueError("must not contain the character U+0000")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be well-formed Unicode, it has a lone surrogate") from None
    return value


Integer = Annotated[int, BeforeValidator(_whole)]
Text = Annotated[str, AfterValidator(_without_nul)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_without_nul)]
Line = Annotated[str, Field(max_length=1000), AfterValidator(_without_nul)]


class Shape(BaseModel):
    """A request: strict, and nothing that is not named here."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Answer(BaseModel):
    """A response."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Listed(Answer, Generic[T]):
    """One page, newest first; `next_cursor` is null at the end."""

    data: list[T]
    next_cursor: str | None


class ProblemAnswer(Answer):
    """RFC 9457; `errors` with 422."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] | None = None


# Messages


class AttachmentIn(Shape):
    """A file, by URL or inline."""

    url: Line | None = None
    content: str | None = None
    filename: Line | None = None
    content_type: Line | None = None


class FallbackStep(Shape):
    """What to do when the message before it failed, or did not get far enough in time."""

    channel: Channel
    to: Line | None = None
    template: Line | None = None
    body: Text | None = None
    after: Integer = Field(ge=0, description="seconds")
    until: Literal["delivered", "read"] = "delivered"


class SendRequest(Shape):
    """A message to send: an address or a contact, a template or a text."""

    channel: Channel
    to: Line | None = Field(
        None, description="E.164, or a national number in the organization's country"
    )
    from_: Line | None = Field(
        None, alias="from", description="a sender's address; default: the channel's default sender"
    )
    template: Line | None = Field(None, description="name or id of an active template")
    variables: dict[str, Any] = Field(default_factory=dict)
    body: Text | None = None
    subject: Text | None = None
    html_body: Text | None = None
    attachments: list[AttachmentIn] | None = None
    lead_id: UUID | None = None
    client_id: UUID | None = None
    send_at: AwareDatetime | None = Field(None, description="not before")
    expires_at: AwareDatetime | None = Field(None, description="not after")
    priority: Literal["high", "normal", "bulk"] = "normal"
    fallback: list[FallbackStep] | None = None
    reference: Annotated[str, Field(max_length=255), AfterValidator(_without_nul)] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


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
    """In the order of the request."""

    data: list[BatchItem]


class CheckAnswer(Answer):
    """What would be sent, and every reason why it would not."""

    ok: bool
    errors: list[dict[str, str]]
    from_: str | None = Field(alias="from")
    to: str | None
    parts: dict[str, Any] | None = Field(description="the rendered parts, such as `body`")
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


# Templates


class TemplateIn(Shape):
    """A template; `variables` are read from its source."""

    name: Name
    type: Channel
    content: Annotated[str, Field(min_length=1, max_length=100_000), AfterValidator(_without_nul)]
    subject: Line | None = None
    description: Text | None = None
    category: Line | None = None
    is_active: bool = True
    tags: list[Line] = Field(default_factory=list, max_length=100)


class TemplatePatch(Shape):
    """What is to be changed."""

    name: Name | None = None
    type: Channel | None = None
    content: (
        Annotated[str, Field(min_length=1, max_length=100_000), AfterValidator(_without_nul)] | None
    ) = None
    subject: Line | None = None
    description: Text | None = None
    category: Line | None = None
    is_active: bool | None = None
    tags: list[Line] | None = Field(None, max_length=100)


class Template(Answer):
    """One row of `message_templates`."""

    id: UUID
    organization_id: UUID
    name: str
    description: str | None
    type: Channel
    category: str | None
    subject: str | None
    content: str
    variables: list[str]
    is_active: bool
    tags: list[str]
    usage_count: int
    last_used_at: datetime | None
    created_at: datetime
    updated_at: datetime


class RenderRequest(Shape):
    """Variables to try a template with."""

    variables: dict[str, Any] = Field(default_factory=dict)


class RenderAnswer(Answer):
    """The rendered parts, and for SMS what they cost."""

    parts: dict[str, Any]
    encoding: Literal["GSM-7", "UCS-2"] | None
    segments: int | None
    forced_by: str | None


# Leads and clients


class LeadPatch(Shape):
    """Columns of `leads` that a caller may write."""

    first_name: Line | None = None
    last_name: Line | None = None
    email: Line | None = None
    phone: Line | None = None
    source: Line | None = None
    source_details: dict[str, Any] | None = None
    utm_source: Line | None = None
    utm_medium: Line | None = None
    utm_campaign: Line | None = None
    status: Literal["new", "contacted", "qualified", "converted", "lost"] | None = None
    tags: list[Line] | None = None
    lead_score: Annotated[Integer, Field(ge=-(2**31), lt=2**31)] | None = None
    ai_score: float | None = None
    assigned_to: UUID | None = None
    custom_fields: dict[str, Any] | None = None
    notes: Text | None = None


class LeadIn(LeadPatch):
    """A new lead."""


class Lead(Answer):
    """One row of `leads`."""

    id: UUID
    organization_id: UUID
    first_name: str | None
    last_name: str | None
    name: str | None
    email: str | None
    phone: str | None
    source: str | None
    source_details: dict[str, Any] | None
    utm_source: str | None
    utm_medium: str | None
    utm_campaign: str | None
    status: str | None
    tags: list[str] | None
    lead_score: int | None
    ai_score: float | None
    assigned_to: UUID | None
    custom_fields: dict[str, Any] | None
    notes: str | None
    last_contacted_at: datetime | None
    converted_at: datetime | None
    created_at: datetime
    updated_at: datetime


class ClientPatch(Shape):
    """Columns of `clients` that a caller may write."""

    first_name: Line | None = None
    last_name: Line | None = None
    email: Line | None = None
    phone: Line | None = None
    is_active: bool | None = None
    date_of_birth: date | None = None
    gender: Line | None = None
    emergency_contact_name: Line | None = None
    emergency_contact_phone: Line | None = None
    membership_status: Line | None = None
    membership_start_date: date | None = None
    membership_end_date: date | None = None
    custom_fields: dict[str, Any] | None = None
    notes: Text | None = None


class ClientIn(ClientPatch):
    """A new client; the schema wants an e-mail address."""

    email: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_without_nul)]


class Client(Answer):
    """One row of `clients`, without what opens an account."""

    id: UUID
    organization_id: UUID
    first_name: str | None
    last_name: str | None
    name: str | None
    email: str
    phone: str | None
    is_active: bool | None
    email_verified: bool | None
    date_of_birth: date | None
    gender: str | None
    emergency_contact_name: str | None
    emergency_contact_phone: str | None
    membership_status: str | None
    membership_start_date: date | None
    membership_end_date: date | None
    invitation_id: UUID | None
    custom_fields: dict[str, Any] | None
    notes: str | None
    last_login_at: datetime | None
    created_at: datetime
    updated_at: datetime


# Accounts, senders, keys


class AccountIn(Shape):
    """Credentials at a provider; they are written and never read back."""

    provider: Line
    name: Name | None = None
    credentials: dict[str, str]


class AccountPatch(Shape):
    """What is to be changed; credentials are replaced as a whole."""

    name: Name | None = None
    is_active: bool | None = None
    credentials: dict[str, str] | None = None


class Account(Answer):
    """One provider account; `webhooks` are the URLs to paste at the provider."""

    id: UUID
    organization_id: UUID
    provider: str
    name: str
    is_active: bool
    webhooks: dict[str, str]
    created_at: datetime
    updated_at: datetime


class SenderIn(Shape):
    """An address that the organization sends from."""

    account_id: UUID
    channel: Channel
    address: Line
    is_default: bool = False
    rate: float | None = Field(None, gt=0, description="messages a second at most")


class SenderPatch(Shape):
    """What is to be changed."""

    is_default: bool | None = None
    is_active: bool | None = None
    rate: float | None = Field(None, gt=0)


class Sender(Answer):
    """One sender."""

    id: UUID
    organization_id: UUID
    account_id: UUID
    channel: Channel
    address: str
    is_default: bool
    rate: float | None
    is_active: bool
    created_at: datetime
    updated_at: datetime


class ApiKeyIn(Shape):
    """A key for an internal service; a test key's messages never leave the machine."""

    name: Name = "API key"
    test: bool = False


class ApiKey(Answer):
    """One API key, without the key."""

    id: UUID
    organization_id: UUID
    name: str
    prefix: str
    is_test: bool
    created_at: datetime
    revoked_at: datetime | None


class NewApiKey(ApiKey):
    """The only answer that shows the key."""

    key: str


# Queries


class PageQuery(Shape):
    """`limit` 1 to 200; `cursor` from the page before."""

    limit: Integer = Field(50, ge=1, le=200)
    cursor: str | None = None


class MessageQuery(PageQuery):
    """Filters; all that are given must hold."""

    channel: Channel | None = None
    direction: Direction | None = None
    status: Status | None = None
    address: Line | None = None
    lead_id: UUID | None = None
    client_id: UUID | None = None
    conversation_id: UUID | None = None
    external_id: Line | None = None
    reference: Line | None = None
    q: Line | None = Field(None, description="full text over subject and body")
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class LeadQuery(PageQuery):
    """Filters."""

    status: Line | None = None
    email: Line | None = None


class ClientQuery(PageQuery):
    """Filters."""

    membership_status: Line | None = None
    email: Line | None = None


class TemplateQuery(PageQuery):
    """Filters."""

    type: Channel | None = None
    name: Line | None = None
    is_active: bool | None = None


class SenderQuery(PageQuery):
    """Filters."""

    channel: Channel | None = None
