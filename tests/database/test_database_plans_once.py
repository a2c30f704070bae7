"""Reports find their messages by keys, also by plans that were made while there was little."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from gateway.store.database import PLANNED_ONCE
from gateway.store.sql import queries
from tests.database.test_database_plans import BIG, MANY, few, read_whole, rows_read

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

# Of the first organization's messages each has an id at a provider; of every other one there is a
# report that came early.
SENT = f"""
UPDATE messages SET external_id = 'SM' || substr(id::text, 1, 8), status = 'sending'
  WHERE organization_id = {BIG};
INSERT INTO gateway.provider_accounts (organization_id, id, provider, name, credentials)
  VALUES ({BIG}, md5('account')::uuid, 'twilio', 'x', '');
INSERT INTO gateway.unmatched_reports
  (organization_id, account_id, external_id, id, type, source, occurred_at)
  SELECT {BIG}, md5('account')::uuid, external_id, id, 'sent', 'twilio', now() FROM messages
  WHERE organization_id = {BIG} AND hashtext(id::text) % 2 = 0;
"""  # noqa: S608
FIFTY = f"""
SELECT organization_id, id, external_id, md5('account')::uuid AS account_id
FROM messages WHERE organization_id = {BIG} ORDER BY md5(id::text) LIMIT 50 OFFSET $1
"""  # noqa: S608
TABLES = {"messages", "message_events", "queue", "unmatched_reports"}


@pytest.mark.parametrize("earlier", ["SELECT", few(MANY)], ids=["nothing", "little"])
async def test_reports(db: Connection, earlier: str) -> None:
    """Fifty reports read a few rows each of the many that there are by then, before PostgreSQL has
    statistics of them, and fifty others when it has."""
    await db.execute(earlier)
    await db.execute(PLANNED_ONCE.replace("SET LOCAL", "SET"))
    blocks = queries("reports") | queries("kept_reports")
    for name in ("resolve", "record", "take_unmatched"):
        await db.execute(f"PREPARE {name} AS {blocks[name]}")
    await db.execute("EXECUTE resolve ('[]', '{}'); EXECUTE record ('[]')")
    await db.execute("EXECUTE take_unmatched ('{}', '{}', '{}', '{}')")
    await db.execute(MANY + SENT)
    await assert_few_are_read(db, await db.fetch(FIFTY, 0))
    await db.execute("ANALYZE")
    await assert_few_are_read(db, await db.fetch(FIFTY, 50))


async def assert_few_are_read(db: Connection, rows: list[asyncpg.Record]) -> None:
    """Ask for these messages, report them, and take what was kept about them."""
    known = json.dumps([_words(n, row) for n, row in enumerate(rows)])
    asked = json.dumps([_words(n, row) | {"message_id": None} for n, row in enumerate(rows)])
    keys = (
        f"'{{{','.join(str(row[name]) for row in rows)}}}'"
        for name in ("organization_id", "account_id", "external_id", "id")
    )
    for statement in (
        f"""resolve ('{asked}', '{{"twilio": ["sms"]}}')""",
        f"""resolve ('{known}', '{{"twilio": ["sms"]}}')""",
        f"record ('{known}')",
        f"take_unmatched ({', '.join(keys)})",
    ):
        text = await db.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {statement}")
        plan = json.loads(text)[0]["Plan"]
        assert not TABLES & read_whole(plan), text
        assert 500 > rows_read(plan), text


def _words(n: int, row: asyncpg.Record) -> dict[str, Any]:
    return {
        "n": n,
        "organization_id": str(row["organization_id"]),
        "message_id": str(row["id"]),
        "external_id": row["external_id"],
        "id": str(row["id"]),
        "type": "delivered",
        "status": "delivered",
        "source": "twilio",
        "detail": {},
    }
