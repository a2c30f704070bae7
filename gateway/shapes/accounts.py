"""Provider accounts, senders and API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from channels.model import Channel
from gateway.shapes.base import (
    Answer,
    Given,
    Line,
    Name,
    PageQuery,
    Shape,
)

Rate = Annotated[float, Field(ge=0.001, le=10_000)]


class AccountIn(Shape):
    """Credentials at a provider; they are written and never read back."""

    provider: Line
    name: Name | None = None
    credentials: dict[str, str]


class AccountPatch(Shape):
    """What is to be changed; credentials are replaced as a whole."""

    name: Given[Name] = None
    is_active: Given[bool] = None
    credentials: Given[dict[str, str]] = None


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
    rate: Rate | None = Field(None, description="messages a second at most")


class SenderPatch(Shape):
    """What is to be changed."""

    is_default: Given[bool] = None
    is_active: Given[bool] = None
    rate: Rate | None = None


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


class SenderQuery(PageQuery):
    """Filters."""

    channel: Channel | None = None
