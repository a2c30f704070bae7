"""Words are found through the index where they are rare, on the way back in time where they are
frequent, and both ways find what reading everything would."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from tests.database.conftest import MakeFilled
from tests.database.test_database_plans import indexes, nodes

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

ORG = "md5('org 0')::uuid"

# Two fifths are of one organization; "parcel" is in half of everything and "quince" in five
# messages of it, "ember" in the oldest tenth alone, "middling" in one of fifty, and two write at
# each moment.
MANY = f"""
INSERT INTO organizations (id, name)
  SELECT md5('org ' || n)::uuid, 'Org ' || n FROM generate_series(0, 9) n;
INSERT INTO auth_users (auth_id, email, organization_id)
  SELECT id, name || '@example.com', id FROM organizations;
INSERT INTO leads (id, organization_id, first_name, last_name, email, phone)
  SELECT md5('lead ' || n)::uuid, {ORG}, 'Zelda', 'Number' || n, 'z.' || n || '@mail.example.com',
    '07700 900' || 100 + n FROM generate_series(0, 4) n;
INSERT INTO gateway.conversations (organization_id, id, name, lead_id)
  SELECT o.id, md5('conversation ' || n)::uuid, CASE WHEN n > 9 THEN 'Quincy Adams-Smith' END,
    CASE WHEN n < 5 AND o.id = {ORG} THEN md5('lead ' || n)::uuid END
  FROM organizations o, generate_series(0, 12) n;
INSERT INTO gateway.conversation_addresses (organization_id, address, conversation_id, written)
  SELECT organization_id, '+4477009001' || n, id, '+4477009001' || n
  FROM gateway.conversations, generate_series(10, 12) n
  WHERE id = md5('conversation ' || n - 5)::uuid;
INSERT INTO messages (id, organization_id, channel, direction, from_address, to_address, subject,
    body, status, reference, conversation_id, created_at)
  SELECT md5('message ' || n)::uuid,
    md5('org ' || CASE WHEN n % 5 < 2 THEN 0 ELSE n % 10 END)::uuid,
    CASE WHEN n % 3 = 0 THEN 'sms' ELSE 'email' END, 'outbound', '+1' || n % 7, '+2',
    CASE WHEN n % 3 > 0 THEN 'Case ' || n % 40 END,
    'The ' || CASE WHEN n % 2 = 0 THEN 'parcel' ELSE 'letter' END || ' number' || n
      || ' for Zoë-Ann'
      || CASE WHEN n % 4000 = 5 THEN ' quince' ELSE '' END
      || CASE WHEN n % 50 = 11 THEN ' middling' ELSE '' END
      || CASE WHEN n < 2000 THEN ' ember' ELSE '' END,
    CASE WHEN n % 100 = 0 THEN 'failed' ELSE 'sent' END, CASE WHEN n % 10 = 0 THEN 'r' || n END,
    md5('conversation ' || n % 13)::uuid,
    timestamptz '2026-01-01' + n / 2 * interval '1 second'
  FROM generate_series(1, 20000) n;
"""  # noqa: S608

CALL = (
    "SELECT id FROM gateway.search_messages($1, $2, $3, $4, NULL, NULL, $5, NULL, $6, $7,"
    " $8, $9, $10, $11, $12)"
)
CONVERSATIONS = (
    "SELECT gateway.search_conversations($1, NULL, NULL, NULL, NULL, NULL, NULL, 1000) AS id"
)
# What reading everything would find; the words as PostgreSQL itself reads them.
PLAIN = f"""
SELECT id FROM messages WHERE organization_id = {ORG}
  AND ($1::text IS NULL OR channel = $1) AND ($2::text IS NULL OR direction = $2)
  AND ($3::text IS NULL OR status = $3) AND ($4::text IS NULL OR $4 IN (from_address, to_address))
  AND ($5::uuid IS NULL OR conversation_id = $5) AND ($6::text IS NULL OR reference = $6)
  AND to_tsvector('simple', concat_ws(' ', subject, body)) @@ $7::text::tsquery
  AND ($8::timestamptz IS NULL OR created_at >= $8) AND ($9::timestamptz IS NULL OR created_at < $9)
  AND ($10::timestamptz IS NULL OR (created_at, id) < ($10, $11::uuid))
