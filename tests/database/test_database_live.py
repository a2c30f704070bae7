"""What happened since a place is read from its index: it costs what happened, not what there is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from gateway.store.sql import queries
from tests.database.test_database_plans import indexes, nodes
from tests.database.test_database_search import rows_read

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

ORG = "md5('org 0')::uuid"
MANY = """
INSERT INTO organizations (id, name)
  SELECT md5('org ' || n)::uuid, 'Org ' || n FROM generate_series(0, 9) n;
INSERT INTO gateway.conversations (organization_id, id)
  SELECT id, md5('conversation')::uuid FROM organizations;
INSERT INTO messages (id, organization_id, channel, direction, from_address, to_address, body,
    conversation_id)
  SELECT md5('message ' || n)::uuid, md5('org ' || n % 10)::uuid, 'sms', 'outbound', '+1', '+2',
    'x', md5('conversation')::uuid
  FROM generate_series(1, 4000) n;
"""
EVENTS = """
INSERT INTO gateway.message_events (organization_id, message_id, id, type, status, occurred_at,
    source)
  SELECT organization_id, id, uuid_generate_v4(), 'sent', 'sent', now(), 'test' FROM messages
  WHERE id IN (SELECT md5('message ' || n)::uuid FROM generate_series($1::int, $2) n)
"""


@pytest.fixture
async def db(database: str, connect: Callable[[str], Awaitable[Connection]]) -> Connection:
    """A connection of a superuser, over many events of many transactions."""
    connection = await connect(database)
    await connection.execute(MANY)
    for n in range(0, 4000, 40):
        await connection.execute(EVENTS, n, n + 39)
        await connection.execute(
            "UPDATE gateway.conversations SET name = coalesce(name, '') || 'x'"
        )
    await connection.execute("VACUUM ANALYZE")
    return connection


async def place(db: Connection) -> str:
    """A snapshot behind every event: once nobody's transaction in any database is older."""
    async with asyncio.timeout(60):
        while True:
            found = await db.fetchrow(
                "SELECT s::text AS here, pg_snapshot_xmin(s) > (SELECT position"
                " FROM gateway.message_events ORDER BY position DESC LIMIT 1) AS is_behind"
                " FROM pg_current_snapshot() s"
            )
            assert found is not None
            if found["is_behind"]:
                return str(found["here"])
            await asyncio.sleep(0.05)


async def told(db: Connection, snapshot: str, *, explain: bool) -> Any:
    """What happened since a snapshot, or its plan, as a key of the organization."""
    async with db.transaction():
        who = await db.fetchval(f"SELECT ({ORG})::text")
        await db.execute("SELECT set_config('gateway.organization_id', $1, true)", who)
        await db.execute(
            "SET LOCAL ROLE gateway_api; SET LOCAL plan_cache_mode = force_custom_plan"
        )
        prefix = "EXPLAIN (ANALYZE, FORMAT JSON) " if explain else ""
        rows = await db.fetch(
            prefix + queries("live")["since"], who, snapshot, [], [],
            await db.fetchval("SELECT now() - interval '1 day'"), None, 100,
            snapshot.partition(":")[0],
        )  # fmt: skip
    return json.loads(rows[0][0])[0]["Plan"] if explain else rows


async def test_plan(db: Connection) -> None:
    """The events of the last transactions are read from the index, and no others; where nothing
    happened, nothing is read."""
    here = await place(db)
    plan = await told(db, here, explain=True)
    assert "idx_message_events_org_position" in indexes(plan)
    assert {"Seq Scan"} & nodes(plan) == set()
    assert 0 == rows_read(plan)

    await db.execute(EVENTS, 1, 200)
    plan = await told(db, here, explain=True)
    assert "idx_message_events_org_position" in indexes(plan)
    assert {"Seq Scan"} & nodes(plan) == set()
    assert 20 == rows_read(plan)
    assert 20 == len(await told(db, here, explain=False))


async def test_positions_of_another_cluster(db: Connection) -> None:
    """Events that a restore brought, with numbers of transactions that are yet to come, or that are
    older than a place, are told to nobody."""
    here = await place(db)
    await db.execute(EVENTS, 1, 20)
    await db.execute("ALTER TABLE gateway.message_events DISABLE TRIGGER USER")
    for message, change in (
        ("message 10", "position = '99999999'"),
        ("message 20", "recorded_at = now() - interval '2 days'"),
    ):
        await db.execute(
            f"UPDATE gateway.message_events SET {change}"  # noqa: S608
            " WHERE message_id = md5($1)::uuid AND position >= $2::text::xid8",
            message,
            here.partition(":")[0],
        )
    (row,) = await told(db, here, explain=False)
    assert row["kind"] is None


async def test_changes_of_conversations(db: Connection) -> None:
    """What staff change is noted once a transaction; what a message counts is not."""

    async def noted(change: str) -> int:
        await db.execute("DELETE FROM gateway.conversation_changes")
        async with db.transaction():
            for _ in range(2):
                await db.execute(
                    f"UPDATE gateway.conversations SET {change}"  # noqa: S608
                    f" WHERE organization_id = {ORG}"
                )
        count: int = await db.fetchval("SELECT count(*) FROM gateway.conversation_changes")
        return count

    assert 1 == await noted("status = 'closed'")
    assert 0 == await noted("status = 'closed'")
    assert 0 == await noted(
        "unread_count = unread_count + 1, last_message_id = uuid_generate_v4(),"
        " last_message_at = now(), channels = '{sms}'"
    )
    assert 1 == await noted("unread_count = 0")
    assert 0 == await noted("unread_count = 0")
    assert 1 == await noted("name = 'Ann'")
