"""The content of each request, from its text or template, or all that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any
from uuid import UUID

from channels.frozen import frozen
from channels.model import Attachment, Channel, Content
from channels.rendering.renderer import Renderer
from gateway.accept import attachments
from gateway.accept.compose import (
    ComposeError,
    Ingredients,
    Template,
    compose_aside,
    compose_template,
    template_of,
)
from gateway.accept.known import Known
from gateway.problems import FieldError
from gateway.shapes import options
from gateway.shapes.messages import SendRequest


@frozen
class Composed:
    """The content of a request; `outside` is sent instead once WhatsApp's window has closed."""

    content: Content | None = None
    template_id: UUID | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    outside: Content | None = None
    errors: Sequence[FieldError] = ()


async def compose(
    renderer: Renderer, request: SendRequest, known: Known, limit: int | None
) -> Composed:
    """The content of a request, or everything that is wrong with it."""
    template, errors = _template(request, known)
    given = template.options if template is not None else request.options or {}
    has_text = request.body is not None or request.html_body is not None
    if wrong := options.check(request.channel, given):
        errors += wrong
        given = options.without(request.channel, given, wrong)
        template = replace(template, options=given) if template is not None else None
    elif has_text and template is not None and request.channel is Channel.WHATSAPP and not given:
        says = "names no template of the provider (options), so it cannot replace the body"
        errors.append(FieldError("template", says))
    if why := attachments.unplayable(options.played(given), known.files):
        errors.append(FieldError("options.play", why))
    files: tuple[Attachment, ...] = ()
    try:
        files = attachments.read(request, known.files)
    except ComposeError as error:
        errors += error.errors
    # Whatever is wrong is left out, so that other errors are found, too. But then a blank text is
    # no error: what was left out may have been given in place of it.
    composed = Composed()
    text = request.body if has_text else template and template.source
    may_lack_text = bool(errors) and request.channel is not Channel.EMAIL
    is_known = has_text or request.template is None or template is not None
    if is_known and not (may_lack_text and not (text or "").strip()):
        ingredients = Ingredients(
            text=request.body,
            subject=request.subject,
            html_body=request.html_body,
            attachments=files,
            options=given,
            limit=limit,
        )
        try:
            composed = await _text_or_template(renderer, request, template, ingredients)
        except ComposeError as error:
            errors += error.errors
    if not errors:
        return composed
    is_meant = not wrong and (template is not None or request.template is None)
    return replace(
        composed,
        content=composed.content if is_meant else None,
        options=given,
        errors=errors,
    )


async def _text_or_template(
    renderer: Renderer, request: SendRequest, template: Template | None, ingredients: Ingredients
) -> Composed:
    has_text = ingredients.text is not None or ingredients.html_body is not None
    if has_text or (template is None and (ingredients.attachments or ingredients.options)):
        return await _text(renderer, request, template, ingredients)
    if template is None:
        return Composed()
    content = await compose_template(
        renderer,
        template,
        request.variables,
        ingredients.attachments,
        ingredients.limit,
        ingredients.subject,
    )
    return Composed(content=content, template_id=template.id, options=ingredients.options)


async def _text(
    renderer: Renderer, request: SendRequest, template: Template | None, ingredients: Ingredients
) -> Composed:
    """A text; on WhatsApp perhaps with a template for when the window is closed.

    The template is checked now: later there is nobody to report errors to.
    """
    outside: Content | None = None
    errors: list[FieldError] = []
    if template is not None and request.channel is Channel.WHATSAPP:
        ingredients = replace(ingredients, options={})  # they are the template's
        if template.options or template.source.strip():
            try:
                outside = await compose_template(
                    renderer, template, request.variables, limit=ingredients.limit
                )
            except ComposeError as error:
                errors += error.errors
    content = None
    try:
        content = await compose_aside(renderer, request.channel, ingredients)
    except ComposeError as error:
        errors += error.errors
    if errors:
        raise ComposeError(*errors)
    return Composed(
        content=content,
        template_id=template.id if template else None,
        options=ingredients.options,
        outside=outside,
    )


def _template(request: SendRequest, known: Known) -> tuple[Template | None, list[FieldError]]:
    """The template that a request names, with the request's options over its own."""
    if request.template is None:
        return None, []
    rows = known.templates(request.template)
    row = next((row for row in rows if row["type"] == request.channel), None)
    if row is not None and row["is_active"] and not row["is_too_large"]:
        return template_of(request.channel, row, request.options), []
    if not rows:
        text = "there is no active template with that name or id"
    elif row is None:
        types = " and ".join(sorted({row["type"] for row in rows}))
        text = f"is of type {types}: there is no active one of type {request.channel}"
    elif row["is_active"]:
        text = "has options too large to be read: all templates of a request have 4 MiB at most"
    else:
        text = "is not active"
    return None, [FieldError("template", text)]
