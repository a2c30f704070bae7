"""A draft: one request as it was read, before anything is stored."""

from __future__ import annotations

from dataclasses import field
from uuid import UUID

from channels.frozen import frozen
from channels.model import Channel, Content
from gateway.parts import Parts
from gateway.problems import FieldError
from gateway.store.values import Row

# A lead and a client.
Links = tuple[UUID | None, UUID | None]


@frozen
class Draft:
    """A request that has been read: what would be stored, and every reason why it cannot be.

    `lead_id` and `client_id` are those that the message is about; `owners` are the lead and the
    client to whom the recipient's address belongs: the message joins their conversation. `steps`
    are the drafts of its fallback.
    """

    errors: tuple[FieldError, ...]
    from_address: str | None = None
    to_address: str | None = None
    content: Content | None = None
    parts: Parts = field(default_factory=Parts)
    lead_id: UUID | None = None
    client_id: UUID | None = None
    owners: Links = (None, None)
    template_id: UUID | None = None
    sender_id: UUID | None = None
    provider: str | None = None
    steps: tuple[Draft, ...] = ()


def common_columns(channel: Channel, draft: Draft) -> Row:
    """The columns that a draft has both as a message and as a step of a fallback."""
    content = draft.content
    if content is None:
        raise ValueError("a draft without errors has a content")
    return {
        "channel": channel,
        "from_address": draft.from_address,
        "to_address": draft.to_address,
        "lead_id": draft.lead_id,
        "client_id": draft.client_id,
        "subject": content.subject,
        "body": content.body,
        "html_body": content.html_body,
        "template_id": draft.template_id,
        "parts": draft.parts.as_json(),
        "sender_id": draft.sender_id,
        "provider": draft.provider,
    }
