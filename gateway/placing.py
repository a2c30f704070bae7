"""Placing: every message belongs to the conversation with whoever is at its other end."""

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

# Of one person.
Addresses = tuple[str, ...]

# Instead of a conversation's id: this message is to begin it.
BEGINS = UUID(int=0)

# The last is another program's rule: a message, say, that stays in its conversation.
_NOT_NOW = (DatabaseAwayError, ConflictError, RefusedError)
# Seconds in which the messages of a long conversation move: while somebody waits for it, and while
# a provider or a caller waits to hear that a message is stored.
_MERGING, _JOINING = 15.0, 1.0


async def check(
    db: Connection, organization_id: UUID, places: Sequence[Place], placed: Sequence[Placed]
) -> None:
    """Raises `Problem` 422 where a reply goes to an address of another conversation than its own.

    That may be the same one by now: what it was written in has been merged since it was read. Or
    it is being merged, and the message that is answered is there already. 422, too, where what
    `BEGINS` a conversation is not its first message.
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

    A place for each further address, because each may have a conversation of its own to join.
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
    """Who has these addresses is in their conversation under each of them, if there is one."""
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

    Raises `Problem` 503 where so many seconds are too few for its messages; those that have moved
    by then stay where they are.
    """

    async def attempt() -> bool | None:
        async with database.as_service(on_behalf=caller) as db:
            done = await conversations.merge(db, caller.organization_id, merged=merged, kept=kept)
            if done:
                await inheriting.inherit_within(db, caller.organization_id, kept)
            return done

    # Reports lock messages first, and then their conversation: one of both may have to give way.
    is_merged = await in_steps(lambda: once_more(attempt, UNDONE), seconds)
    if is_merged is None:
        raise not_now("It has more messages than can be moved at once: try again.")
    if not is_merged:
        await _explain(database, caller, merged=merged, kept=kept)
    return is_merged


async def _explain(database: Database, caller: Caller, *, merged: UUID, kept: UUID) -> None:
    """Raises `Problem` 409 or 503 where two are not merged because of another merge."""
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
    """Move an address with its messages into a new conversation; None where it is not in this.

    Raises `Problem` 409 for the only address, but where some of its messages have gone elsewhere
    already, because this conversation is being merged; and 503 where so many seconds are too few
    for its messages: then it is apart with the latest of them, and asked again goes on.
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
        # It locks several conversations, as a merge does, and one of both may have to give way.
        apart = await once_more(attempt, UNDONE)
        if apart is None:
            return True
        where = apart.conversation_id
        return apart.is_done or None

    if await in_steps(step, seconds) is None:
        raise not_now("It has more messages than can be moved at once: try again.")
    return where


async def join(database: Database, organization_id: UUID, placed: Sequence[Placed]) -> None:
    """Merge conversations that turned out to be with one person.

    After the messages are stored, so nothing of it reaches whoever stored them, as in `adopt`. Each
    merge in transactions of its own: one that fails, or is not done yet, is found again with their
    next message.
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
