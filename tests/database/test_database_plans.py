"""The hot queries walk their index, also under Row Level Security, and status changes stay HOT."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from gateway.store.database import PLANNED_ONCE
from gateway.store.sql import queries
from tests.database.conftest import MakeFilled

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

# Twenty organizations; the first has two fifths of everything.
CONTACTS = """
INSERT INTO organizations (id, name)
  SELECT md5('org ' || n)::uuid, 'Org ' || n FROM generate_series(0, 19) n;
INSERT INTO auth_users (auth_id, email, organization_id)
  SELECT id, name || '@example.com', id FROM organizations;
CREATE TABLE public.share AS
  SELECT n, md5('org ' || CASE WHEN n % 5 < 2 THEN 0 ELSE n % 20 END)::uuid AS organization_id
  FROM generate_series(1, 20000) n;
INSERT INTO leads (id, organization_id, phone, email, custom_fields)
  SELECT md5('lead ' || n)::uuid, organization_id, '+1 555 ' || (1000000 + n),
    'lead' || n || '@example.com', jsonb_build_object('n', n)
  FROM share WHERE n % 4 = 0;
INSERT INTO clients (id, organization_id, phone, email)
  SELECT md5('client ' || n)::uuid, organization_id, '+1 666 ' || (1000000 + n),
    'client' || n || '@example.com'
  FROM share WHERE n % 4 = 1;
"""
MESSAGES = """
SET session_replication_role = replica; -- no conversation to be found for each
INSERT INTO messages (id, organization_id, channel, direction, from_address, to_address, body,
    created_at, lead_id, client_id, reference)
  SELECT md5('message ' || n)::uuid, s.organization_id, 'sms', 'outbound', '+1', '+2',
    'words of number' || n,
    timestamptz '2026-01-01' + (hashtext(n::text) & 1048575) * interval '1 second',
    (SELECT id FROM leads l WHERE l.id = md5('lead ' || n)::uuid),
    (SELECT id FROM clients c WHERE c.id = md5('client ' || n)::uuid),
    CASE WHEN n % 10 = 0 THEN 'order ' || n END
  FROM share s;
INSERT INTO gateway.queue (organization_id, message_id, channel, priority, run_at)
  SELECT organization_id, id, channel, abs(hashtext(id::text)) % 3, created_at FROM messages;
RESET session_replication_role;
"""
MANY = CONTACTS + MESSAGES
BIG, SMALL = ("md5('org 0')::uuid", "md5('org 7')::uuid")

BY_ORGANIZATION = {f"idx_{table}_organization_id" for table in ("messages", "leads", "clients")}

# As which role, what is asked, and which index must do it.
PLANS = {
    "newest messages": (
        "authenticated",
        (
            "SELECT id FROM messages WHERE organization_id = {org}"
            " ORDER BY created_at DESC, id DESC LIMIT 50"
        ),
        "idx_messages_org_created",
    ),
    "newest messages, by the policy alone": (
        "authenticated",
        "SELECT id FROM messages ORDER BY created_at DESC, id DESC LIMIT 50",
        "idx_messages_org_created",
    ),
    "next page": (
        "gateway_api",
        (
            "SELECT id FROM messages WHERE organization_id = {org}"
            " AND (created_at, id) < ('2026-01-07 01:00Z', md5('x')::uuid)"
            " ORDER BY created_at DESC, id DESC LIMIT 50"
        ),
        "idx_messages_org_created",
    ),
    "messages of a lead": (
        "gateway_api",
        (
            "SELECT id FROM messages WHERE organization_id = {org}"
            " AND lead_id = md5('lead 40')::uuid ORDER BY created_at DESC LIMIT 50"
        ),
        "idx_messages_org_lead_created",
    ),
    "messages of a client": (
        "authenticated",
        (
            "SELECT id FROM messages WHERE organization_id = {org}"
            " AND client_id = md5('client 41')::uuid ORDER BY created_at DESC, id DESC LIMIT 50"
        ),
        "idx_messages_org_client_created",
    ),
    "a reference": (
        "authenticated",
        "SELECT id FROM messages WHERE organization_id = {org} AND reference = 'order 50'",
        "idx_messages_org_reference",
    ),
    "claim in order": (
        "service_role",
        (
            "SELECT message_id FROM gateway.queue WHERE organization_id = {org}"
            " AND priority = 1 AND run_at <= '2026-02-01'"
            " AND (lease_until IS NULL OR lease_until < now())"
            " ORDER BY run_at LIMIT 20 FOR UPDATE SKIP LOCKED"
        ),
        "idx_queue_org_priority_run_at",
    ),
    "words": (
        "service_role",
        (
            "SELECT id FROM messages WHERE organization_id = {org}"
            " AND gateway.message_words(subject, body) @@ plainto_tsquery('simple', 'number700')"
        ),
        "idx_messages_words",
    ),
    "custom fields": (
        "service_role",
        "SELECT id FROM leads WHERE custom_fields @> '{{\"n\": 40}}'",
        "idx_leads_custom_fields",
    ),
}


@pytest.fixture
async def many(
    make_database: Callable[[str], str],
    make_filled: MakeFilled,
    connect: Callable[[str], Awaitable[Connection]],
) -> Connection:
    """A superuser's connection to a database with `MANY`, of which PostgreSQL has no statistics."""
    return await connect(make_database(make_filled("filled", MANY)))


