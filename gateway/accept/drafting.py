"""Drafting: a request to send is read in its context: recipient, sender, text, and what is wrong.

Everything that a batch refers to is read in one round trip, as the caller. For e-mail and WhatsApp
a second one reads how we stand with the recipients: suppressions, window, threads. Every problem of
a request is found, not only the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import UUID

from channels import email, whatsapp
from channels.errors import ContentError
from channels.model import Attachment, Channel, Content, ProviderTemplate
from channels.render import Renderer
from gateway import addresses, registry
from gateway.accept import attachments, judging, recipients, steps, well_formed
from gateway.accept.compose import (
    ComposeError,
    Said,
    Template,
    compose_aside,
    compose_template,
    provider_template,
    render_options,
)
from gateway.accept.draft import Draft
from gateway.accept.known import Known
from gateway.accept.lookups import Lookups
from gateway.accept.pausing import Pauses
from gateway.parts import Parts, Thread, mail_id, of_content
from gateway.problems import FieldError
from gateway.shapes import options
from gateway.shapes.messages import SendRequest
from gateway.store.database import Caller, Database

# For all templates of one call that need a child process.
RENDERING_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Composed:
    content: Content | None = None
    template_id: UUID | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    outside: ProviderTemplate | None = None
    errors: Sequence[FieldError] = ()


class Drafting:
    """Makes drafts; stores nothing."""

    def __init__(
        self, database: Database, renderer: Renderer, *, rendering: float = RENDERING_SECONDS
    ) -> None:
        self._lookups = Lookups(database)
        self._renderer = renderer
        self._rendering = rendering

    async def read(
        self, caller: Caller, requests: Sequence[SendRequest], *, repeats: Parts | None = None
    ) -> list[Draft]:
        """A draft of each request, in order; a retry repeats the `Parts` of the failed message."""
        if not requests:
            return []
        pauses = Pauses()
        known = await self._lookups.known(caller, await _sought(requests, pauses))
        now = datetime.now(UTC)
        renderer = self._renderer.within(self._rendering, caller.organization_id)
        read: list[SendRequest] = []  # each request, and behind it its steps
        drafts: list[Draft] = []
        for request in requests:
            draft = await self._read(request, known, now, renderer)
            if repeats is not None:
                said = replace(draft.parts, quotes=repeats.quotes, outside=repeats.outside)
                draft = replace(draft, parts=said)
            read.append(request)
            drafts.append(draft)
            if pauses.are_due:
                await pauses.take()
            for step in request.fallback or ():
                read.append(steps.request_of(step, request, draft, known))
                drafts.append(await self._read(read[-1], known, now, renderer))
                if pauses.are_due:
                    await pauses.take()
        standings = await self._lookups.standings(caller, read, drafts, known)
        judged = (
            judging.judge(each, draft, how, now)
            for each, draft, how in zip(read, drafts, standings, strict=True)
        )
        joined: list[Draft] = []
        for request in requests:
            first, behind = next(judged), list(islice(judged, len(request.fallback or ())))
            joined.append(steps.joined(request, first, behind))
            if pauses.are_due:
                await pauses.take()
        return joined

    async def _read(
        self, request: SendRequest, known: Known, now: datetime, renderer: Renderer
    ) -> Draft:
        errors = well_formed.errors(request, now)
        to_address, contact_errors = recipients.recipient(request, known)
        sender, sender_errors = recipients.sender(request, known)
        provider = sender["provider"] if sender else None
        characters = registry.characters(provider, request.channel)
        composed = await _compose(renderer, request, known, characters)
        lead_id, client_id = recipients.links(request, to_address, known)
        kept = composed.outside or (composed.content.template if composed.content else None)
        errors += [FieldError(*each) for each in registry.unnamed(provider, kept)]
        parts, answer_errors = _answering(request, composed, known)
        return Draft(
            errors=(*errors, *contact_errors, *sender_errors, *composed.errors, *answer_errors),
            from_address=sender["address"] if sender else None,
            to_address=to_address,
            content=composed.content,
            parts=parts,
            lead_id=lead_id,
            client_id=client_id,
            owners=recipients.owners(request, to_address, known),
            template_id=composed.template_id,
            sender_id=sender["id"] if sender else None,
            provider=provider,
        )


async def _sought(requests: Sequence[SendRequest], pauses: Pauses) -> list[SendRequest]:
    """Everything that these requests refer to, their steps, too."""
    sought: list[SendRequest] = []
    for request in requests:
        sought += steps.sought(request)
        if pauses.are_due:
            await pauses.take()
    return sought


async def _compose(
    renderer: Renderer, request: SendRequest, known: Known, characters: int | None
) -> _Composed:
    """What a request says, or everything that is wrong with that."""
    errors: list[FieldError] = []
    template: Template | None = None
    if request.template is not None:
        found = _template(request, known)
        if isinstance(found, FieldError):
            errors.append(found)
        else:
            template = found
    given = {**(template.options if template else {}), **(request.options or {})}
    has_text = request.body is not None or request.html_body is not None
    if wrong := options.check(request.channel, given):
        errors += wrong
        given = {}
        if template is not None:
            template = None if has_text else replace(template, options={})
    files: tuple[Attachment, ...] = ()
    try:
        files = attachments.read(request)
    except ComposeError as error:
        errors += error.errors
    # What is wrong is left out, so that what else is wrong is found, too; but for a blank text,
    # in place of which it may have been given.
    composed = _Composed()
    text = request.body if has_text else template and template.source
    may_lack_text = bool(errors) and request.channel is not Channel.EMAIL
    is_known = has_text or request.template is None or template is not None
    if is_known and not (may_lack_text and not (text or "").strip()):
        try:
            composed = await _said(renderer, request, template, given, files, characters)
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


async def _said(
    renderer: Renderer,
    request: SendRequest,
    template: Template | None,
    given: Mapping[str, Any],
    files: tuple[Attachment, ...],
    characters: int | None,
) -> _Composed:
    if request.body is not None or request.html_body is not None or template is None:
        # A text; on WhatsApp perhaps with a template for when the window is closed.
        if request.body is None and request.html_body is None and not (files or given):
            return _Composed()
        outside = None
        if template is not None and request.channel is Channel.WHATSAPP:
            rendered = await render_options(renderer, request.channel, given, request.variables)
            outside, given = _named_template(rendered), {}
        said = Said(
            text=request.body,
            subject=request.subject,
            html_body=request.html_body,
            attachments=files,
            options=given,
            characters=characters,
        )
        return _Composed(
            content=await compose_aside(renderer, request.channel, said),
            template_id=template.id if template else None,
            options=given,
            outside=outside,
        )
    if request.options or request.subject is not None:
        subject = template.subject if request.subject is None else request.subject
        template = replace(template, options=given, subject=subject)
    content = await compose_template(renderer, template, request.variables, files, characters)
    return _Composed(content=content, template_id=template.id, options=given)


def _template(request: SendRequest, known: Known) -> Template | FieldError:
    wanted = request.template or ""
    rows = known.templates(wanted)
    if not rows:
        return FieldError("template", "there is no active template with that name or id")
    row = next((row for row in rows if row["type"] == request.channel), None)
    if row is None:
        types = " and ".join(sorted({row["type"] for row in rows}))
        text = f"is of type {types}: there is no active one of type {request.channel}"
        return FieldError("template", text)
    if not row["is_active"]:
        return FieldError("template", "is not active")
    return Template(
        id=row["id"],
        channel=request.channel,
        subject=row["subject"],
        source=row["content"],
        options=options.as_object(row["options"]),
    )


def _named_template(rendered: Mapping[str, Any]) -> ProviderTemplate:
    try:
        named = provider_template(rendered)
        # Judged as if it were sent: outside of the window there is nobody to tell.
        whatsapp.compose(None, (), named)
    except ContentError as error:
        raise ComposeError(FieldError(error.field, error.message)) from None
    if named is None:
        text = "names no template of the provider (options), so it cannot replace the body"
        raise ComposeError(FieldError("template", text))
    return named


def _answering(
    request: SendRequest, composed: _Composed, known: Known
) -> tuple[Parts, list[FieldError]]:
    """The parts of a message, with what it answers."""
    errors: list[FieldError] = []
    parts = of_content(composed.content, composed.outside) if composed.content else Parts()
    if request.channel is Channel.EMAIL:
        wanted = composed.options.get("reply_to")
        reply_to = email.to_mailbox(wanted) if wanted is not None else None
        if wanted is not None and reply_to is None:
            text = addresses.invalid(Channel.EMAIL, None)
            errors.append(FieldError("options.reply_to", text))
        has_unsubscribe = composed.options.get("unsubscribe", True)
        parts = replace(parts, thread=Thread(reply_to=reply_to, has_unsubscribe=has_unsubscribe))
    if request.in_reply_to is None:
        return parts, errors
    row = known.answered(request.in_reply_to)
    if row is None or row["channel"] != request.channel:
        text = f"there is no message with that id on {request.channel} in your organization"
        return parts, [*errors, FieldError("in_reply_to", text)]
    if request.channel is Channel.EMAIL and parts.thread is not None:
        own = mail_id(UUID(row["id"]), row["from_address"])
        theirs = row["external_id"] if row["direction"] == "inbound" else None
        thread = replace(parts.thread, references=(theirs or own,))
        return replace(parts, thread=thread), errors
    return replace(parts, quotes=row["external_id"]), errors
