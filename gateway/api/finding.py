"""Which messages a caller asks for."""

from __future__ import annotations

from uuid import UUID

from gateway import addresses
from gateway.shapes.messages import MessageFilters
from gateway.store import contacts
from gateway.store.database import Connection
from gateway.store.messages import MessageFilter


async def message_filter(
    db: Connection, organization_id: UUID, given: MessageFilters
) -> MessageFilter:
    """The filters as the store takes them: an address however it is written."""
    filters = given.model_dump(include=set(MessageFilters.model_fields))
    if given.address is not None:
        country = await contacts.country(db, organization_id)
        filters["address"] = addresses.sought(given.address, country)
    return MessageFilter(**filters)
