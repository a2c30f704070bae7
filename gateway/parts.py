"""The parts of a message beyond its text, kept in `messages.parts` between accept and dispatch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from channels.frozen import frozen
from channels.model import CallPlan, Content, ProviderTemplate
from gateway.shapes.options import CallOptions

# The text of a stored message in place of the sign-in link, which only the sent mail has.
SIGN_IN = "[the link is in the e-mail itself]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Thread:
    """An e-mail's thread: the ids of earlier mails without <>, the oldest first."""

    references: tuple[str, ...] = ()
    reply_to: str | None = None
    has_unsubscribe: bool = True


@frozen
class Parts:
    """The content of `messages.parts`.

    `window_until` is when WhatsApp's window closes, as known when the message was accepted;
    `outside` is the template to send after that instead of the text, and `outside_text` the text of
    that template (None if an earlier version did not keep it). `sign_in` is the id of the link that
    replaces `SIGN_IN` in the text when the mail is sent. `priority` is the requested one, if it is
    not the normal one: it is needed to send the message again, when it is no longer queued.
    """

    template: ProviderTemplate | None = None
    call: CallPlan | None = None
    thread: Thread | None = None
    quotes: str | None = None
    window_until: AwareDatetime | None = None
    outside: ProviderTemplate | None = None
    outside_text: str | None = None
    sign_in: UUID | None = None
    priority: Literal["high", "bulk"] | None = None

    def as_json(self) -> dict[str, Any] | None:
        """The parts that are set; None for an ordinary message."""
        parts = {
            "template": _template(self.template),
            "call": asdict(self.call) if self.call else None,
            "thread": asdict(self.thread) if self.thread else None,
            "quotes": self.quotes,
            "window_until": self.window_until.isoformat() if self.window_until else None,
            "outside": _template(self.outside),
            "outside_text": self.outside_text,
            "sign_in": str(self.sign_in) if self.sign_in else None,
            "priority": self.priority,
        }
        return {name: value for name, value in parts.items() if value is not None} or None


def mail_id(message_id: UUID, from_address: str) -> str:
    """The Message-ID of an e-mail of ours, without <>: our id in the sender's domain."""
    return f"{message_id}@{from_address.rpartition('@')[2]}"


def as_options(parts: Parts) -> dict[str, Any] | None:
    """The `options` with which a stored message is sent again."""
    if parts.template is not None:
        template = asdict(parts.template)
        return {**template, "components": list(template["components"])}
    if parts.call is not None:
        return asdict(parts.call)
    if parts.thread is not None:
        return {"unsubscribe": parts.thread.has_unsubscribe, "reply_to": parts.thread.reply_to}
    return None


def of_content(content: Content, outside: Content | None = None) -> Parts:
    """The parts of a composed content; `outside` is the content of the template for later."""
    return Parts(
        template=content.template,
        call=content.call,
        outside=outside.template if outside else None,
        outside_text=outside.body if outside else None,
    )


def outside_of_window(body: str, parts: Parts) -> tuple[str, Parts]:
    """Text and parts of a message whose template is sent in place of its `body`."""
    text = body if parts.outside_text is None else parts.outside_text
    return text, replace(
        parts, template=parts.outside, outside=None, outside_text=None, window_until=None
    )


class OddPartsError(ValueError):
    """Another program has changed the parts of a message into a form that we cannot read."""


def read(stored: Mapping[str, Any] | None) -> Parts:
    """The parts of a stored message; raises `OddPartsError`.

    All types are checked, and for calls also the limits of a request: if another program wrote that
    a text is to be repeated a billion times, the worker would die, for every organization.
    """
    if not stored:
        return Parts()
    try:
        parts = _PARTS.validate_python(stored)
        if parts.call is not None:
            CallOptions.model_validate(stored["call"])
    except ValidationError as error:
        raise OddPartsError("it was changed by another program") from error
    return parts


def _template(template: ProviderTemplate | None) -> dict[str, Any] | None:
    return asdict(template) if template else None


_PARTS = TypeAdapter(Parts)
