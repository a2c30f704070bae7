"""Where messages belong: one conversation per contact, whatever the order, whoever is at once."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels import email, phone
from gateway.schema import migrate
from gateway.store import conversations, unlinking
from gateway.store.conversations import Place, Placed
from gateway.store.database import Database
from tests.database.rows import A, B

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

Connect = Callable[[str], Awaitable["Connection"]]

ANN, BEN = "+15551230001", "+15551230002"


@pytest.fixture
async def two(db: Connection) -> Connection:
    """Organizations A and B."""
    await db.execute(
        "INSERT INTO organizations (id, name) VALUES ($1, 'Acme'), ($2, 'Bravo')", A, B
    )
    return db


def at(*addresses: str, **more: Any) -> Place:
    """A message whose other end has these addresses."""
    return Place(seed=uuid.uuid4(), addresses=addresses, **more)


async def place(db: Connection, *places: Place, organization: uuid.UUID = A) -> list[Placed]:
    """Where messages belong, in a transaction of their own."""
    async with db.transaction():
        return await conversations.place(db, organization, places)  # type: ignore[arg-type]


async def lead(db: Connection, phone: str | None, email: str | None = None) -> uuid.UUID:
    """A new lead of A."""
    found: uuid.UUID = await db.fetchval(
        "INSERT INTO leads (organization_id, first_name, phone, email)"
        " VALUES ($1, 'Ann', $2, $3) RETURNING id",
        A,
        phone,
        email,
    )
    return found


async def message(db: Connection, conversation: uuid.UUID, theirs: str, **more: Any) -> uuid.UUID:
    """An inbound message that is in a conversation."""
    values = {"channel": "sms", "direction": "inbound", "body": "hi"} | more
    found: uuid.UUID = await db.fetchval(
        "INSERT INTO messages (organization_id, conversation_id, channel, direction, from_address,"
        " to_address, body) VALUES ($1, $2, $3, $4, $5, '+1999', $6) RETURNING id",
        A,
        conversation,
        values["channel"],
        values["direction"],
        theirs,
        values["body"],
    )
    return found


async def test_variants_meet(two: Connection) -> None:
    """Forms of one number and one mailbox meet in one conversation; other organizations do not."""
    forms = [
        ("+5215512345678", "+525512345678"),
        ("+5491123456789", "+541123456789"),
        ("+5511987654321", "+551187654321"),
        ("Ann@Example.com", "ann@example.COM"),
        ("US.13491208655302741918", "US.13491208655302741918"),
    ]
    for one, other in forms:
        first, second = await place(two, at(one), at(other))
        (elsewhere,) = await place(two, at(one), organization=B)
        assert first == second
        assert elsewhere.conversation_id != first.conversation_id
    assert 2 * len(forms) == await two.fetchval("SELECT count(*) FROM gateway.conversations")


@pytest.mark.parametrize("hidden", ["", " ", "anonymous", "Restricted", "+266696687"])
async def test_nobodys_address(two: Connection, hidden: str) -> None:
    """Callers who hide their number are not one person: each message is by itself, once."""
    one, other = at(hidden), at(hidden)
    first, second = await place(two, one, other)
    (again,) = await place(two, one)
    assert first != second
    assert first == again


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(
        st.from_regex(r"\+(52|521|54|549|55[0-9]{2}9?)[0-9]{6,11}", fullmatch=True),
        st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True),
        st.from_regex(r"[A-Z]{2}\.[A-Za-z0-9]{1,20}", fullmatch=True),
        st.emails(),
    )
)
async def test_the_same_form_as_in_python(db: Connection, address: str) -> None:
    """The database and channels/ agree on which addresses are the same."""
    expected = email.key(address) if "@" in address else phone.canonical(address)
    assert expected == await db.fetchval("SELECT gateway.address_key($1)", address)
    forms = [email.key(address)] if "@" in address else list(phone.variants(address))
    assert forms == await db.fetchval("SELECT gateway.address_forms($1)", address)


async def test_addresses_of_a_lead_meet(two: Connection) -> None:
    """Phone, mailbox and user id of one lead, in whatever order, are one conversation."""
    ann = await lead(two, ANN, "ann@example.com")
    (by_mail,) = await place(two, at("ann@example.com", lead_id=ann))
    by_phone, by_id = await place(
        two, at(ANN, lead_id=ann), at(ANN, "US.123", lead_id=ann, name="Annie")
    )
    (later,) = await place(two, at("US.123"))
    assert {by_mail.conversation_id} == {
        each.conversation_id for each in (by_mail, by_phone, by_id, later)
    }
    row = await two.fetchrow("SELECT lead_id, name FROM gateway.conversations")
    assert (ann, "Annie") == tuple(row or ())


async def test_a_name_becomes_known(two: Connection) -> None:
    """Who an unknown address is, is told by the next message after somebody made the lead."""
    (before,) = await place(two, at(ANN))
    ann = await lead(two, ANN)
    (after,) = await place(two, at(ANN, lead_id=ann))
    assert (before, ann) == (after, await two.fetchval("SELECT lead_id FROM gateway.conversations"))


async def test_unknown_addresses_join_their_lead(two: Connection) -> None:
    """Two conversations that turn out to be one lead's are to be joined, and are then one."""
    (by_phone,) = await place(two, at(ANN))
    said = await message(two, by_phone.conversation_id, ANN)
    ann = await lead(two, ANN, "ann@example.com")
    (by_mail,) = await place(two, at("ann@example.com", lead_id=ann))
    (again,) = await place(two, at(ANN, lead_id=ann))
    assert Placed(conversation_id=by_phone.conversation_id, joins=by_mail.conversation_id) == again

    assert await conversations.join(two, A, again.conversation_id, by_mail.conversation_id)  # type: ignore[arg-type]

    (merged,) = await place(two, at(ANN, lead_id=ann))
    assert Placed(conversation_id=by_mail.conversation_id, joins=None) == merged
    assert by_mail.conversation_id == await two.fetchval(
        "SELECT conversation_id FROM messages WHERE id = $1", said
    )
    old = await conversations.get(two, A, by_phone.conversation_id)  # type: ignore[arg-type]
    assert old is not None
    assert by_mail.conversation_id == old["id"]
    assert not await conversations.join(two, A, again.conversation_id, by_mail.conversation_id)  # type: ignore[arg-type]


