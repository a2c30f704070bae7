"""Addresses that staff take out of a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

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
