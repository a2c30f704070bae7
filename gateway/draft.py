"""Reading a request to send in its context: to whom, from where, with what text, and what is wrong.

Everything that a batch refers to is read in one round trip, as the caller; every problem of a
request is found, not only the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from channels import phone, sms
from channels.model import Channel, Content
from channels.render import Renderer
from gateway.api.shapes.messages import SendRequest
from gateway.compose import BUILT_CHANNELS, ComposeError, Template, compose, compose_template
from gateway.problems import FieldError
from gateway.store import contacts
from gateway.store.contacts import Context, Row
from gateway.store.database import Caller, Database


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A request that has been read: what would be stored, and every reason why it will not be."""

    errors: tuple[FieldError, ...]
    from_address: str | None = None
    to_address: str | None = None
    content: Content | None = None
    lead_id: UUID | None = None
    client_id: UUID | None = None
    template_id: UUID | None = None
    sender_id: UUID | None = None
    provider: str | None = None


class Drafting:
    """Makes drafts; stores nothing."""

    def __init__(self, database: Database, renderer: Renderer) -> None:
        self._database = database
        self._renderer = renderer

    async def read(self, caller: Caller, requests: Sequence[SendRequest]) -> list[Draft]:
        """A draft of each request, in order."""
        if not requests:
            return []
        async with self._database.as_caller(caller) as db:
            context = await contacts.context(db, caller.organization_id, _wanted(requests))
        now = datetime.now(UTC)
        drafts = []
        for request in requests:
            drafts.append(await self._read(request, context, now))
            await asyncio.sleep(0)  # a batch of a thousand is no reason for others to wait
        return drafts

    async def _read(self, request: SendRequest, context: Context, now: datetime) -> Draft:
        errors = _shape_errors(request, now)
        if request.channel not in BUILT_CHANNELS:
            return Draft(errors=tuple(errors))
        to_address, contact_errors = _recipient(request, context)
        sender, sender_errors = _sender(request, context)
        content, template_id, content_errors = await self._content(request, context)
        lead_id, client_id = _links(request, to_address, context)
        return Draft(
            errors=(*errors, *contact_errors, *sender_errors, *content_errors),
            from_address=sender["address"] if sender else None,
            to_address=to_address,
            content=content,
            lead_id=lead_id,
            client_id=client_id,
            template_id=template_id,
            sender_id=UUID(sender["id"]) if sender else None,
            provider=sender["provider"] if sender else None,
        )

    async def _content(
        self, request: SendRequest, context: Context
    ) -> tuple[Content | None, UUID | None, Sequence[FieldError]]:
        template: Template | None = None
        try:
            if request.template is not None:
                found = _template(request.template, request.channel, context)
                if isinstance(found, FieldError):
                    return None, None, [found]
                template = found
                content = await compose_template(self._renderer, template, request.variables)
            elif request.body is not None:
                content = compose(request.channel, request.body)
            else:
                return None, None, []
        except ComposeError as error:
            return None, None, error.errors
        return content, template.id if template else None, []


def preview(draft: Draft) -> Row:
    """The answer of `/v1/messages/check`."""
    measured = sms.measure(draft.content.body) if draft.content else None
    return {
        "ok": not draft.errors,
        "errors": [{"field": e.field, "message": e.message} for e in draft.errors],
        "from": draft.from_address,
        "to": draft.to_address,
        "parts": {"body": draft.content.body} if draft.content else None,
        "encoding": measured.encoding if measured else None,
        "segments": measured.segments if measured else None,
        "forced_by": measured.forced_by if measured else None,
    }


def _wanted(requests: Sequence[SendRequest]) -> contacts.Wanted:
    names = {r.template for r in requests if r.template is not None}
    ids = {name: _uuid(name) for name in names}
    tos = {r.to for r in requests if r.to is not None}
    froms = {r.from_ for r in requests if r.from_ is not None}
    return contacts.Wanted(
        lead_ids=list({r.lead_id for r in requests if r.lead_id}),
        client_ids=list({r.client_id for r in requests if r.client_id}),
        template_ids=[found for found in ids.values() if found],
        template_names=[name for name, found in ids.items() if not found],
        channels=[str(channel) for channel in {r.channel for r in requests}],
        senders=list(froms),
        sender_tails=list({tail for text in froms if (tail := phone.tail(text))}),
        tails=list({tail for to in tos if (tail := phone.tail(to))}),
        emails=[],
    )