def indexes(plan: dict[str, Any]) -> set[str]:
    """The names of all indexes in a plan."""
    found = {plan["Index Name"]} if "Index Name" in plan else set()
    return found.union(*(indexes(part) for part in plan.get("Plans", ())))


def nodes(plan: dict[str, Any]) -> set[str]:
    """The kinds of all nodes in a plan."""
    return {plan["Node Type"]}.union(*(nodes(part) for part in plan.get("Plans", ())))


async def explain(db: Connection, role: str, organization: str, query: str) -> dict[str, Any]:
    """The plan of a query as a caller of this organization."""
    who = await db.fetchval(f"SELECT ({organization})::text")
    async with db.transaction():
        await db.execute(
            "SELECT set_config('request.jwt.claims', $1, true),"
            " set_config('gateway.organization_id', $2, true)",
            json.dumps({"sub": who}),
            who,
        )
        await db.execute(f"SET LOCAL ROLE {role}")
        text = await db.fetchval(f"EXPLAIN (FORMAT JSON) {query.format(org=organization)}")
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    return plan


async def test_plans(many: Connection) -> None:
    """Each hot query is answered from its index, without a sort and without reading a table."""
    await many.execute("ANALYZE")
    wrong = []
    for name, (role, query, index) in PLANS.items():
        for size, organization in (("big", BIG), ("small", SMALL)):
            plan = await explain(many, role, organization, query)
            # Of a small organization reading all it has may be the least work.
            right = {index} if size == "big" else {index, *BY_ORGANIZATION}
            if not right & indexes(plan) or {"Seq Scan", "Sort"} & nodes(plan):
                wrong.append(f"{name} ({size}): {sorted(nodes(plan))} {sorted(indexes(plan))}")
    assert "\n".join(wrong) == ""


FOUND = "SELECT kind, id FROM gateway.contacts_by_address($1, $2, $3)"
HAVING = """
SELECT 'lead' AS kind, id FROM leads WHERE organization_id = $1
  AND (right(regexp_replace(phone, '\\D', '', 'g'), 7) = ANY ($2)
    OR lower(btrim(email, E' \\t\\r\\n')) = ANY ($3))
UNION ALL
SELECT 'client', id FROM clients WHERE organization_id = $1
  AND (right(regexp_replace(phone, '\\D', '', 'g'), 7) = ANY ($2)
    OR lower(btrim(email, E' \\t\\r\\n')) = ANY ($3))
"""
READ = """
SELECT ARRAY[sum(seq_scan), sum(idx_tup_fetch)]::integer[] FROM pg_stat_xact_user_tables
WHERE relname IN ('leads', 'clients')
"""


def few(many: str) -> str:
    """The same with a hundredth of it, which PostgreSQL then takes for all there is."""
    return many.replace("20000", "200") + "ANALYZE; DROP TABLE share; DELETE FROM organizations;"  # noqa: S608


