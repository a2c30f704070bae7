"""The filters of a request for messages."""

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
    """The filters for the store. An address and a provider's id may be written in any way, and a
    conversation is also found by the id of one that was merged into it."""
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