ORDER BY created_at DESC, id DESC LIMIT $12
"""  # noqa: S608
# As it is typed, and as PostgreSQL writes it.
WORDS = {
    "parcel": "parcel",
    "quince": "quince",
    "Ember": "ember",
    "middling": "middling",
    "absent": "absent",
    "numb*": "numb:*",
    "number77*": "number77:*",
    '"parcel number700"': "parcel <-> number700",
    '"the parcel numb*"': "the <-> parcel <-> numb:*",
    "zoë-a*": "'zoë-a':* <-> zoë:* <-> a:*",
    "letter quince": "letter & quince",
    "quince or number8 ember": "quince | number8 & ember",
    "ember -parcel": "ember & !parcel",
    'quince -"letter number5"': "quince & !(letter <-> number5)",
    '"case 7" parcel': "case <-> 7 & parcel",
}
NARROWED: list[dict[int, str]] = [
    {},
    {1: "'sms'"},
    {3: "'failed'"},
    {4: "'+13'"},
    {5: "md5('conversation 4')::uuid"},
    {6: "'r1000'"},
    {8: "'2026-01-01 02:00Z'", 9: "'2026-01-01 02:30Z'"},
    {2: "'inbound'"},
]


def called(text: str, values: dict[int, str]) -> str:
    """A statement with literals for its parameters, NULL for those that are not given."""
    for n in range(12, 0, -1):
        text = text.replace(f"${n}", values.get(n, "NULL"))
    return text


def quoted(text: str) -> str:
    """A literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


@pytest.fixture(scope="session")
def many(make_filled: MakeFilled) -> str:
    """The name of a database with many messages."""
    return make_filled("searched", MANY, "VACUUM ANALYZE")


@pytest.fixture
async def db(
    make_database: Callable[[str], str],
    many: str,
    connect: Callable[[str], Awaitable[Connection]],
) -> Connection:
    """A connection as a member of staff of the big organization, over many messages."""
    connection = await connect(make_database(many))
    who = json.dumps({"sub": str(await connection.fetchval(f"SELECT {ORG}"))})
    await connection.execute("SELECT set_config('request.jwt.claims', $1, false)", who)
    await connection.execute("SET ROLE authenticated")
    return connection


async def test_finds_what_is_there(db: Connection) -> None:
    """Every kind of words, with every filter: the same as reading all messages of the organization
    would find, newest first."""
    for typed, written in WORDS.items():
        for narrowed in NARROWED:
            values = {**narrowed, 12: "60"}
            expected = await db.fetch(called(PLAIN, {**values, 7: quoted(written)}))
            actual = await db.fetch(called(CALL, {**values, 7: quoted(typed)}))
            assert expected == actual, (typed, narrowed)
            assert all(row in expected for row in actual)


# What is typed, and whose messages it finds.
CONTACTS = {
    "zelda": range(5),
    "ZELDA NUMB*": range(5),
    "zelda number3": [3],
    "z.1@mail.example.com": [1],
    '"z 2"': [2],
    "mail.example.com": range(5),
    "quincy": [10, 11, 12],
    '"adams smith"': [10, 11, 12],
    "adams-sm*": [10, 11, 12],
    "+44 7700 900110": [5],
    "(07700) 900-111": [6],
    "900112": [7],
    "0112": [7],
    "07700 900103": [3],
    "770090011*": [5, 6, 7],
    "zelda or quincy": [*range(5), 10, 11, 12],
}
OF_CONTACTS = f"""
SELECT id FROM messages WHERE organization_id = {ORG} AND status = 'sent'
  AND conversation_id = ANY (ARRAY(SELECT md5('conversation ' || n)::uuid FROM unnest($1::int[]) n))
ORDER BY created_at DESC, id DESC LIMIT 60
"""  # noqa: S608


async def test_contacts_are_found(db: Connection) -> None:
    """By name, mailbox or telephone number, written in whatever way: their messages, newest first,
    and their conversations."""
    for typed, contacts in CONTACTS.items():
        expected = await db.fetch(OF_CONTACTS, list(contacts))
        assert expected == await db.fetch(
            called(CALL, {3: "'sent'", 7: quoted(typed), 12: "60"})
        ), typed
        found = await db.fetch(CONVERSATIONS, typed)
        wanted = await db.fetch(
            "SELECT md5('conversation ' || n)::uuid AS id FROM unnest($1::int[]) n", list(contacts)
        )
        assert {row["id"] for row in wanted} == {row["id"] for row in found}, typed