@pytest.mark.parametrize(
    ("earlier", "preparing"),
    [("SELECT", "SELECT"), ("SELECT", "ANALYZE"), (few(CONTACTS), "SELECT")],
    ids=["unknown", "analysed", "few"],
)
async def test_contacts_by_address(db: Connection, earlier: str, preparing: str) -> None:
    """Whose an address is, is found through the index of addresses, without reading anybody else.

    Also in tables of which PostgreSQL knows nothing yet, or that were small when it was asked.
    """
    await db.execute(earlier)
    await db.fetch(FOUND, await db.fetchval(f"SELECT {BIG}"), ["1000000"], ["a@example.com"])
    await db.execute(CONTACTS)
    await db.execute(preparing)
    tails = [str(1000000 + n) for n in range(100)]
    mailboxes = [f"{kind}{n}@example.com" for kind in ("lead", "client") for n in range(100)]
    for organization, count in ((BIG, 19), (SMALL, 0)):
        of = await db.fetchval(f"SELECT {organization}")
        # Within one transaction: between two PostgreSQL may put its counts away and begin anew.
        async with db.transaction():
            before = await db.fetchval(READ)
            found = await db.fetch(FOUND, of, tails, mailboxes)
            after = await db.fetchval(READ)
        having = await db.fetch(HAVING, of, tails, mailboxes)
        assert sorted(map(tuple, having)) == sorted(map(tuple, found))
        # No table was read, and of those who have the address each by number and by mailbox.
        assert (count, 0, 2 * count) == (len(found), after[0] - before[0], after[1] - before[1])


async def assert_hot(db: Connection, tables: set[str], least: int) -> None:
    """Of each table this transaction has changed so many rows or more, and nearly all in place."""
    counted = await db.fetch(
        "SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables"
        " WHERE relname = ANY ($1) AND schemaname IN ('public', 'gateway')",
        list(tables),
    )
    assert tables == {row["relname"] for row in counted}
    for row in counted:
        assert row["n_tup_upd"] >= least
        assert row["n_tup_hot_upd"] >= 0.95 * row["n_tup_upd"]


def read_whole(plan: dict[str, Any]) -> set[str]:
    """The tables that a plan reads from their beginning to their end."""
    own = {plan["Relation Name"]} if "Seq Scan" == plan["Node Type"] else set()
    return own.union(*(read_whole(part) for part in plan.get("Plans", ())))


def rows_read(plan: dict[str, Any]) -> int:
    """How many rows the scans of a plan gave, those that a filter refused included."""
    own = 0.0
    if "Relation Name" in plan:
        own = plan["Actual Loops"] * (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0))
    return int(own) + sum(rows_read(part) for part in plan.get("Plans", ()))


QUEUED = """
INSERT INTO gateway.queue (organization_id, message_id, channel, run_at)
  SELECT organization_id, id, channel, now() - interval '1 hour' FROM messages
  WHERE organization_id = md5('org 0')::uuid ORDER BY id LIMIT {most}
ON CONFLICT DO NOTHING
"""


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("early", [0, 300])
async def test_a_claim_does_not_read_the_backlog(
    many: Connection, early: int, *, is_known: bool
) -> None:
    """However much one organization has waiting, all of it in one priority: the index is walked,
    and what is claimed is written by keys, also by plans that were made while there was nothing, or
    little, and that no statistics have replaced."""
    claim, record = queries("queue")["claim"], queries("reports")["record"]
    await many.execute("TRUNCATE gateway.queue")
    await many.execute(QUEUED.format(most=early))
    await many.execute(PLANNED_ONCE.replace("SET LOCAL", "SET"))
    await many.execute(
        f"PREPARE claim (integer, uuid, double precision, uuid[], integer, uuid[]) AS {claim}"
    )
    await many.execute(f"PREPARE record (json) AS {record}")
    await many.fetch(f"EXECUTE claim (0, {BIG}, 30, '{{}}', 1, '{{}}')")
    assert [] == await many.fetch("EXECUTE record ('[]')")
    await many.execute(QUEUED.format(most="ALL"))
    if is_known:
        await many.execute("ANALYZE")
    claimed = await many.fetch("SELECT * FROM gateway.queue ORDER BY random() LIMIT 50")
    attempts = json.dumps(
        [
            {
                "organization_id": str(row["organization_id"]),
                "message_id": str(row["message_id"]),
                "id": str(row["message_id"]),
                "type": "sent",
                "status": "sent",
                "source": "worker",
                "detail": {},
            }
            for row in claimed
        ]
    )
    for statement in (f"claim (100, {BIG}, 30, '{{}}', 1, '{{}}')", f"record ('{attempts}')"):
        text = await many.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {statement}")
        plan = json.loads(text)[0]["Plan"]
        assert not {"queue", "messages"} & read_whole(plan), statement
        assert 1000 > rows_read(plan), text


