"""Message templates."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from channels.model import Channel
from gateway.shapes.base import (
    Answer,
    Given,
    JsonObject,
    Line,
    Long,
    Name,
    PageQuery,
    Shape,
    Short,
    without_nul,
)

_OPTIONS = (
    "what the channel needs beyond the text; WhatsApp: the provider's template (content_sid, or "
    "name and language; variables, components, parameters); call: voice, language, play, repeat, "
    "confirm, detect_machine, timeout; e-mail: unsubscribe, reply_to"
)

SOURCE_CHARACTERS = 100_000
Source = Annotated[
    str, Field(min_length=1, max_length=SOURCE_CHARACTERS), AfterValidator(without_nul)
]


class TemplateIn(Shape):
    """A template; `variables` are read from its source."""

    name: Name
    type: Channel
    content: Source
    subject: Line | None = None
    description: Long | None = None
    category: Line | None = None
    is_active: bool = True
    tags: list[Short] = Field(default_factory=list, max_length=100)
    options: JsonObject | None = Field(None, description=_OPTIONS)


class TemplatePatch(Shape):
    """What is to be changed."""

    name: Given[Name] = None
    type: Given[Channel] = None
    content: Given[Source] = None
    subject: Line | None = None
    description: Long | None = None
    category: Line | None = None
    is_active: Given[bool] = None
    tags: Given[Annotated[list[Short], Field(max_length=100)]] = None
    options: JsonObject | None = Field(None, description=_OPTIONS)


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
    options: dict[str, Any] | None
    usage_count: int
    last_used_at: datetime | None
    created_at: datetime
    updated_at: datetime


class RenderRequest(Shape):
    """Variables to try a template with."""

    variables: dict[str, Any] = Field(default_factory=dict)


class RenderAnswer(Answer):
    """The rendered parts, and for SMS the number of segments."""

    parts: dict[str, Any]
    encoding: Literal["GSM-7", "UCS-2"] | None
    segments: int | None
    forced_by: str | None


class TemplateQuery(PageQuery):
    """Filters."""

    type: Channel | None = None
    name: Line | None = None
    is_active: bool | None = None
