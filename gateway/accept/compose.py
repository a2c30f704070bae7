"""From a template and its variables, or a text, to the content of a channel."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from channels import call, email, sms, styles, whatsapp
from channels.errors import ContentError
from channels.frozen import frozen
from channels.html import HTML_BYTES
from channels.json_text import as_object
from channels.model import Attachment, CallPlan, Channel, Content, ProviderTemplate
from channels.rendering.renderer import (
    MissingVariables,
    Renderer,
    RendererBusy,
    RenderError,
    TooExpensive,
)
from gateway.problems import FieldError, not_now
from gateway.shapes.options import CallOptions

# From so many characters or tags on, a mail takes longer to compose than to hand to a thread: one
# tag may take 60 microseconds to become text.
_LARGE, _TAGS = 16 * 2**10, 200
# Bytes of a message's rendered options, those of its template and its request together. A worker
# reads messages with twice as much beside their text (queue.sql).
_OPTIONS_BYTES = 128 * 2**10
# How many sources are rendered, in a millisecond or two, before other tasks have their turn.
_AT_ONCE = 32


class ComposeError(Exception):
    """The content cannot be made; `errors` name every reason."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__(", ".join(error.field for error in errors))
        self.errors = errors


@frozen
class Template:
    """A message template as it is stored."""

    id: UUID
    channel: Channel
    subject: str | None
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)


def template_of(
    channel: Channel, row: Mapping[str, Any], given: Mapping[str, Any] | None = None
) -> Template:
    """A stored template, in which the options that are `given` replace its own."""
    own = as_object(row["options"])
    return Template(
        id=row["id"],
        channel=channel,
        subject=row["subject"],
        source=row["content"],
        options={**own, **given} if given else own,
    )


@dataclass(kw_only=True, slots=True)
class Ingredients:
    """What a content is made of: the texts of a request, or those of a rendered template.

    `is_html`: the text comes from a template written in HTML; `is_inlined`: the HTML's styles are
    inlined already. `limit`: the provider's own. Not frozen, because a frozen one takes
    four times as long to make, and every message has one or two.
    """

    text: str | None
    subject: str | None = None
    html_body: str | None = None
    is_html: bool = False
    is_inlined: bool = False
    attachments: Sequence[Attachment] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None


async def compose_template(
    renderer: Renderer,
    template: Template,
    variables: Mapping[str, Any],
    attachments: Sequence[Attachment] = (),
    limit: int | None = None,
    subject: str | None = None,
) -> Content:
    """Render a template into the content of its channel; raises `ComposeError`.

    A `subject` replaces that of the template, and is not rendered. Raises `Problem` 503 if too many
    renderings wait.
    """
    rendering = _Rendering(renderer, variables)
    is_html = template.channel is Channel.EMAIL and email.looks_like_html(template.source)
    text = await rendering.text("template", template.source, html=is_html)
    if template.channel is not Channel.EMAIL:
        subject = None
    elif subject is None and template.subject is not None:
        subject = await rendering.text("template", template.subject)
    options = await rendering.options(template.channel, template.options)
    rendering.raise_errors()
    return await compose_aside(
        renderer,
        template.channel,
        Ingredients(
            text=text,
            subject=subject,
            is_html=is_html,
            attachments=attachments,
            options=options,
            limit=limit,
        ),
        body_field="template",
    )


async def compose_aside(
    renderer: Renderer, channel: Channel, ingredients: Ingredients, *, body_field: str = "body"
) -> Content:
    """`compose`, in a thread if it takes long, so that a mail of megabytes blocks nobody.

    A style sheet that may be expensive is inlined by the renderer's child processes.
    """
    if channel is Channel.EMAIL:
        ingredients = await _inlined(renderer, ingredients, body_field)
    if channel is Channel.EMAIL and _takes_long(
        (ingredients.text or "") + (ingredients.html_body or "")
    ):
        return await asyncio.to_thread(compose, channel, ingredients, body_field=body_field)
    return compose(channel, ingredients, body_field=body_field)


def _takes_long(written: str) -> bool:
    return len(written) > _LARGE or written.count("<") > _TAGS


async def _inlined(renderer: Renderer, ingredients: Ingredients, body_field: str) -> Ingredients:
    """A mail with its styles inlined, unless that is cheap enough to do later, in this process.

    Raises `ComposeError`.
    """
    is_text = ingredients.is_html and not ingredients.html_body
    markup = (ingredients.text if is_text else ingredients.html_body) or ""
    if len(markup) > HTML_BYTES or not styles.is_styled(markup) or styles.is_cheap(markup):
        return ingredients
    try:
        markup = await renderer.inline(markup)
    except RendererBusy as busy:
        raise not_now(str(busy)) from None
    except TooExpensive as error:
        name = body_field if ingredients.is_html else "html_body"
        raise ComposeError(FieldError(name, f"The HTML cannot be used: {error}.")) from None
    if is_text:
        return replace(ingredients, text=markup, is_inlined=True)
    return replace(ingredients, html_body=markup, is_inlined=True)


