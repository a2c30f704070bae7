"""Judging a draft by the standing of its recipient: suppressions, WhatsApp's window, and the
thread that an e-mail belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from channels import email, whatsapp
from channels.model import Channel, Content
from gateway.accept.draft import Draft
from gateway.accept.known import Known
from gateway.consent.standing import REASONS
from gateway.parts import outside_of_window
from gateway.problems import FieldError
from gateway.shapes.messages import SendRequest
from gateway.store.suppressions import Standing

_NOTHING = Standing()


def topic(draft: Draft) -> str:
    """The topic of an e-mail, which identifies its thread; empty on other channels."""
    subject = draft.content.subject if draft.content else None
    return email.topic(subject) if subject else ""


def known_standing(channel: Channel, forms: Sequence[str], known: Known) -> Standing:
    """The standing of an address, in all its forms, as far as its suppressions are known."""
    found = {reason for form in forms for reason in known.reasons(channel, form)}
    return Standing(reasons=tuple(sorted(found))) if found else _NOTHING


def judge(request: SendRequest, draft: Draft, standing: Standing, now: datetime) -> Draft:
    """The draft, changed or refused because of its recipient's standing."""
    if standing.reasons:
        names = {"to": request.to, "lead_id": request.lead_id, "client_id": request.client_id}
        name = next((name for name, value in names.items() if value), "to")
        text = f"{REASONS[standing.reasons[0]]}; see /v1/suppressions"
        draft = replace(draft, errors=(*draft.errors, FieldError(name, text)))
    if request.channel is Channel.EMAIL:
        return _threaded(draft, standing)
    if request.channel is Channel.WHATSAPP and draft.content is not None:
        return _in_window(request, draft, standing, now)
    return draft


def _threaded(draft: Draft, standing: Standing) -> Draft:
    thread = draft.parts.thread
    if thread is None or not standing.mail_ids:
        return draft
    others = [mail_id for mail_id in standing.mail_ids if mail_id not in thread.references]
    references = (*others, *thread.references)
    return replace(draft, parts=replace(draft.parts, thread=replace(thread, references=references)))


def _in_window(request: SendRequest, draft: Draft, standing: Standing, now: datetime) -> Draft:
    """Later than 24 hours after the recipient's last message, WhatsApp takes only templates."""
    if draft.content is None or draft.content.template is not None:
        return draft
    last = standing.last_inbound_at
    until = last + whatsapp.WINDOW if last else None
    leaves = max(now, request.send_at) if request.send_at else now
    if until is not None and leaves < until:
        return replace(draft, parts=replace(draft.parts, window_until=until))
    if draft.parts.outside is not None:
        # The draft becomes the template: nobody should be shown a text that is not sent.
        body, parts = outside_of_window(draft.content.body, draft.parts)
        content = Content(body=body, template=parts.template)
        return replace(draft, content=content, parts=parts)
    ends = f"until {until:%Y-%m-%d %H:%M} UTC" if until else "and they have not written yet"
    text = (
        f"WhatsApp accepts free text only within 24 hours of their last message, {ends}: "
        "use a template that names the provider's template in its options"
    )
    name = "template" if request.body is None and request.template else "body"
    return replace(draft, errors=(*draft.errors, FieldError(name, text)))