async def test_a_lead_that_became_a_client(two: Connection) -> None:
    """The lead's and the client's conversations are one contact's."""
    ann = await lead(two, ANN, "ann@example.com")
    (as_lead,) = await place(two, at(ANN, lead_id=ann))
    client = await two.fetchval(
        "INSERT INTO clients (organization_id, email) VALUES ($1, 'ann@example.com') RETURNING id",
        A,
    )
    (as_both,) = await place(two, at("ann@example.com", lead_id=ann, client_id=client))
    assert as_lead.conversation_id == as_both.conversation_id
    row = await two.fetchrow("SELECT lead_id, client_id FROM gateway.conversations")
    assert (ann, client) == tuple(row or ())


async def test_two_named_people_stay_two(two: Connection) -> None:
    """A telephone that a second lead has, too, stays the first one's; nobody is joined."""
    ann, ben = await lead(two, ANN), await lead(two, ANN, "ben@example.com")
    (one,) = await place(two, at(ANN, lead_id=ann))
    (other,) = await place(two, at("ben@example.com", lead_id=ben))
    (shared,) = await place(two, at(ANN, lead_id=ben))
    assert Placed(conversation_id=one.conversation_id, joins=None) == shared
    assert {one.conversation_id: ann, other.conversation_id: ben} == {
        row["id"]: row["lead_id"] for row in await two.fetch("SELECT * FROM gateway.conversations")
    }


async def test_said_by_somebody(two: Connection) -> None:
    """A new address goes where a reply says; one that is known stays where it is."""
    (one,) = await place(two, at(ANN))
    (reply,) = await place(two, at(BEN, conversation_id=one.conversation_id))
    (known,) = await place(two, at(BEN, conversation_id=uuid.uuid4()))
    assert {one.conversation_id} == {reply.conversation_id, known.conversation_id}


async def test_an_address_is_set_apart(two: Connection) -> None:
    """What is unlinked takes its messages along, and does not come back by itself."""
    ann = await lead(two, ANN, "ann@example.com")
    (both, _) = await place(two, at(ANN, lead_id=ann), at("ann@example.com", lead_id=ann))
    by_phone = await message(two, both.conversation_id, ANN)
    by_mail = await message(two, both.conversation_id, "ann@example.com", channel="email")
    new = uuid.uuid4()

    assert await unlinking.set_apart(two, A, both.conversation_id, "Ann@Example.com", new)  # type: ignore[arg-type]

    assert {by_phone: both.conversation_id, by_mail: new} == {
        row["id"]: row["conversation_id"]
        for row in await two.fetch("SELECT id, conversation_id FROM messages")
    }
    (again,) = await place(two, at("ann@example.com", lead_id=ann))
    assert Placed(conversation_id=new, joins=None) == again
    rows = await two.fetch("SELECT last_message_id, channels FROM gateway.conversations")
    assert {(by_phone, ("sms",)), (by_mail, ("email",))} == {
        (row["last_message_id"], tuple(row["channels"])) for row in rows
    }
    assert not await unlinking.set_apart(two, A, both.conversation_id, "x@y", uuid.uuid4())  # type: ignore[arg-type]


