"""The interface of a simulated provider, and the shapes of requests that all of them share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from aiohttp import web
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)

from gateway.simulator.callbacks import Delivery, is_callable_url
from gateway.simulator.plan import null_is_absent

if TYPE_CHECKING:
    from gateway.simulator.accounts import AccountBook


class UnfitError(Exception):
    """A request to `/_sim` that is not possible in the present state; the text says why."""

    def __init__(self, detail: str, *, status: int = 409) -> None:
        """Say `detail` with the HTTP `status`."""
        super().__init__(detail)
        self.detail = detail
        self.status = status


def _callable(url: str) -> str:
    if not is_callable_url(url):
        message = "must be an http or https URL"
        raise ValueError(message)
    return url


WebhookUrl = Annotated[str, AfterValidator(_callable)]


class InboundMedia(BaseModel):
    """A file that comes with an inbound message: a URL (a plain string will do), or base64."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: WebhookUrl | None = None
    content: str | None = None
    content_type: str = "image/jpeg"
    filename: str | None = None
    content_id: str | None = None

    @model_validator(mode="after")
    def _is_there(self) -> InboundMedia:
        if (self.url is None) == (self.content is None):
            message = "needs either url or content"
            raise ValueError(message)
        return self


def _media(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


class InboundBody(BaseModel):
    """The body of `POST /_sim/inbound`.

    `provider` and `account` (the provider's id of the account) say who owns `to`, if several could;
    `profile_name` is WhatsApp's; `params` add fields to the provider's request, or replace them
    (each provider's file says which).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    channel: str
    from_: str = Field(alias="from", min_length=1)
    to: str = Field(min_length=1)
    body: str = ""
    media: tuple[Annotated[InboundMedia, BeforeValidator(_media)], ...] = Field(
        default=(), max_length=10
    )
    provider: str | None = None
    account: str | None = None
    profile_name: str | None = None
    params: dict[str, JsonValue] = Field(default_factory=dict)

    _null_is_absent = model_validator(mode="before")(null_is_absent)

    def text(self, name: str) -> str | None:
        """The parameter `name` if it is a text."""
        value = self.params.get(name)
        return value if isinstance(value, str) else None


class HandshakeBody(BaseModel):
    """The body of `POST /_sim/handshake`: the provider is to verify an account's webhook."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str
    account: str


# Verifies the webhook of an account; returns its answer, and whether that was right.
Handshake = Callable[[str], Awaitable[tuple[Delivery, bool]]]


class Provider(Protocol):
    """One provider: `gateway/simulator/<name>.py`."""

    name: str
    channels: frozenset[str]

    @property
    def accounts(self) -> AccountBook[Any]:
        """Its accounts."""
        ...

    def add_routes(self, app: web.Application) -> None:
        """Answer on the provider's own paths."""
        ...

    def error(self, request: web.Request, status: int) -> web.Response | None:
        """The provider's answer for an HTTP error, None if the path is not the provider's."""
        ...

    def register(self, fields: Mapping[str, Any]) -> dict[str, object]:
        """Accept an account, or replace it; raises pydantic's `ValidationError`."""
        ...

    async def inbound(self, body: InboundBody) -> tuple[str, Delivery]:
        """Somebody writes in; returns the new message's id and the webhook's answer.

        Raises `UnfitError` if no account can receive it.
        """
        ...

    def messages(self) -> list[dict[str, object]]:
        """All its messages, oldest first, with the callbacks made for them."""
        ...

    def forget(self) -> None:
        """Drop accounts and messages."""
        ...
