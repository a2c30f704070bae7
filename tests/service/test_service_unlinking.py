"""Addresses that staff take out of a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from gateway import placing
from gateway.problems import Problem
from gateway.store.database import ApiKey
from tests.service.test_service_conversations import by_sms, listed

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway


async def test_a_merge_that_was_given_up_halfway(gateway: Gateway, ask: Ask) -> None:
    """An only address is set apart while some of its messages are somewhere else already."""
    await by_sms(gateway)
    await by_sms(gateway, sender="+447700900999")
    one, other = await listed(ask)
    (address,) = one["contact"]["addresses"]
    async with gateway.database.as_service() as db:
        ids = (UUID(one["id"]), UUID(other["id"]))
        await db.execute("UPDATE gateway.conversations SET merging_into = $2 WHERE id = $1", *ids)
        await db.execute(
            "UPDATE messages SET conversation_id = $2 WHERE conversation_id = $1", *ids
        )
    answer = await ask("POST", f"/v1/conversations/{one['id']}/unlink", {"address": address})
    assert 201 == answer.status
    said = await ask("GET", f"/v1/conversations/{answer.body['id']}/messages")
    assert [address] == [each["from_address"] for each in said.body["data"]]


async def many(gateway: Gateway, count: int, size: int) -> tuple[ApiKey, UUID, str]:
    """A conversation of two addresses, one of which has so many long messages; of tenant A."""
    await by_sms(gateway)
    async with gateway.database.as_service() as db:
        row = await db.fetchrow("SELECT * FROM gateway.conversation_addresses")
        assert row is not None
        organization, where = row["organization_id"], row["conversation_id"]
        await db.execute(
            "INSERT INTO gateway.conversation_addresses"
            " (organization_id, conversation_id, address, written)"
            " VALUES ($1, $2, 'ann@c.example', 'ann@c.example')",
            *(organization, where),
        )
        await db.execute(
            "INSERT INTO messages (organization_id, conversation_id, channel, direction,"
            " from_address, to_address, body, created_at)"
            " SELECT $1, $2, 'sms', 'inbound', $3, '+1999',"
            " left(repeat(md5(n::text) || ' ', $5 / 33 + 1), $5), now() - n * interval '1 second'"
            " FROM generate_series(1, $4) n",
            *(organization, where, row["written"], count - 1, size),
        )
        await db.execute("UPDATE gateway.conversations SET unread_count = 70 WHERE id = $1", where)
        await db.execute("SELECT gateway.recount_conversation($1, $2)", organization, where)
    caller = ApiKey(id=where, organization_id=organization, is_test=False)
    return caller, where, row["written"]


async def test_an_address_with_many_long_messages(gateway: Gateway, ask: Ask) -> None:
    """It is set apart in steps; asked again it goes on, and what is unread goes along."""
    caller, where, address = await many(gateway, 100, 35_000)
    with pytest.raises(Problem, match="try again"):
        await placing.set_apart(gateway.database, caller, where, address, seconds=0)
    halfway = {each["id"]: each for each in await listed(ask)}
    assert 2 == len(halfway)
    assert [["ann@c.example"], [address]] == sorted(
        (each["contact"]["addresses"] for each in halfway.values()), reverse=True
    )
    new = next(each for each in halfway if each != str(where))
    assert [40, 30] == [halfway[each]["unread_count"] for each in (str(where), new)]
    answer = await ask("POST", f"/v1/conversations/{where}/unlink", {"address": address})
    assert (201, new, 70) == (answer.status, answer.body["id"], answer.body["unread_count"])
    left = await ask("GET", f"/v1/conversations/{where}/messages")
    assert [] == left.body["data"]
    again = await ask("POST", f"/v1/conversations/{where}/unlink", {"address": address})
    assert 422 == again.status