async def test_many_at_once(two: Connection, database: str) -> None:
    """Concurrent first messages of the same people make each conversation once, without a loss."""
    pool = await Database.connect(database, size=8)
    people = [f"+1555000{n:04}" for n in range(20)]

    async def write(start: int) -> list[uuid.UUID]:
        places = [at(people[(start + n) % 20]) for n in range(20)]
        async with pool.as_service() as db:
            placed = await conversations.place(db, A, places)
        return [
            where.conversation_id
            for _, where in sorted(
                zip(places, placed, strict=True), key=lambda pair: str(pair[0].addresses[0])
            )
        ]

    found = await asyncio.gather(*(write(start) for start in range(24)))
    await pool.close()
    assert 1 == len({tuple(each) for each in found})
    assert 20 == await two.fetchval("SELECT count(*) FROM gateway.conversations")


async def test_messages_of_others_are_placed(two: Connection) -> None:
    """What the CRM stores by itself finds its conversation, and moves it up."""
    ann = await lead(two, "(555) 123-0001")
    insert = (
        "INSERT INTO messages (organization_id, channel, direction, from_address, to_address, body)"
        " VALUES ($1, 'sms', $2, $3, $4, 'x') RETURNING id, conversation_id"
    )
    sent = await two.fetchrow(insert, A, "outbound", "+1999", ANN)
    got = await two.fetchrow(insert, A, "inbound", ANN, "+1999")
    assert sent is not None
    assert got is not None
    assert sent["conversation_id"] == got["conversation_id"]
    row = await two.fetchrow("SELECT lead_id, last_message_id, channels FROM gateway.conversations")
    assert (ann, got["id"], ["sms"]) == tuple(row or ())


@pytest.mark.parametrize("then", ["NOTHING", "UPDATE SET body = excluded.body"])
@pytest.mark.parametrize("theirs", [ANN, BEN, "+15551230003"])
async def test_a_message_that_is_there_is_no_news(two: Connection, then: str, theirs: str) -> None:
    """What the CRM upserts moves nobody's conversation up, and makes none."""
    insert = (
        "INSERT INTO messages (id, organization_id, channel, direction, from_address, to_address,"
        " body) VALUES ($1, $2, 'sms', 'inbound', $3, '+1999', $4)"
    )
    first = uuid.uuid4()
    for message_id, address in ((first, ANN), (uuid.uuid4(), ANN), (uuid.uuid4(), BEN)):
        await two.execute(insert, message_id, A, address, "x")
    shown = "SELECT * FROM gateway.conversations ORDER BY id"
    before = await two.fetch(shown)
    await two.execute(f"{insert} ON CONFLICT (id) DO {then}", first, A, theirs, "y")
    assert before == await two.fetch(shown)
    assert 1 == await two.fetchval("SELECT count(*) FROM messages WHERE id = $1", first)


async def test_a_message_without_a_time(two: Connection) -> None:
    """What the CRM stores with a null for its time is taken, with that of its arrival."""
    stored = await two.fetchrow(
        "INSERT INTO messages (organization_id, channel, direction, from_address, to_address, body,"
        " created_at) VALUES ($1, 'sms', 'inbound', $2, '+1999', 'x', NULL)"
        " RETURNING conversation_id, now() - created_at AS age",
        A,
        ANN,
    )
    assert stored is not None
    assert stored["age"].total_seconds() < 60
    assert stored["conversation_id"] == await two.fetchval("SELECT id FROM gateway.conversations")


