"""What explains a message is found by indexes, also under Row Level Security."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from gateway.store.sql import queries
from tests.database.conftest import MakeFilled

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

# Thirty organizations with people who wrote once, and in the first one with whom much is said.
MANY = """
INSERT INTO organizations (id, name)
  SELECT md5('org ' || n)::uuid, 'Org ' || n FROM generate_series(0, 29) n;
INSERT INTO auth_users (auth_id, email, organization_id)
  SELECT id, name || '@example.com', id FROM organizations;
INSERT INTO gateway.conversations (organization_id, id)
  SELECT md5('org ' || n % 30)::uuid, md5('conversation ' || n)::uuid
  FROM generate_series(0, 5999) n;
INSERT INTO gateway.conversation_addresses (organization_id, address, conversation_id, written)
  SELECT md5('org ' || n % 30)::uuid, '+1555' || (1000000 + n), md5('conversation ' || n)::uuid, ''
  FROM generate_series(0, 5999) n;
INSERT INTO messages (id, organization_id, conversation_id, channel, direction, from_address,
    to_address, body, created_at, external_id)
  SELECT md5('message ' || n)::uuid, md5('org ' || n % 30)::uuid,
    md5('conversation ' || CASE WHEN n % 3 = 0 THEN n % 30 ELSE n % 6000 END)::uuid,
    'sms', 'outbound', '+1', '+2', 'words', timestamptz '2026-01-01' + n * interval '1 minute',
    'SM' || n
  FROM generate_series(0, 19999) n;
"""
ORG = "md5('org 0')::uuid"
CALLER = ("authenticated", "gateway_api")

# Which block, with which parameters, as whom, and which index must do it.
LOOK_UPS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...], set[str]]] = {
    "an address of an organization's": (
        "by_address",
        (ORG, "'{+15551000000}'"),
        (*CALLER, "service_role"),
        {"conversation_addresses_pkey", "idx_messages_org_conversation_created"},
    ),
    "an address of anybody's": (
        "by_address",
        ("NULL", "'{+15551000000}'"),
        ("service_role",),
        {"conversation_addresses_pkey", "idx_messages_org_conversation_created"},
    ),
    "a provider's id": (
        "by_external_id",
        (ORG, "'{SM30,SM60}'"),
        (*CALLER, "service_role"),
        {"idx_messages_external_id"},
    ),
    "the form of a provider's id": (
        "external_id",
        (ORG, "'{<SM30>,SM30}'"),
        CALLER,
        {"idx_messages_external_id"},
    ),
    "a provider's id in all organizations": (
        "by_external_id",
        ("NULL", "'{SM30,SM60}'"),
        ("service_role",),
        {"idx_messages_external_id"},
    ),
    "an id": (
        "by_id",
        (ORG, "ARRAY[md5('message 30')::uuid]"),
        (*CALLER, "service_role"),
        {"messages_organization_id_id_key"},
    ),
    "what is around": (
        "around",
        (ORG, "md5('message 30')::uuid"),
        (*CALLER, "service_role"),
        {"idx_messages_org_conversation_created"},
    ),
    "retries": (
        "retries",
        (ORG, "md5('message 30')::uuid"),
        CALLER,
        {"idx_messages_org_retry_of"},
    ),
}
LARGE = {"messages", "conversations", "conversation_addresses", "queue", "message_events"}


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """All nodes of a plan."""
    return [plan, *(node for part in plan.get("Plans", ()) for node in nodes(part))]


async def explain(db: Connection, role: str, sql: str, values: tuple[str, ...]) -> dict[str, Any]:
    """The plan of a block as a caller of the first organization."""
    text = re.sub(r"\$(\d)", lambda match: values[int(match[1]) - 1], sql)
    who = await db.fetchval(f"SELECT {ORG}::text")
    async with db.transaction():
        await db.execute(
            "SELECT set_config('request.jwt.claims', $1, true),"
            " set_config('gateway.organization_id', $2, true)",
            json.dumps({"sub": who}),
            who,
        )
        await db.execute(f"SET LOCAL ROLE {role}")
        found = await db.fetchval(f"EXPLAIN (FORMAT JSON) {text}")
    plan: dict[str, Any] = json.loads(found)[0]["Plan"]
    return plan


@pytest.fixture
async def many(
    make_database: Callable[[str], str],
    make_filled: MakeFilled,
    connect: Callable[[str], Awaitable[Connection]],
) -> Connection:
    """A superuser's connection to a database with many messages."""
    return await connect(make_database(make_filled("explained", MANY, "ANALYZE")))


async def test_look_ups(many: Connection) -> None:
    """Each is answered from its indexes: no large table is read as a whole."""
    wrong = []
    for name, (block, values, roles, indexes) in LOOK_UPS.items():
        for role in roles:
            found = nodes(await explain(many, role, queries("why")[block], values))
            used = {node["Index Name"] for node in found if "Index Name" in node}
            read = {node["Relation Name"] for node in found if "Seq Scan" in node["Node Type"]}
            if not indexes <= used or read & LARGE:
                wrong.append(f"{name} as {role}: {sorted(used)}, read as a whole: {sorted(read)}")
    assert "\n".join(wrong) == ""


async def test_a_look_up_touches_little(many: Connection) -> None:
    """Of a conversation of thousands only the latest rows are read."""
    sql = re.sub(
        r"\$(\d)", lambda m: (ORG, "'{+15551000000}'")[int(m[1]) - 1], queries("why")["by_address"]
    )
    said = await many.fetchval(
        "SELECT count(*) FROM messages WHERE conversation_id = md5('conversation 0')::uuid"
    )
    plan = json.loads(await many.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}"))[0]["Plan"]

    assert said > 200
    read = [node["Actual Rows"] for node in nodes(plan) if "Relation Name" in node]
    assert max(read) <= 30