CONVERSATIONS = """
INSERT INTO gateway.conversations (organization_id, id)
  SELECT organization_id, md5('conversation ' || n)::uuid FROM share;
INSERT INTO gateway.conversation_addresses (organization_id, address, conversation_id, written)
  SELECT organization_id, '+1555' || (1000000 + n), md5('conversation ' || n)::uuid, ''
  FROM share;
"""


async def test_where_an_address_belongs_is_looked_up(many: Connection) -> None:
    """Which conversation somebody's addresses are in, asked with every page of one, takes a look-up
    for each, however many addresses there are."""
    await many.execute(CONVERSATIONS)
    await many.execute("ANALYZE")
    belonging = queries("desk")["belonging"].replace("$1", "{org}")
    for asked in ("{{+15551000001}}", "{{+15551000001,a@example.com}}"):
        plan = await explain(many, "authenticated", BIG, belonging.replace("$2", f"'{asked}'"))
        assert set() == read_whole(plan)


FALLBACKS = """
INSERT INTO gateway.fallbacks (organization_id, message_id, due_at, steps)
  SELECT organization_id, id, now() + interval '1 h' * row_number() OVER (), '[]'
  FROM messages ORDER BY id LIMIT $1
ON CONFLICT DO NOTHING
"""
FIRST = """
UPDATE gateway.fallbacks SET due_at = now()
WHERE message_id IN (SELECT message_id FROM gateway.fallbacks ORDER BY due_at LIMIT $1)
RETURNING organization_id, message_id
"""


async def test_fallbacks_that_are_not_due_are_not_read(many: Connection) -> None:
    """A look at what is due, each second, is one look-up of the earliest while nothing is; then it
    reads what it takes, and of each organization one more, and takes it by its keys, also by plans
    that were made while there were few."""
    await many.execute(FALLBACKS, 3)
    await many.execute("ANALYZE gateway.fallbacks")
    await many.execute(PLANNED_ONCE.replace("SET LOCAL", "SET"))
    await many.execute(f"PREPARE due (bigint) AS {queries('fallbacks')['due']}")
    await many.execute(f"PREPARE take (uuid[], uuid[]) AS {queries('fallbacks')['claim']}")
    await many.execute("EXECUTE due (20); EXECUTE take ('{}', '{}')")
    await many.execute(FALLBACKS, 20_000)
    for due, most in ((0, 2), (3, 50)):
        keys = await many.fetch(FIRST, due)
        of, ids = (", ".join(f"'{row[n]}'" for row in keys) for n in (0, 1))
        take = f"take (ARRAY[{of}]::uuid[], ARRAY[{ids}]::uuid[])"
        for statement in ("due (20)", take):
            text = await many.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {statement}")
            plan = json.loads(text)[0]["Plan"]
            assert not {"fallbacks", "messages"} & read_whole(plan), text
            assert most > rows_read(plan), text


TOLD = """
INSERT INTO organizations (id, name) VALUES (md5('a')::uuid, 'A');
INSERT INTO messages (id, organization_id, channel, direction, from_address, to_address, body)
  VALUES (md5('m')::uuid, md5('a')::uuid, 'sms', 'outbound', '+1', '+2', 'x');
INSERT INTO gateway.message_events
  (organization_id, message_id, id, type, occurred_at, source)
  SELECT md5('a')::uuid, md5('m')::uuid, md5(n::text)::uuid, 'sent', now(), 'test'
  FROM generate_series(1, 2000) n;
INSERT INTO gateway.subscriptions (id, organization_id, url, credentials)
  VALUES (md5('s')::uuid, md5('a')::uuid, 'https://hooks.example.com/', '');
INSERT INTO gateway.deliveries
  (organization_id, subscription_id, id, type, about, occurred_at, due_at)
  SELECT md5('a')::uuid, md5('s')::uuid, md5(n::text)::uuid, 'message.sent', md5('m')::uuid,
    now(), now() + CASE WHEN n > 3 THEN interval '1 hour' ELSE '0' END
  FROM generate_series(1, 2000) n;
"""
# Organization, subscription and id of the three that are due.
DUE = (("'a'",) * 3, ("'s'",) * 3, ("'1'", "'2'", "'3'"))


