"""On a new database, of which PostgreSQL has no statistics yet, what is looked up by its key is
looked up by its key.

All indexes of an empty table cost the same, and the newest is taken. Plans of foreign keys are kept
as long as the connection: until the first ANALYZE, each new message read its organization whole.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from tests.database.test_database_plans import indexes

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

KEYS = """
SELECT i.relname AS index, k.conrelid::regclass::text AS table,
  (SELECT array_agg(a.attname::text ORDER BY n) FROM unnest(k.conkey) WITH ORDINALITY c (num, n)
   JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.num) AS columns
FROM pg_constraint k JOIN pg_class i ON i.oid = k.conindid
WHERE k.contype IN ('p', 'u') AND k.connamespace::regnamespace::text IN ('public', 'gateway')
ORDER BY 1
"""
# A key and another index of the very same columns are as good as each other.
COLUMNS = """
SELECT c.relname AS name, (
  SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid
) AS columns
FROM pg_class c WHERE c.relkind = 'i'
"""


async def test_keys(database: str, connect: Callable[[str], Awaitable[Connection]]) -> None:
    """A row that is asked for by all columns of a key, as foreign keys ask, comes through it."""
    db = await connect(database)
    await db.execute("SET plan_cache_mode = force_generic_plan")
    columns = {row["name"]: row["columns"] for row in await db.fetch(COLUMNS)}
    for key in await db.fetch(KEYS):
        where = " AND ".join(f"{column} = ${n}" for n, column in enumerate(key["columns"], 1))
        await db.execute(f"PREPARE one AS SELECT FROM ONLY {key['table']} WHERE {where}")
        values = ", ".join(["NULL"] * len(key["columns"]))
        plan = await db.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE one({values})")
        await db.execute("DEALLOCATE one")
        (used,) = indexes(json.loads(plan)[0]["Plan"])
        assert key["columns"] == columns[used], (key["table"], used)