def compose(channel: Channel, ingredients: Ingredients, *, body_field: str = "body") -> Content:
    """A content within its channel's limits; raises `ComposeError`.

    `body_field` is the field of the request that errors of the text are reported for.
    """
    try:
        if channel is Channel.EMAIL:
            return email.compose(
                subject=ingredients.subject,
                body=ingredients.text,
                html_body=ingredients.html_body,
                attachments=ingredients.attachments,
                is_html=ingredients.is_html,
                is_inlined=ingredients.is_inlined,
                most=ingredients.limit,
            )
        if channel is Channel.WHATSAPP:
            return whatsapp.compose(
                ingredients.text,
                ingredients.attachments,
                provider_template(ingredients.options),
                characters=ingredients.limit or whatsapp.CHARACTERS,
            )
        if channel is Channel.CALL:
            return call.compose(ingredients.text or "", _plan(ingredients.options))
        return sms.compose(ingredients.text or "", ingredients.attachments)
    except ContentError as error:
        raise ComposeError(
            *(
                FieldError(_field(channel, each.field, body_field), each.message)
                for each in (error, *error.others)
            )
        ) from None


def _field(channel: Channel, name: str, body_field: str) -> str:
    """The field of the request that a part of a content came from."""
    name = body_field if name == "body" else name
    return name.replace("call.", "options.", 1) if channel is Channel.CALL else name


def provider_template(options: Mapping[str, Any]) -> ProviderTemplate | None:
    """The provider's template that rendered WhatsApp options name; raises `ContentError`."""
    if not options:
        return None
    variables = dict(options.get("variables") or {})
    wanted = options.get("parameters")
    if wanted is not None and wanted != len(variables):
        raise ContentError(
            "options.variables",
            f"There are {len(variables)} variables; the provider's template has {wanted}.",
        )
    return ProviderTemplate(
        content_sid=options.get("content_sid"),
        name=options.get("name"),
        language=options.get("language"),
        variables=variables,
        components=tuple(options.get("components") or ()),
    )


def _plan(options: Mapping[str, Any]) -> CallPlan:
    return CallPlan(**CallOptions.model_validate(dict(options)).model_dump())


class _Rendering:
    """Renders the sources of one message, and collects everything that is wrong with them."""

    def __init__(self, renderer: Renderer, variables: Mapping[str, Any]) -> None:
        self._renderer = renderer
        self._variables = variables
        self._missing: dict[str, None] = {}
        self._errors: list[FieldError] = []
        self._count = 0
        self._options_left = _OPTIONS_BYTES

    async def text(self, name: str, source: str, *, html: bool = False) -> str:
        """The rendered text of a source; empty, with the error noted, if it cannot be rendered.

        Raises `ComposeError` at once for a source that is too expensive: each takes about a second,
        and there may be a thousand.
        """
        self._count += 1
        if self._count % _AT_ONCE == 0:
            await asyncio.sleep(0)
        try:
            return await self._renderer.render(source, self._variables, html=html)
        except MissingVariables as missing:
            self._missing.update(dict.fromkeys(missing.names))
        except RendererBusy as busy:
            raise not_now(str(busy)) from None
        except TooExpensive as error:
            self._errors.append(FieldError(name, str(error)))
            self.raise_errors()
        except RenderError as error:
            self._errors.append(FieldError(name, str(error)))
        return ""

    async def options(self, channel: Channel, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Options with the sources in them rendered."""
        if channel is not Channel.WHATSAPP or not given:
            return given
        rendered = dict(given)
        for name in ("variables", "components"):
            if given.get(name):
                rendered[name] = await self._all(f"options.{name}", given[name])
        return rendered

    def raise_errors(self) -> None:
        """Raise `ComposeError` if anything was wrong."""
        missing = [
            FieldError(f"variables.{name}", "is missing, the template uses it")
            for name in self._missing
        ]
        if missing or self._errors:
            raise ComposeError(*missing, *self._errors)

    async def _all(self, name: str, value: Any) -> Any:  # noqa: ANN401 - any JSON
        if isinstance(value, str):
            text = await self.text(name, value)
            self._options_left -= len(text.encode())
            if self._options_left < 0:
                says = f"come to more than {_OPTIONS_BYTES >> 10} KiB once they are rendered"
                raise ComposeError(FieldError("options", says))
            return text
        if isinstance(value, Mapping):
            return {k: await self._all(f"{name}.{k}", v) for k, v in value.items()}
        if isinstance(value, list):
            return [await self._all(f"{name}.{n}", v) for n, v in enumerate(value)]
        return value