def _shape_errors(request: SendRequest, now: datetime) -> list[FieldError]:
    """What is wrong with a request whatever its context."""
    errors: list[FieldError] = []
    if request.channel not in BUILT_CHANNELS:
        built = ", ".join(BUILT_CHANNELS)
        errors.append(
            FieldError("channel", f"{request.channel} is not built yet; there is {built}")
        )
    errors += [
        FieldError(name, f"is not used on the channel {request.channel}")
        for name in ("subject", "html_body")
        if getattr(request, name) is not None
    ]
    errors += [
        FieldError(name, "is not built yet: leave it out")
        for name in ("attachments", "fallback")
        if getattr(request, name)
    ]
    if request.template is None and request.body is None:
        errors.append(FieldError("body", "is missing: give a template or a body"))
    if request.template is not None and request.body is not None:
        errors.append(FieldError("body", "cannot be given together with a template"))
    if request.template is None and request.variables:
        errors.append(FieldError("variables", "are used with a template only"))
    if request.to is None and request.lead_id is None and request.client_id is None:
        errors.append(FieldError("to", "is missing: give an address, a lead_id or a client_id"))
    if request.expires_at and request.expires_at <= now:
        errors.append(FieldError("expires_at", "is in the past"))
    elif request.expires_at and request.send_at and request.expires_at <= request.send_at:
        errors.append(FieldError("expires_at", "must be later than send_at"))
    if "provider" in request.metadata:
        errors.append(FieldError("metadata.provider", "is where the provider's own words stand"))
    return errors


def _recipient(request: SendRequest, context: Context) -> tuple[str | None, list[FieldError]]:
    """The address to send to, from the request or from the contact that it names."""
    errors: list[FieldError] = []
    people: list[tuple[str, Row]] = []
    for name, wanted, rows in (
        ("lead_id", request.lead_id, context.leads),
        ("client_id", request.client_id, context.clients),
    ):
        row = next((row for row in rows if wanted and UUID(row["id"]) == wanted), None)
        if row is not None:
            people.append((name, row))
        elif wanted is not None:
            errors.append(FieldError(name, "there is none of that id in your organization"))
    if request.to is not None:
        address = phone.to_e164(request.to, context.country)
        if address is None:
            errors.append(FieldError("to", _not_a_number(context.country)))
        return address, errors
    for _, row in people:
        address = phone.to_e164(row["phone"] or "", context.country)
        if address is not None:
            return address, errors
    errors += [
        FieldError(name, "has no phone number that a message could be sent to")
        for name, _ in people
    ]
    return None, errors


def _not_a_number(country: str | None) -> str:
    national = (
        f"or a national number of {country}"
        if country
        else "national numbers need organizations.settings.country"
    )
    return f"is no possible phone number: write it as +15551230001, {national}"


def _sender(request: SendRequest, context: Context) -> tuple[Row | None, list[FieldError]]:
    senders = [sender for sender in context.senders if sender["channel"] == request.channel]
    if request.from_ is None:
        default = next((sender for sender in senders if sender["is_default"]), None)
        missing = f"is missing, and the channel {request.channel} has no default sender"
        return default, [] if default else [FieldError("from", missing)]
    wanted = {request.from_, phone.to_e164(request.from_, context.country)}
    found = next((sender for sender in senders if sender["address"] in wanted), None)
    unknown = f"is no active sender of your organization on {request.channel}"
    return found, [] if found else [FieldError("from", unknown)]


def _template(wanted: str, channel: Channel, context: Context) -> Template | FieldError:
    by_id = _uuid(wanted)
    rows = [
        row
        for row in context.templates
        if (UUID(row["id"]) == by_id if by_id else row["name"] == wanted)
    ]
    if not rows:
        return FieldError("template", "there is no active template of that name or id")
    row = next((row for row in rows if row["type"] == channel), None)
    if row is None:
        return FieldError("template", f"is of type {rows[0]['type']}, not {channel}")
    if not row["is_active"]:
        return FieldError("template", "is not active")
    return Template(
        id=UUID(row["id"]), channel=channel, subject=row["subject"], source=row["content"]
    )


def _links(
    request: SendRequest, to_address: str | None, context: Context
) -> tuple[UUID | None, UUID | None]:
    """The lead and the client of a message: those it names, else the newest with its address."""
    known: dict[str, UUID] = {}
    for row in context.known if to_address else ():
        if phone.to_e164(row["phone"] or "", context.country) == to_address:
            known.setdefault(row["kind"], UUID(row["id"]))
    return request.lead_id or known.get("lead"), request.client_id or known.get("client")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
