"""Which messages a caller asks for."""

from __future__ import annotations

from uuid import UUID

from gateway import addresses
from gateway.shapes.messages import MessageFilters
from gateway.store import contacts, conversations, why
from gateway.store.database import Connection
from gateway.store.messages import MessageFilter


async def message_filter(
    db: Connection, organization_id: UUID, given: MessageFilters
) -> MessageFilter:
    """The filters as the store takes them: an address and a provider's id however they are
    written, and a conversation under an id that was merged into another's."""
    filters = given.model_dump(include=set(MessageFilters.model_fields))
    if given.address is not None:
        country = await contacts.country(db, organization_id)
        filters["address"] = addresses.sought(given.address, country)
    if given.external_id is not None:
        filters["external_id"] = await why.external_id(db, organization_id, given.external_id)
    if given.conversation_id is not None:
        current = await conversations.current(db, organization_id, given.conversation_id)
        filters["conversation_id"] = current or given.conversation_id
    return MessageFilter(**filters)