async def test_what_waits_for_a_subscription_is_not_read(db: Connection) -> None:
    """By statements that were planned on empty tables: what a place has seen is passed over, even
    while a transaction is open that is older than all of it, and so is what is not due."""
    await db.execute(PLANNED_ONCE.replace("SET LOCAL", "SET"))
    due = [f"ARRAY[md5({a})::uuid, md5({b})::uuid, md5({c})::uuid]" for a, b, c in DUE]
    ran = {
        "look": "look (10)",
        "claim": "claim (100, 60, 16, 5, 32, 32, '{}', '{}', '{}', 9)",
        "delivered": f"delivered ({', '.join(due)})",
    }
    for name, statement in ran.items():
        await db.execute(f"PREPARE {name} AS {queries('deliveries')[name]}")
        assert [] == await db.fetch(f"EXECUTE {statement}")
    await db.execute(TOLD)
    await db.execute(
        "UPDATE gateway.subscriptions SET snapshot ="
        " format('%s:%s:%1$s', x - 50, x)::pg_snapshot"
        " FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS x) now"
    )
    looked = await db.fetch("EXECUTE look (10)")
    for statement in ran.values():
        text = await db.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {statement}")
        plan = json.loads(text)[0]["Plan"]
        assert not {"deliveries", "message_events"} & read_whole(plan), statement
        assert 100 > rows_read(plan), text
    await db.execute(
        "INSERT INTO gateway.message_events"
        " (organization_id, message_id, id, type, occurred_at, source)"
        " VALUES (md5('a')::uuid, md5('m')::uuid, md5('x')::uuid, 'sent', now(), 'test')"
    )
    behind = await db.fetch("EXECUTE look (2000)")

    assert [(True, False)] == [(each["is_due"], each["is_behind"]) for each in looked]
    assert 1997 == await db.fetchval("SELECT count(*) FROM gateway.deliveries")
    assert [(False, True)] == [(each["is_due"], each["is_behind"]) for each in behind]


async def test_updates_stay_in_their_page(many: Connection) -> None:
    """A change of status, and a lease, touch no index: every such update is HOT, also when all
    messages of some pages change in one transaction, as when their reports come together."""
    async with many.transaction():
        await many.execute(
            "UPDATE messages SET status = 'sent', sent_at = now()"
            " WHERE ctid = ANY (ARRAY(SELECT ctid FROM messages ORDER BY ctid LIMIT 300))"
        )
        await assert_hot(many, {"messages"}, 300)
    async with many.transaction():
        await many.execute(
            "UPDATE messages SET status = 'delivered', delivered_at = now(), error_code = '1',"
            " error_message = 'x' WHERE ctid IN (SELECT min(ctid) FROM messages"
            " GROUP BY (ctid::text::point)[0])"
        )
        await many.execute(
            "UPDATE gateway.queue SET lease_until = now(), lease_id = uuid_generate_v4(),"
            " attempts = attempts + 1, attempted_at = now() WHERE ctid IN (SELECT min(ctid)"
            " FROM gateway.queue GROUP BY (ctid::text::point)[0])"
        )
        await assert_hot(many, {"messages", "queue"}, 50)


@pytest.mark.parametrize(
    "text",
    [
        lambda: "x" * 5_000_000,
        lambda: " ".join(chr(0x20000 + n % 42_000) + chr(0x20000 + n // 7) for n in range(100_000)),
        # Every word is kept twice, whole and in parts: 1.4 MB of 200,000 letters, 0.8 of 100,000.
        lambda: " ".join(
            "-".join(
                chr(0x20000 + (n * 41 + k) % 42_000) + chr(0x20000 + (n * 7 + k) % 42_000)
                for k in range(40)
            )
            for n in range(4_000)
        ),
        lambda: "https://example.com/" + "/".join(f"päge{n}" for n in range(100_000)),
        lambda: " ".join(f"a{n}@b{n}.example.com" for n in range(100_000)),
    ],
    ids=["one word", "rare letters", "compounds", "an address", "mailboxes"],
)
async def test_any_body_can_be_stored(db: Connection, text: Callable[[], str]) -> None:
    """No body is too long or too odd for the index of words."""
    body = text()
    await db.execute("INSERT INTO organizations (name) VALUES ('Acme')")
    await db.execute(
        "INSERT INTO messages (organization_id, channel, direction, from_address, to_address, body)"
        " SELECT id, 'email', 'inbound', 'a', 'b', $1 FROM organizations",
        body,
    )
    assert len(body) == await db.fetchval("SELECT length(body) FROM messages")