# Everybody's names, so that the index has to tell who it is; newer ones than all others.
CROWD = f"""
INSERT INTO leads (id, organization_id, first_name, last_name, email, phone, created_at)
  SELECT md5('crowd ' || n)::uuid, {ORG}, 'Yolanda', 'Crowd' || n, 'y.' || n || '@o''mail.example',
    '07700 901' || 100 + n, now() + n * interval '1 second' FROM generate_series(0, 299) n;
INSERT INTO clients (id, organization_id, first_name, last_name, email, phone)
  SELECT md5('client')::uuid, {ORG}, 'Zelda', 'O''Brien-Lee', 'k@x.example', '+44 7700 900101';
INSERT INTO leads (organization_id, first_name, last_name, phone)
  SELECT id, 'Zelda', 'Number1', '07700 900101' FROM organizations WHERE id <> {ORG};
"""  # noqa: S608
# What is typed, the digits of it where it is a number; and the leads and the client whom it finds.
PEOPLE: dict[tuple[str, str | None], list[str]] = {
    ("zelda number3", None): ["lead 3"],
    ("NUMB zel", None): [f"lead {n}" for n in range(5)],
    ("z.1@", None): ["lead 1"],
    ("o'br", None): ["client"],
    ("brien-l", None): ["client"],
    ("(07700) 900 101", "0900101"): ["lead 1", "client"],
    ("yol", None): [f"crowd {n}" for n in range(299, 289, -1)],
    ("yolanda crowd7", None): [f"crowd {n}" for n in (*range(79, 69, -1), 7)][:10],
    ("elda", None): [],
    ("-zelda", None): [*(f"lead {n}" for n in range(5)), "client"],
    ('"', None): [],
    ("%", None): [],
    ("x " * 50, None): [],
}


async def test_people_are_found(db: Connection) -> None:
    """By the beginnings of words of theirs, the newest ten of each kind first, however many there
    are, or by the end of a number: the caller's alone."""
    await db.execute("RESET ROLE")
    await db.execute(CROWD)
    await db.execute("SET ROLE authenticated")
    for (typed, tail), expected in PEOPLE.items():
        rows = await db.fetch("SELECT * FROM gateway.search_people($1, $2, 10)", typed, tail)
        named = {name: await db.fetchval("SELECT md5($1)::uuid", name) for name in expected}
        assert len(expected) == len(rows), typed
        assert set(named.values()) == {row["id"] for row in rows}, typed
        if "crowd" in typed or "yol" in typed:
            assert list(named.values()) == [row["id"] for row in rows], typed


STRANGERS = f"""
INSERT INTO {{table}} (organization_id, first_name, last_name, email, created_at)
  SELECT md5('org 1')::uuid, 'Yolanda', 'Stranger', 's.' || n || '@x.example',
    now() + n * interval '1 day' FROM generate_series(1, 3000) n;
INSERT INTO {{table}} (organization_id, first_name, last_name, email, created_at)
  SELECT {ORG}, 'Yolanda', 'Old', 'o.' || n || '@x.example',
    now() - n * interval '1 day' FROM generate_series(1, 1500) n;
ANALYZE {{table}};
"""  # noqa: S608
NEWEST = f"""
EXPLAIN (ANALYZE, FORMAT json) SELECT * FROM {{table}}
WHERE organization_id = {ORG} ORDER BY created_at DESC, id LIMIT 100
"""  # noqa: S608


@pytest.mark.parametrize("table", ["leads", "clients"])
async def test_the_newest_people_are_read_alone(db: Connection, table: str) -> None:
    """The hundred newest of an organization, with which a search begins, are found without its
    older ones, and without those of others, however much newer."""
    await db.execute("RESET ROLE")
    await db.execute(STRANGERS.format(table=table))
    await db.execute("SET enable_seqscan = off")
    (told,) = json.loads(await db.fetchval(NEWEST.format(table=table)))
    plan = told["Plan"]
    assert {f"idx_{table}_org_created"} == indexes(plan)
    while "Plans" in plan:
        (plan,) = plan["Plans"]
    assert (100, 0) == (plan["Actual Rows"], plan.get("Rows Removed by Filter", 0))


