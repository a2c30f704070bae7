"""Events that wait for their receivers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.schema import migrate
from tests.database.rows import A

if TYPE_CHECKING:
    from tests.database.test_database_conversations import Connect


async def test_events_that_were_tried_before(database: str, connect: Connect) -> None:
    """What was tried under the earlier version counts as failures, and leaves one more attempt."""
    db = await connect(database)
    await migrate.down(database, "20261129000003")
    await db.execute("INSERT INTO organizations (id, name) VALUES ($1, 'Acme')", A)
    await db.execute(
        "INSERT INTO gateway.subscriptions (id, organization_id, url, credentials)"
        " VALUES ($1, $1, 'u', '')",
        A,
    )
    await db.execute(
        "INSERT INTO gateway.deliveries"
        " (organization_id, subscription_id, id, type, about, occurred_at, attempts)"
        " SELECT $1, $1, gen_random_uuid(), 'message.sent', $1, now(), n"
        " FROM unnest(ARRAY[0, 1, 9, 10, 30000]) n",
        A,
    )

    await migrate.up(database)

    found = await db.fetch("SELECT failures FROM gateway.deliveries ORDER BY attempts")
    assert [0, 1, 9, 9, 9] == [row["failures"] for row in found]
