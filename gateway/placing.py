"""Placing: every message belongs to the conversation with whoever is at its other end."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from gateway.batching import once_more
from gateway.ids import derived_id
from gateway.logs import logger
from gateway.problems import FieldError, invalid
from gateway.store import conversations
from gateway.store.contacts import Kind
from gateway.store.conversations import Place, Placed
from gateway.store.database import Caller, Connection, Database
from gateway.store.errors import UNDONE, ConflictError, DatabaseAwayError, RefusedError
from webhooks.model import Renamed

_log = logger(__name__)

# The last is another program's rule: a message, say, that stays in its conversation.
_NOT_NOW = (DatabaseAwayError, ConflictError, RefusedError)
# Messages that are moved in one transaction.
_STEP = 500


async def check(
    db: Connection, organization_id: UUID, places: Sequence[Place], placed: Sequence[Placed]
) -> None:
    """Raises `Problem` 422 where a reply goes to an address of another conversation than its own.

    That may be the same one by now: what it was written in has been merged since it was read.
    """
    for place, found in zip(places, placed, strict=True):
        if place.conversation_id in (None, found.conversation_id):
            continue
        now = await conversations.get(db, organization_id, place.conversation_id)
        if now is None or now["id"] != found.conversation_id:
            raise invalid([FieldError("to", "belongs to another conversation: write to it there")])


async def adopt(
    database: Database,
    organization_id: UUID,
    kind: Kind,
    contact_id: UUID,
    addresses: Sequence[str],
) -> None:
    """What was said before with the addresses of a lead or client becomes theirs.

    After they are stored, so nothing of it reaches whoever stored them, and would do so again: what
    fails here is theirs with their next message.
    """
    try:
        async with database.as_service(share_of=organization_id) as db:
            seen = await conversations.seen(db, organization_id, addresses)
            if not seen:
                return
            places = [
                Place(
                    seed=contact_id,
                    addresses=[address],
                    lead_id=contact_id if kind == "lead" else None,
                    client_id=contact_id if kind == "client" else None,
                )
                for address in seen
            ]
            placed = await conversations.place(db, organization_id, places)
    except _NOT_NOW as error:
        _log.warning("conversations were not adopted", contact_id=str(contact_id), error=str(error))
        return
    await join(database, organization_id, placed)


async def renamed(db: Connection, organization_id: UUID, news: Sequence[Renamed]) -> list[Placed]:
    """Who has another address is in their conversation under that, too, if there is one.

    A place for each further address: of those that have one of their own, each is to be joined.
    """
    places = []
    for each in news:
        seen = await conversations.seen(db, organization_id, each.former)
        seed = derived_id(organization_id, "renamed", each.key)
        others = [*each.former, *each.addresses] if seen else []
        places += [Place(seed=seed, addresses=[seen[0], other]) for other in others]
    return await conversations.place(db, organization_id, places) if places else []


async def merge(database: Database, caller: Caller, *, merged: UUID, kept: UUID) -> bool:
    """Make one conversation part of another; False if either does not exist (any more)."""

    async def attempt() -> bool:
        async with database.as_service(on_behalf=caller) as db:
            return await conversations.merge(db, caller.organization_id, merged=merged, kept=kept)

    # Reports lock messages first, and then their conversation: one of both may have to give way.
    return await once_more(attempt, UNDONE)


async def move_on(database: Database, *, most: int = _STEP) -> None:
    """Have the rest of long conversations follow them where they were merged into, in steps."""
    while True:
        async with database.as_service() as db:
            if not await conversations.move_on(db, most):
                return


async def join(database: Database, organization_id: UUID, placed: Sequence[Placed]) -> None:
    """Merge conversations that turned out to be with one person.

    After the messages are stored, so nothing of it reaches whoever stored them, as in `adopt`. Each
    merge in a transaction of its own: one that fails is found again with their next message.
    """
    pairs = {(each.conversation_id, each.joins) for each in placed if each.joins}
    for one, other in sorted(pairs, key=str):
        try:
            async with database.as_service(share_of=organization_id) as db:
                await conversations.join(db, organization_id, one, other)
        except _NOT_NOW as error:
            _log.warning("conversations were not joined", error=str(error))