OLD_FRIENDS = f"""
INSERT INTO gateway.conversations (organization_id, id, name)
  SELECT {ORG}, md5('friend ' || n)::uuid, 'Yolanda' FROM generate_series(0, 8) n;
INSERT INTO messages (id, organization_id, channel, direction, from_address, to_address, body,
    status, conversation_id, created_at)
  SELECT md5('old ' || n)::uuid, {ORG}, CASE WHEN n % 7 = 0 THEN 'sms' ELSE 'email' END, 'outbound',
    '+1', '+2', 'Long ago', 'sent', md5('friend ' || floor(sqrt(n))::int)::uuid,
    timestamptz '2025-01-01' + n * n % 41 * interval '1 day'
  FROM generate_series(0, 80) n;
"""  # noqa: S608


@pytest.mark.parametrize("wanted", [1, 3, 8, 9, 60, 100])
async def test_many_contacts_with_few_on_the_page(db: Connection, wanted: int) -> None:
    """Of contacts who were last written to long ago, the newest messages of all of them together,
    whether there are more contacts than the page has places or fewer."""
    await db.execute("RESET ROLE")
    await db.execute(OLD_FRIENDS)
    await db.execute("SET ROLE authenticated")
    for narrowed in ({}, {1: "'sms'"}, {8: "'2025-01-05'", 9: "'2025-02-01'"}):
        values = {**narrowed, 12: str(wanted)}
        expected = await db.fetch(called(PLAIN, {**values, 7: "'long & ago'"}))
        assert expected == await db.fetch(called(CALL, {**values, 7: "'yolanda'"})), narrowed


MANY_CONTACTS = f"""
INSERT INTO gateway.conversations (organization_id, id, status, last_message_at)
  SELECT {ORG}, md5('guest ' || n)::uuid, CASE WHEN n % 600 = 0 THEN 'closed' ELSE 'open' END,
    timestamptz '2025-01-01' + n * interval '1 minute' FROM generate_series(1, 1300) n;
INSERT INTO gateway.conversation_addresses (organization_id, address, conversation_id, written)
  SELECT {ORG}, 'u' || n || '@inn.example', md5('guest ' || n)::uuid, 'u' || n || '@inn.example'
  FROM generate_series(1, 1300) n;
INSERT INTO messages (id, organization_id, channel, direction, from_address, to_address, body,
    status, lead_id, conversation_id, created_at)
  SELECT md5('stay ' || n)::uuid, {ORG}, 'email', 'inbound', 'u' || n || '@inn.example', '+2',
    'Stay', 'received', CASE WHEN n = 7 THEN md5('lead 1')::uuid END, md5('guest ' || n)::uuid,
    timestamptz '2025-01-01' + n * interval '1 minute' FROM generate_series(1, 1300) n;
"""  # noqa: S608


async def test_all_contacts_are_found(db: Connection) -> None:
    """Of more than a thousand contacts all messages are found, page by page and with any filter;
    and all conversations that pass the filters of their list."""
    await db.execute("RESET ROLE")
    await db.execute(MANY_CONTACTS)
    await db.execute("SET ROLE authenticated")
    oldest = "timestamptz '2025-01-01 00:11Z'"
    for narrowed in (
        {},
        {9: oldest},
        {8: oldest},
        {10: oldest, 11: "md5('x')::uuid"},
        {4: "'u3@inn.example'"},
        {5: "md5('guest 5')::uuid"},
    ):
        values = {**narrowed, 12: "1400"}
        expected = await db.fetch(called(PLAIN, {**values, 7: "'stay'"}))
        assert expected == await db.fetch(called(CALL, {**values, 7: "'inn.example'"})), narrowed
    assert 1300 == len(await db.fetch(called(CALL, {7: "'inn.example'", 12: "1400"})))
    of_lead = CALL.replace("NULL, NULL, $5", "md5('lead 1')::uuid, NULL, $5", 1)
    found = await db.fetch(called(of_lead, {7: "'inn.example'", 12: "60"}))
    assert 1 == len(found)
    closed = CONVERSATIONS.replace("NULL, NULL, NULL, NULL", "NULL, NULL, 'closed', NULL", 1)
    assert 2 == len(await db.fetch(closed, "inn.example"))


