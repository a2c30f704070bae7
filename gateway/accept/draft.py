"""A draft: one request as it was read, before anything is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from channels.model import Content
from gateway.parts import Parts
from gateway.problems import FieldError


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A request that has been read: what would be stored, and every reason why it will not be.

    `lead_id` and `client_id` are whom the message is about; `owners` are the lead and the client
    whose own address it goes to, and so whose conversation it joins. `steps` are its fallback's.
    """

    errors: tuple[FieldError, ...]
    from_address: str | None = None
    to_address: str | None = None
    content: Content | None = None
    parts: Parts = field(default_factory=Parts)
    lead_id: UUID | None = None
    client_id: UUID | None = None
    owners: tuple[UUID | None, UUID | None] = (None, None)
    template_id: UUID | None = None
    sender_id: UUID | None = None
    provider: str | None = None
    steps: tuple[Draft, ...] = ()
