"""A conversation that is made for addresses which others give away meanwhile does not stay."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.store.conversations import Place, Placed
from tests.database.rows import A
from tests.database.test_database_conversations import ANN, BEN, at, lead, place, two

if TYPE_CHECKING:
    from tests.database.test_database_conversations import Connect, Connection

__all__ = ["two"]  # a fixture

ID, NEW_ID = "GB.1", "GB.2"
LEFT = """
SELECT count(*) FROM gateway.conversations c WHERE NOT EXISTS (
  SELECT FROM gateway.conversation_addresses a WHERE a.conversation_id = c.id)
"""


async def at_once(
    db: Connection, other: Connection, first: Place, *then: Place
) -> tuple[list[Placed], list[Placed]]:
    """Place one, and others on another connection before the first is stored."""
    async with db.transaction():
        found = await db.fetch(
            "SELECT * FROM gateway.place($1, json_build_array(json_build_object('n', 0,"
            " 'addresses', $2::text[])))",
            A,
            [*first.addresses],
        )
        task = asyncio.create_task(place(other, *then))
        blocked = "SELECT FROM pg_locks WHERE NOT granted AND pid = $1"
        while not await db.fetch(blocked, other.get_server_pid()):
            assert not task.done()
            await asyncio.sleep(0.01)
    placed = [Placed(conversation_id=row["conversation_id"], joins=row["joins"]) for row in found]
    return placed, await task


@pytest.mark.parametrize("then", [(ID,), (ID, BEN), (NEW_ID, ID)])
async def test_an_address_goes_to_another(
    two: Connection, database: str, connect: Connect, then: tuple[str, ...]
) -> None:
    """While a report links number and user id, the person writes: one conversation has both, and
    all else that the message names."""
    (linked,), (written,) = await at_once(two, await connect(database), at(ANN, ID), at(*then))

    rows = await two.fetch("SELECT address, conversation_id FROM gateway.conversation_addresses")
    homes = {row["address"]: row["conversation_id"] for row in rows}
    assert {ANN, ID, *then} == homes.keys()
    assert linked.conversation_id == homes[ANN] == homes[ID]
    assert written.conversation_id == homes[then[0]]
    assert 0 == await two.fetchval(LEFT)
    assert len({*homes.values()}) == await two.fetchval(
        "SELECT count(*) FROM gateway.conversations"
    )


async def test_whose_it_was_meant_to_be(two: Connection, database: str, connect: Connect) -> None:
    """The lead of whom it was made is that of the conversation that has the address."""
    ann = await lead(two, ANN)

    (linked,), (written,) = await at_once(
        two, await connect(database), at(ANN, ID), at(ID, lead_id=ann)
    )

    assert (linked.conversation_id, None) == (written.conversation_id, written.joins)
    assert [(linked.conversation_id, ann)] == [
        tuple(row) for row in await two.fetch("SELECT id, lead_id FROM gateway.conversations")
    ]


async def test_what_nobody_else_has_stays(two: Connection, database: str, connect: Connect) -> None:
    """Of several that are made at once only those go that got no address; those without any, by
    their seeds, stay."""
    _, placed = await at_once(
        two, await connect(database), at(ANN, ID), at(ID), at(BEN), at("anonymous")
    )

    assert 3 == len({each.conversation_id for each in placed})
    assert 1 == await two.fetchval(LEFT)  # of whoever hides
    assert 3 == await two.fetchval("SELECT count(*) FROM gateway.conversations")