async def test_more_contacts_than_can_be_asked(db: Connection) -> None:
    """Where the messages of too many contacts would have to be looked for, nothing is left out in
    silence: what the newest of them have is found, and for the rest the search is refused."""
    await db.execute("RESET ROLE; SET session_replication_role = replica")  # nothing is placed
    await db.execute(MANY_CONTACTS.replace("1300", "20100").replace("minute", "second"))
    await db.execute("SET ROLE authenticated")
    first = await db.fetch(called(CALL, {7: "'inn.example'", 12: "60"}))
    assert first == await db.fetch(called(PLAIN, {7: "'stay'", 12: "60"}))
    with pytest.raises(asyncpg.InvalidParameterValueError, match=r"more than 20,000 contacts: add"):
        await db.fetch(called(CALL, {7: "'inn.example'", 9: "'2025-01-01 00:01Z'", 12: "60"}))
    recent = {7: "'inn.example'", 8: "'2025-01-01 05:30Z'", 12: "1400"}
    assert 301 == len(await db.fetch(called(CALL, recent)))


async def test_conversations_by_what_was_said(db: Connection) -> None:
    """A word of a message finds the conversation that it is in."""
    found = await db.fetch(CONVERSATIONS, "quince")
    wanted = await db.fetch(
        called(PLAIN, {7: "'quince'", 12: "60"})
        .replace("SELECT id", "SELECT DISTINCT conversation_id AS id")
        .replace("ORDER BY created_at DESC, id DESC", "")
    )
    assert {row["id"] for row in wanted} == {row["id"] for row in found}
    assert 13 == len(await db.fetch(CONVERSATIONS, "parcel"))


async def test_pages_join(db: Connection) -> None:
    """Pages that begin where the one before ended give each message once, in order."""
    for typed in ("parcel", "quince", "middling", "ember"):
        wanted = await db.fetch(called(PLAIN, {7: quoted(typed), 12: "450"}))
        found: list[Any] = []
        after: dict[int, str] = {}
        while len(found) < 450:
            part = await db.fetch(called(CALL, {7: quoted(typed), 12: "90", **after}))
            found += part
            if len(part) < 90:
                break
            last = part[-1]["id"]
            at = await db.fetchval("SELECT created_at FROM messages WHERE id = $1", last)
            after = {10: quoted(str(at)), 11: quoted(str(last))}

        assert wanted == found[:450], typed


async def plans(db: Connection, statement: str) -> list[dict[str, Any]]:
    """The plans of what a function ran, in order, with how many rows each part of them gave."""
    told: list[dict[str, Any]] = []

    def hear(_: object, message: Any) -> None:
        if message.message.startswith("duration:"):
            told.append(json.loads(message.message.partition("plan:")[2]))

    await db.execute("RESET ROLE")
    await db.execute(
        "LOAD 'auto_explain'; SET client_min_messages = notice;"
        "SET auto_explain.log_level = notice;"
        "SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;"
        "SET auto_explain.log_analyze = on; SET auto_explain.log_format = json"
    )
    await db.execute("SET ROLE authenticated")
    db.add_log_listener(hear)
    await db.execute(statement)
    db.remove_log_listener(hear)
    return [one["Plan"] for one in told if "idx_messages" in json.dumps(one)]


