"""A table that is new and has grown is analysed, and then what is looked up by its key is."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from tests.database.test_database_plans import indexes

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

# More than the pages from which a table counts as grown: few and long, as each has to be placed.
SOME = """
INSERT INTO organizations (id, name) VALUES (md5('one')::uuid, 'One');
INSERT INTO messages (id, organization_id, channel, direction, from_address, to_address, body)
  SELECT md5('message ' || n)::uuid, md5('one')::uuid, 'sms', 'outbound', '+1', '+' || n,
    repeat('Hello ', 200)
  FROM generate_series(1, 150) n;
"""
# As a foreign key asks.
ASKED = """
PREPARE asked AS SELECT FROM ONLY messages x WHERE organization_id = $1 AND id = $2
FOR KEY SHARE OF x
"""


async def test_once(database: str, connect: Callable[[str], Awaitable[Connection]]) -> None:
    """The gateway may have it done, once; small tables and known ones are left alone."""
    db = await connect(database)
    await db.execute("ALTER TABLE messages SET (autovacuum_enabled = off)")
    await db.execute("SET ROLE service_role")
    assert [] == await db.fetchval("SELECT gateway.analyse_new_tables()")

    await db.execute("RESET ROLE")
    await db.execute("SET session_replication_role = replica")  # nothing is placed
    await db.execute(SOME.replace("150", "1000"))
    await db.execute("SET plan_cache_mode = force_generic_plan")
    await db.execute(ASKED)
    await db.execute("SET ROLE service_role")
    done = await db.fetchval("SELECT gateway.analyse_new_tables()")

    assert "public.messages" in done
    assert "public.organizations" not in done
    assert [] == await db.fetchval("SELECT gateway.analyse_new_tables()")
    await db.execute("RESET ROLE")
    plan = json.loads(await db.fetchval("EXPLAIN (FORMAT JSON) EXECUTE asked(NULL, NULL)"))
    assert {"messages_organization_id_id_key"} == indexes(plan[0]["Plan"])


async def test_callers_may_not(
    database: str, connect: Callable[[str], Awaitable[Connection]]
) -> None:
    """It is not for callers to ask for."""
    db = await connect(database)
    for role in ("authenticated", "gateway_api", "anon"):
        await db.execute(f"SET ROLE {role}")
        try:
            await db.fetchval("SELECT gateway.analyse_new_tables()")
        except asyncpg.InsufficientPrivilegeError:
            continue
        raise AssertionError(role)
