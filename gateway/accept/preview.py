"""The content of a draft, shown to people before anything is stored."""

from __future__ import annotations

from channels import sms
from channels.model import Channel, Content
from gateway.accept.draft import Draft
from gateway.parts import Parts
from gateway.store.values import Row


def preview(channel: Channel | None, draft: Draft) -> Row:
    """The answer of `/v1/messages/check`."""
    return {
        "ok": not draft.errors,
        "errors": [{"field": e.field, "message": e.message} for e in draft.errors],
        "from": draft.from_address,
        "to": draft.to_address,
        **rendered(channel, draft.content),
    }


def rendered(channel: Channel | None, content: Content | None) -> Row:
    """The rendered parts, and for SMS what they cost."""
    measured = sms.measure(content.body) if content and channel is Channel.SMS else None
    return {
        "parts": _shown(content) if content else None,
        "encoding": measured.encoding if measured else None,
        "segments": measured.segments if measured else None,
        "forced_by": measured.forced_by if measured else None,
    }


def _shown(content: Content) -> Row:
    """The rendered parts of a content, as people read them."""
    parts: Row = {"body": content.body}
    if content.subject is not None:
        parts |= {"subject": content.subject, "html_body": content.html_body}
    if content.template is not None:
        parts |= Parts(template=content.template).as_json() or {}
    return parts