def rows_read(plan: dict[str, Any]) -> int:
    """How many rows the scans of a plan gave, those that a filter refused included."""
    here = 0
    if plan["Node Type"] in ("Index Scan", "Bitmap Heap Scan", "Seq Scan", "Index Only Scan"):
        here = int(
            (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
        )
    return here + sum(rows_read(part) for part in plan.get("Plans", ()))


# Through which indexes, and at most how many rows.
BOTH = {
    "idx_messages_org_created",
    "idx_messages_words",
    "idx_messages_org_conversation_created",  # for contacts that have the word: none
}
WAYS = {
    "parcel": ({"idx_messages_org_created"}, 250),
    "quince": (BOTH, 210),
    "absent": (BOTH, 200),
    "number77*": (BOTH, 300),
    # In a tenth of all, but in none of the newest: once through the index.
    "ember": (BOTH, 1010),
    # A contact with one of thirteen messages: not walked for, the contact's own are in order.
    "zelda number3": (BOTH, 260),
}


async def test_plans(db: Connection) -> None:
    """A frequent word reads as many messages as it takes, a rare one asks the index of words;
    neither reads the table, and only what matches is sorted."""
    for typed, (used, most) in WAYS.items():
        ran = await plans(db, called(CALL, {7: quoted(typed), 12: "51"}))
        assert used == set().union(*(indexes(plan) for plan in ran)), typed
        assert "Seq Scan" not in set().union(*(nodes(plan) for plan in ran)), typed
        assert sum(rows_read(plan) for plan in ran) <= most, typed


@pytest.mark.no_cover
@pytest.mark.parametrize("part", ["a_", "~/", "a-a.", "a1@", "<!--", "<!-- ", "http://a_/", "a://"])
async def test_no_text_takes_long_to_read(db: Connection, part: str) -> None:
    """Whatever somebody writes is read for its words in a moment: the parser of PostgreSQL alone
    takes a minute for 100 KB of some of these, and whoever waits for it serves nobody else."""
    await db.execute("SET statement_timeout = '8s'")
    text = (part * (100_000 // len(part) + 1))[:100_000]
    assert 0 <= await db.fetchval("SELECT length(gateway.message_words('Hello', $1))", text)


LONG = f"""
INSERT INTO messages (id, organization_id, channel, direction, from_address, to_address, body,
    status, created_at)
  SELECT md5('long ' || n)::uuid, {ORG}, 'email', 'inbound', '+1', '+2',
    repeat('A long story about nothing. ', 3500) || CASE WHEN n % 8 = 0 THEN 'parcel' ELSE '' END,
    'received', timestamptz '2026-02-01' + n * interval '1 second'
  FROM generate_series(1, 16) n;
INSERT INTO messages (id, organization_id, channel, direction, from_address, to_address, subject,
    body, status, created_at)
  SELECT md5('short ' || n)::uuid, {ORG}, 'email', 'inbound', '+1', '+2', 'The parcel', 'quince',
    'received', timestamptz '2026-02-01' + n * interval '10 seconds'
  FROM generate_series(1, 5) n;
"""  # noqa: S608


def looked_at(plan: dict[str, Any]) -> int:
    """How many messages a walk read for their words."""
    here = int(plan["Actual Rows"]) if plan.get("Subplan Name") == "CTE looked" else 0
    return here + sum(looked_at(part) for part in plan.get("Plans", ()))


async def test_long_texts_shorten_the_walk(db: Connection) -> None:
    """Of long messages few are read for their words before the index is asked, and the same ones
    are found: a stranger's long mails would take the time of all searches."""
    await db.execute("RESET ROLE")
    await db.execute(LONG)
    await db.execute("SET ROLE authenticated")
    for typed in ("parcel", "quince", "parcel -quince"):
        for narrowed in ({}, {8: "'2026-02-01'"}):
            values = {**narrowed, 7: quoted(typed), 12: "60"}
            words = typed.replace(" -", " & !")
            expected = await db.fetch(called(PLAIN, {**values, 7: quoted(words)}))
            assert expected == await db.fetch(called(CALL, values)), (typed, narrowed)
    ran = await plans(db, called(CALL, {7: quoted("absent"), 12: "60"}))
    assert 1 <= sum(looked_at(plan) for plan in ran) <= 15


LINK = "https://example.com/" + "/".join(f"step{n}" for n in range(60))


async def test_long_words_are_found(db: Connection) -> None:
    """What goes on for more than a hundred letters is found whole, and by the words in it; so is
    what stands in angle brackets."""
    await db.execute("RESET ROLE")
    await db.execute(
        "UPDATE messages SET body = $1 WHERE id = md5('message 6')::uuid",
        f"See {LINK} <b>bold</b> <ann@example.com>",
    )
    await db.execute("SET ROLE authenticated")
    for typed in (
        LINK,
        "example.com",
        "bold",
        "ann@example.com",
        "<ann@example.com>",
        f'"see {LINK}"',
    ):
        found = await db.fetch(called(CALL, {7: quoted(typed), 12: "60"}))
        assert 1 == len(found), typed


# What a message says, and by what it is found.
TOGETHER = {
    "Danke.Bis morgen": ("bis", "danke.bis", '"bis morgen"', "danke.b*"),
    "Dr.Müller kommt": ("Müller", '"dr müller"', '"müller kommt"', "dr.mül*"),
    "INV-2024-0815": ("0815", "2024-0815", "inv-2024", "inv-20*", "INV-2024-0815"),
    "AB-123": ("123", "ab-123", '"ab 123"'),
    "Write to ada.love@shop.example.com": (
        "ada", "shop.example.com", "love@shop.example.com", "ada.lo*", "ada.love@shop.example.com",
        '"to ada.love@shop.example.com"',
    ),
    "See https://shop.example.com/orders/4711?x=1 now": (
        "4711", "shop.example.com", "https://shop.example.com", "/orders/4711", "orders/47*",
        '"see https://shop.example.com/orders/4711?x=1 now"', '"see shop.example.com"',
    ),
    "Look at http://shop.example.com": ('"at shop.example.com"', "http://shop.example.com"),
    "Tel.0815": ("0815", "tel.0815"),
    "It costs 3.50 now": ("3.50", '"costs 3.50"', "3.5*"),
    "It is -5 outside": ('"-5"', "5", '"is -5"'),
    "Call +33612345678": ("+33612345678", "33612345678", "+336*"),
    "An e-mail server": ("e-mail", "mail", "e-ma*", '"mail server"', '"an e-mail"'),
    "A foo_bar in ~/home": ("foo", "foo_bar", "home", "~/home"),
    "Ask user@host": ("user@host", "user", "host"),
}  # fmt: skip
SAY = f"""
INSERT INTO messages (organization_id, channel, direction, from_address, to_address, body)
VALUES ({ORG}, 'sms', 'inbound', '+1', '+2', $1)
"""  # noqa: S608


async def test_words_without_blanks_between(db: Connection) -> None:
    """A word is found whatever stands beside it without a blank, and so is all of it together."""
    await db.execute("RESET ROLE")
    await db.executemany(SAY, [(body,) for body in TOGETHER])
    await db.execute("SET ROLE authenticated")
    for body, every in TOGETHER.items():
        for typed in every:
            ids = await db.fetch(called(CALL, {7: quoted(typed), 12: "60"}))
            bodies = "SELECT body FROM messages WHERE id = ANY ($1)"
            found = await db.fetch(bodies, [row["id"] for row in ids])
            assert body in {row["body"] for row in found}, typed
    excluded = await db.fetch(called(CALL, {7: quoted("morgen -bis"), 12: "60"}))
    assert [] == excluded


HOSTILE = {
    "": "names no word to look for",
    " ": "names no word to look for",
    '"': "names no word to look for",
    '""""': "names no word to look for",
    "!!&|<->:*": "names no word to look for",
    "-parcel": "names no word to look for",
    "parcel or -letter": "names no word to look for",
    "\\' | ' & !": "names no word to look for",
    "or or or": "names no word to look for",
    "😀" * 1000: "names no word to look for",
    "é" * 1000 + "é": "is too long: 1,000 characters at most",
    "word " * 10_000: "is too long: 1,000 characters at most",
    "-".join("ab" * 100): "names too many words: 40 at most",
    " ".join(f"a{n}" for n in range(100)): "names too many words: 40 at most",
}


async def test_what_cannot_be_searched_for(db: Connection) -> None:
    """Whatever holds no word, or too many, is refused in plain words."""
    for typed, reason in HOSTILE.items():
        with pytest.raises(asyncpg.InvalidParameterValueError) as refused:
            await db.fetch(called(CALL, {7: quoted(typed), 12: "51"}))
        assert reason == refused.value.message


ODD = [
    "'; DROP TABLE messages; --",
    "parcel\\ ':*",
    '"unbalanced',
    'x"y"z*',
    "<-> parcel",
    "ا" * 900 + "*",
    "a:b:c",
    "(parcel",
    "parcel:A",
    "https://example.com/" + "a/" * 400,
    "- - -x y",
]


async def test_anything_may_be_typed(db: Connection) -> None:
    """Quotes, operators and odd letters are words or nothing; never another error."""
    for typed in ODD:
        found = await db.fetch(called(CALL, {7: quoted(typed), 12: "51"}))
        assert len(found) <= 51, typed
