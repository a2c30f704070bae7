"""Inheriting: what people said under one of their WhatsApp addresses holds for all of them.

For the addresses that are known then, and for those that turn out to be theirs later: these are
treated as if it had been said of them, too, at that time. A later START lifts it for all, because
each statement names all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from channels.model import Channel
from gateway import addresses
from gateway.ids import derived_id
from gateway.store import conversations, suppressions
from gateway.store.database import Connection
from gateway.store.suppressions import Person, Statement
from webhooks.model import Reason

# Reasons that come from the person, and so hold for all addresses; the others concern one address.
THEIR_WORD = (Reason.STOP, Reason.COMPLAINT, Reason.UNSUBSCRIBE)


async def of_all_theirs(db: Connection, organization_id: UUID, said: Statement) -> list[Statement]:
    """A statement about one address, with copies for its owner's others in the conversation."""
    if said.channel != Channel.WHATSAPP or said.reason not in THEIR_WORD:
        return [said]
    known = await suppressions.also_known_as(db, organization_id, [said.address])
    others = {_key(other) for _, other in known} - {said.address}
    if not others:
        return [said]
    detail = {**said.detail, "said_of": sorted({said.address, *others})}
    also = [replace(said, id=derived_id(said.id, each), address=each) for each in sorted(others)]
    return [replace(each, detail=detail) for each in (said, *also)]


async def taken_back(db: Connection, organization_id: UUID, lift: Statement) -> list[Statement]:
    """Further lifts, for the other addresses of the statements that this one lifts."""
    if lift.channel != Channel.WHATSAPP or lift.reason not in THEIR_WORD:
        return []
    others = await suppressions.said_of(db, organization_id, [lift.address])
    return [
        replace(lift, id=derived_id(lift.id, other), address=other, of_source=lift.source)
        for _, other in sorted(others)
    ]


async def inherited(
    db: Connection, organization_id: UUID, people: Sequence[Person]
) -> list[Statement]:
    """What people said earlier under one of their addresses, as statements about the others."""
    if not people:
        return []
    theirs = [
        replace(each, addresses=list(dict.fromkeys(map(_key, each.addresses)))) for each in people
    ]
    found = await suppressions.said_elsewhere(db, organization_id, theirs)
    words: dict[UUID, dict[str, Any]] = {}
    named: dict[UUID, set[str]] = defaultdict(set)
    for row in found:
        words[row["id"]] = row
        named[row["id"]] |= {row["address"], row["also"], *row["said_of"]}
    return [
        Statement(
            id=derived_id(own_id, "linked", *sorted(named[own_id]), address),
            channel=Channel.WHATSAPP,
            address=address,
            reason=word["reason"],
            is_lifted=False,
            source=word["source"],
            occurred_at=word["occurred_at"],
            detail={**word["detail"], "said_of": sorted(named[own_id])},
        )
        for own_id, word in words.items()
        for address in sorted(named[own_id])
    ]


async def inherit(db: Connection, organization_id: UUID, people: Sequence[Person]) -> None:
    """Let all addresses of these people inherit what was said under one of them."""
    said = await inherited(db, organization_id, people)
    await suppressions.change(db, organization_id, said)


async def inherit_within(db: Connection, organization_id: UUID, conversation_id: UUID) -> None:
    """Let all addresses in a conversation inherit, after several were merged into it."""
    together = await conversations.numbers(db, organization_id, conversation_id)
    await inherit(db, organization_id, [Person(together)] if len(together) > 1 else [])


def _key(address: str) -> str:
    return addresses.key(Channel.WHATSAPP, address)
