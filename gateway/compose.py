"""From a template and its variables, or a text, to the content of a channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from channels import sms
from channels.errors import ContentError
from channels.model import Channel, Content
from channels.render import MissingVariables, Renderer, RendererBusy, RenderError
from gateway.problems import FieldError, Problem

BUILT_CHANNELS = (Channel.SMS,)


class ComposeError(Exception):
    """A content cannot be made; names every reason."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__(", ".join(error.field for error in errors))
        self.errors = errors


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """A message template as it is stored."""

    id: UUID
    channel: Channel
    subject: str | None
    source: str


async def compose_template(
    renderer: Renderer, template: Template, variables: Mapping[str, Any]
) -> Content:
    """Render a template into the content of its channel; raises `ComposeError`.

    Raises `Problem` 503 when too many renderings wait.
    """
    try:
        text = await renderer.render(template.source, variables)
    except MissingVariables as missing:
        raise ComposeError(
            *(
                FieldError(f"variables.{name}", "is missing, the template uses it")
                for name in missing.names
            )
        ) from None
    except RendererBusy as busy:
        raise Problem(503, str(busy), headers={"Retry-After": "1"}) from None
    except RenderError as error:
        raise ComposeError(FieldError("template", str(error))) from None
    return compose(template.channel, text, field="template")


def compose(channel: Channel, text: str, *, field: str = "body") -> Content:
    """A text as the content of a channel, within its limits; raises `ComposeError`."""
    if channel is not Channel.SMS:
        raise ComposeError(FieldError("channel", f"{channel} is not built yet"))
    try:
        return sms.compose(text)
    except ContentError as error:
        raise ComposeError(FieldError(field, error.message)) from None
