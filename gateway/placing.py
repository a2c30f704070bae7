"""Placing: every message belongs to the conversation with the person at its other end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from gateway import addresses
from gateway.again import in_steps, once_more
from gateway.consent import inheriting
from gateway.ids import derived_id, new_id
from gateway.observability.logs import logger
from gateway.problems import FieldError, Problem, invalid, not_now
from gateway.store import conversations, unlinking
from gateway.store.contacts import Kind
from gateway.store.conversations import Place, Placed
from gateway.store.database import Caller, Connection, Database
from gateway.store.errors import UNDONE, ConflictError, DatabaseAwayError, RefusedError
from webhooks.model import Renamed

_log = logger(__name__)

# The addresses of one person.
Addresses = tuple[str, ...]

# In place of a conversation's id: the message is to begin one.
BEGINS = UUID(int=0)

# The last one is a rule of another program, such as that a message stays in its conversation.
_NOT_NOW = (DatabaseAwayError, ConflictError, RefusedError)
# Seconds for moving the messages of a long conversation: while somebody waits for that, and while
# a provider or a caller waits for the answer that a message is stored.
_MERGING, _JOINING = 15.0, 1.0


async def check(
    db: Connection, organization_id: UUID, places: Sequence[Place], placed: Sequence[Placed]
) -> None:
    """Raise `Problem` 422 if a reply goes to an address of another conversation than its own.

    Not if its own has been merged into that one since it was read, or is being merged, with the
    answered message there already. Also 422 if a message that `BEGINS` a conversation is not its
    first.
    """
    for place, found in zip(places, placed, strict=True):
        if place.conversation_id in (None, found.conversation_id):
            continue
        if place.conversation_id == BEGINS:
            here = await conversations.get(db, organization_id, found.conversation_id)
            others = [each for each in placed if each.conversation_id == found.conversation_id]
            if (here and here["last_message_id"]) or len(others) > 1:
                raise invalid([FieldError("to", "was written to this very moment: look there")])
            continue
        now = await conversations.get(db, organization_id, place.conversation_id)
        if now is not None and now["id"] == found.conversation_id:
            continue
        into = await conversations.merging_into(db, organization_id, found.conversation_id)
        if now is None or now["id"] not in into:
            raise invalid([FieldError("to", "belongs to another conversation: write to it there")])


async def adopt(
    database: Database,
    organization_id: UUID,
    kind: Kind,
    contact_id: UUID,
    addresses: Sequence[str],
) -> None:
    """Link earlier conversations with the addresses of a lead or client to them.

    They are stored already, so errors must not reach the caller, who would store them again: what
    fails here is done with their next message.
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
    """Add people's new addresses to their conversations, if they have one.

    With a place for each further address, because each may have a conversation of its own.
    """
    places = []
    for each in news:
        seen = await conversations.seen(db, organization_id, each.former)
        seed = derived_id(organization_id, "renamed", each.key)
        others = [*each.former, *each.addresses] if seen else []
        places += [Place(seed=seed, addresses=[seen[0], other]) for other in others]
    return await conversations.place(db, organization_id, places) if places else []


async def known_by(
    db: Connection, organization_id: UUID, people: Sequence[Addresses]
) -> dict[Addresses, Placed]:
    """Add all addresses of people to their conversations, if they have one."""
    seen = await conversations.seen(db, organization_id, [each for one in people for each in one])
    known = set(map(addresses.identity, seen))
    ours = [one for one in people if any(addresses.identity(each) in known for each in one)]
    places = [
        Place(seed=derived_id(organization_id, "known by", *one), addresses=one) for one in ours
    ]
    placed = await conversations.place(db, organization_id, places) if places else []
    return dict(zip(ours, placed, strict=True))


async def merge(
    database: Database, caller: Caller, *, merged: UUID, kept: UUID, seconds: float = _MERGING
) -> bool:
    """Make one conversation part of another; False if either does not exist (any more).

    Raises `Problem` 503 if moving its messages takes more than `seconds`; those that have moved by
    then stay there.
    """

    async def attempt() -> bool | None:
        async with database.as_service(on_behalf=caller) as db:
            done = await conversations.merge(db, caller.organization_id, merged=merged, kept=kept)
            if done:
                await inheriting.inherit_within(db, caller.organization_id, kept)
            return done

    # May deadlock: reports lock messages first, and then their conversation.
    is_merged = await in_steps(lambda: once_more(attempt, UNDONE), seconds)
    if is_merged is None:
        raise not_now("It has more messages than can be moved at once: try again.")
    if not is_merged:
        await _explain(database, caller, merged=merged, kept=kept)
    return is_merged


async def _explain(database: Database, caller: Caller, *, merged: UUID, kept: UUID) -> None:
    """Raise `Problem` 409 or 503 if two were not merged because of another merge."""
    organization_id = caller.organization_id
    async with database.as_service(on_behalf=caller) as db:
        into = await conversations.merging_into(db, organization_id, merged)
        back = await conversations.merging_into(db, organization_id, kept)
    if into and into[0] != kept:
        raise Problem(
            409,
            f"It is being merged into {into[0]}: finish that, or unlink its addresses, which takes"
            " their messages along.",
        )
    if back and back[0] == merged:
        text = "They are being merged the other way round: try again when that is done or given up."
        raise not_now(text, 20)


async def set_apart(
    database: Database,
    caller: Caller,
    conversation_id: UUID,
    address: str,
    seconds: float = _MERGING,
) -> UUID | None:
    """Move an address with its messages into a new conversation; None if it is not in this one.

    Raises `Problem` 409 for the only address, unless this conversation is being merged, and some of
    its messages are elsewhere already. Raises 503 if moving its messages takes more than `seconds`:
    then the latest have moved, and the next call goes on.
    """
    organization_id = caller.organization_id
    where: UUID | None = None

    async def attempt() -> unlinking.Apart | None:
        async with database.as_service(on_behalf=caller) as db:
            into = await conversations.merging_into(db, organization_id, conversation_id)
            # It may have been merged since the last step.
            now = await conversations.get(db, organization_id, conversation_id)
            if now is None:
                return None
            apart = await unlinking.set_apart(db, organization_id, now["id"], address, new_id())
            left = await conversations.get(db, organization_id, now["id"])
            if apart and apart.is_new and left and not left["addresses"] and not into:
                raise Problem(409, "This is its only address: there is nothing to take it out of.")
            return apart

    async def step() -> bool | None:
        nonlocal where
        # May deadlock with a merge: both lock several conversations.
        apart = await once_more(attempt, UNDONE)
        if apart is None:
            return True
        where = apart.conversation_id
        return apart.is_done or None

    if await in_steps(step, seconds) is None:
        raise not_now("It has more messages than can be moved at once: try again.")
    return where


async def join(database: Database, organization_id: UUID, placed: Sequence[Placed]) -> None:
    """Merge conversations that turned out to be with the same person.

    The messages are stored already, so errors must not reach the caller, as in `adopt`. A merge
    that fails, or does not end in time, is found again with the next message.
    """

    async def attempt(one: UUID, other: UUID) -> bool | None:
        async with database.as_service(share_of=organization_id) as db:
            done = await conversations.join(db, organization_id, one, other)
            if done:
                await inheriting.inherit_within(db, organization_id, one)
            return done

    pairs = {(each.conversation_id, each.joins) for each in placed if each.joins}
    for one, other in sorted(pairs, key=str):
        try:
            await in_steps(partial(attempt, one, other), _JOINING)
        except _NOT_NOW as error:
            _log.warning("conversations were not joined", error=str(error))
