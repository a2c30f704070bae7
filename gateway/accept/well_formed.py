"""Whether the fields of a request to send fit together, whatever they refer to."""

from __future__ import annotations

from datetime import datetime

from channels.model import Channel
from gateway.problems import FieldError
from gateway.shapes.messages import SendRequest


def errors(request: SendRequest, now: datetime) -> list[FieldError]:
    """What is wrong with a request in any context."""
    found: list[FieldError] = []
    behind = request.fallback or ()
    if request.channel is not Channel.EMAIL:
        has_mail = bool(behind) and any(step.channel is Channel.EMAIL for step in behind)
        found += [
            FieldError(name, f"is not used on the channel {request.channel}")
            for name in (("html_body",) if has_mail else ("subject", "html_body"))
            if getattr(request, name) is not None
        ]
    if request.channel is Channel.CALL and request.attachments:
        found.append(FieldError("attachments", "are not used on the channel call"))
    has_text = request.body is not None or request.html_body is not None
    may_lack_text = bool(request.options or request.attachments)
    if request.template is None and not has_text and not may_lack_text:
        found.append(FieldError("body", "is missing: give a template or a body"))
        if request.channel is Channel.EMAIL and not (request.subject or "").strip(" "):
            found.append(FieldError("subject", "is missing: a mail needs one"))
    if request.template is not None and has_text and request.channel is not Channel.WHATSAPP:
        found.append(FieldError("body", "cannot be given together with a template"))
    is_text = request.template is None and all(step.template is None for step in behind)
    if request.variables and is_text:
        found.append(FieldError("variables", "are used with a template only"))
    if request.to is None and request.lead_id is None and request.client_id is None:
        found.append(FieldError("to", "is missing: give an address, a lead_id or a client_id"))
    if request.expires_at and request.expires_at <= now:
        found.append(FieldError("expires_at", "is in the past"))
    elif request.expires_at and request.send_at and request.expires_at <= request.send_at:
        found.append(FieldError("expires_at", "must be later than send_at"))
    found += [
        FieldError(f"metadata.{name}", f"is where {what}")
        for name, what in (
            ("provider", "the provider's own words stand"),
            ("reply_to", "the message that is answered stands"),
            ("fallback_of", "the message that a fallback follows stands"),
        )
        if name in request.metadata
    ]
    return found