async def test_what_is_deleted_is_not_unread(two: Connection) -> None:
    """Where another program has deleted everything that was said nothing is unread; where something
    is left, as much as was."""
    (ann,), (ben,) = [await place(two, at(each)) for each in (ANN, BEN)]
    kept = [await message(two, ann.conversation_id, ANN) for _ in range(2)]
    gone = [await message(two, ben.conversation_id, BEN) for _ in range(2)]
    await two.execute("UPDATE gateway.conversations SET unread_count = 2")
    await two.execute("DELETE FROM messages WHERE id = ANY ($1)", [kept[0], *gone])
    counts = "SELECT id, unread_count FROM gateway.conversations"
    unread = {row["id"]: row["unread_count"] for row in await two.fetch(counts)}
    assert {ann.conversation_id: 2, ben.conversation_id: 0} == unread
    await two.execute("DELETE FROM organizations WHERE id = $1", A)
    assert [] == await two.fetch(counts)


async def test_what_staff_change_is_audited(two: Connection) -> None:
    """Assigning, closing and merging are on the trail; a new message is not."""
    (one,), (other,) = await place(two, at(ANN)), await place(two, at(BEN))
    await two.execute("UPDATE gateway.conversations SET unread_count = 3, last_message_at = now()")
    assert [] == await two.fetch("SELECT 1 FROM audit_logs WHERE table_name LIKE 'conversation%'")
    await conversations.change(two, A, one.conversation_id, {"status": "closed", "read": True})  # type: ignore[arg-type]
    await conversations.merge(two, A, merged=one.conversation_id, kept=other.conversation_id)  # type: ignore[arg-type]
    rows = await two.fetch(
        "SELECT table_name, new_data FROM audit_logs WHERE table_name LIKE 'conversation%'"
        " ORDER BY created_at"
    )
    told = [(row["table_name"], json.loads(row["new_data"])) for row in rows]
    assert ["closed"] == [new["status"] for table, new in told[:1]]
    assert {"conversations", "conversation_addresses"} == {table for table, _ in told}
    assert str(other.conversation_id) in {new.get("merged_into") for _, new in told}


async def test_messages_from_before(database: str, connect: Connect) -> None:
    """Rows that were there before conversations are filled in, by address; nothing else changes."""
    db = await connect(database)
    await migrate.down(database, "20261129101000")
    await db.execute("INSERT INTO organizations (id, name) VALUES ($1, 'Acme'), ($2, 'B')", A, B)
    ann = await lead(db, "(555) 123-0001", "Ann@Example.com")
    rows = [
        ("sms", "outbound", "+1999", ANN),
        ("sms", "inbound", ANN, "+1999"),
        ("email", "inbound", "ANN@example.com", "desk@acme.example"),
        ("whatsapp", "inbound", "+5215512345678", "+1999"),
        ("whatsapp", "outbound", "+1999", "+525512345678"),
        ("call", "inbound", "anonymous", "+1999"),
        ("call", "inbound", "anonymous", "+1999"),
    ]
    for organization in (A, B):
        await db.executemany(
            "INSERT INTO messages (organization_id, channel, direction, from_address, to_address,"
            " body, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, 'x',"
            " '2026-01-01', '2026-01-02')",
            [(organization, *row) for row in rows],
        )
    before = await db.fetch("SELECT id, updated_at FROM messages ORDER BY id")

    await migrate.up(database)

    assert before == await db.fetch("SELECT id, updated_at FROM messages ORDER BY id")
    assert 0 == await db.fetchval("SELECT count(*) FROM messages WHERE conversation_id IS NULL")
    found = await db.fetch(
        "SELECT m.organization_id, array_agg(m.channel ORDER BY m.channel, m.id) AS channels,"
        " c.lead_id, c.last_inbound_at IS NOT NULL AS has_inbound, c.unread_count"
        " FROM messages m JOIN gateway.conversations c"
        " ON c.organization_id = m.organization_id AND c.id = m.conversation_id"
        " GROUP BY m.organization_id, c.organization_id, c.id ORDER BY 1, 2, 3"
    )
    assert [
        (A, ["call"], None, True, 0),
        (A, ["call"], None, True, 0),
        (A, ["email", "sms", "sms"], ann, True, 0),
        (A, ["whatsapp", "whatsapp"], None, True, 0),
        (B, ["call"], None, True, 0),
        (B, ["call"], None, True, 0),
        (B, ["email"], None, True, 0),
        (B, ["sms", "sms"], None, True, 0),
        (B, ["whatsapp", "whatsapp"], None, True, 0),
    ] == [tuple(row) for row in found]
    await migrate.down(database, "20261129101000")
    await migrate.up(database)
    assert 0 == await db.fetchval("SELECT count(*) FROM messages WHERE conversation_id IS NULL")
