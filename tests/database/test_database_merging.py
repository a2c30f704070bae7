"""Two conversations become one, whatever their length, and whatever comes meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import asyncpg
import pytest

from gateway import placing
from gateway.problems import Problem
from gateway.schema import migrate
from gateway.store import conversations
from gateway.store.conversations import Placed
from gateway.store.database import ApiKey, Database
from gateway.store.errors import RefusedError
from tests.database.rows import A
from tests.database.test_database_conversations import ANN, BEN, at, lead, message, place, two

if TYPE_CHECKING:
    from tests.database.test_database_conversations import Connect, Connection

__all__ = ["two"]  # a fixture

LEFT = "SELECT count(*) FROM messages WHERE conversation_id = $1"


async def test_a_long_conversation_is_merged(two: Connection, database: str) -> None:
    """Of many messages the oldest go along first; until the last has, both conversations are shown,
    and whoever has no more time goes on when it is tried again."""
    (one,), (other,) = await place(two, at(ANN)), await place(two, at(BEN))
    gone, kept = one.conversation_id, other.conversation_id
    await write(two, gone, 1001)
    open_ones = "SELECT id FROM gateway.conversations WHERE merged_into IS NULL ORDER BY created_at"
    caller = ApiKey(id=uuid.uuid4(), organization_id=A, is_test=False)
    pool = await Database.connect(database, size=1)

    with pytest.raises(Problem) as problem:
        await placing.merge(pool, caller, merged=gone, kept=kept, seconds=0)

    assert 503 == problem.value.status
    assert 501 == await two.fetchval(LEFT, gone)
    newest = "SELECT body FROM messages WHERE conversation_id = $1 ORDER BY created_at DESC LIMIT 1"
    assert ["1", "502"] == [await two.fetchval(newest, each) for each in (gone, kept)]
    assert [gone, kept] == [row["id"] for row in await two.fetch(open_ones)]
    assert await placing.merge(pool, caller, merged=gone, kept=kept)
    await pool.close()
    assert 1001 == await two.fetchval(LEFT, kept)
    assert [kept] == [row["id"] for row in await two.fetch(open_ones)]


async def test_long_texts_of_a_conversation(two: Connection) -> None:
    """Of long texts fewer go along at a time: no step takes longer than a second or two."""
    (one,), (other,) = await place(two, at(ANN)), await place(two, at(BEN))
    gone, kept = one.conversation_id, other.conversation_id
    await write(two, gone, 30)
    await two.execute("UPDATE messages SET body = repeat('x', 100000) || body")

    steps = []
    while await conversations.merge(two, A, merged=gone, kept=kept) is None:  # type: ignore[arg-type]
        steps.append(await two.fetchval(LEFT, gone))

    assert [20, 10] == steps


async def test_reports_while_merging(two: Connection, database: str) -> None:
    """Reports lock messages in one order, and so does a merge: none of them has to give way."""
    (one,), (other,) = await place(two, at(ANN)), await place(two, at(BEN))
    gone, kept = one.conversation_id, other.conversation_id
    await write(two, gone, 400)
    pool = await Database.connect(database, size=4)
    lock = "SELECT FROM messages WHERE organization_id = $1 ORDER BY id FOR NO KEY UPDATE"

    async def report() -> None:
        for _ in range(20):
            async with pool.as_service() as db:
                await db.execute(lock, A)

    async def merge() -> None:
        async with pool.as_service() as db:
            assert await conversations.merge(db, A, merged=gone, kept=kept)

    await asyncio.gather(report(), report(), merge())
    await pool.close()


async def test_a_rule_keeps_some_of_a_long_conversation(two: Connection, database: str) -> None:
    """Where a rule of another program's refuses one of its messages to move, all are in
    conversations that are shown, and no other is in the way."""
    (other,), (one,) = await place(two, at(BEN)), await place(two, at(ANN))
    gone, kept = one.conversation_id, other.conversation_id  # the older one stays
    await write(two, gone, 1100)
    await two.execute("ALTER TABLE messages ADD CONSTRAINT crm CHECK (body <> '1050') NOT VALID")
    pool = await Database.connect(database, size=1)

    await placing.join(pool, A, [Placed(conversation_id=gone, joins=kept)])

    await pool.close()
    hidden = (
        "SELECT count(*) FROM messages m JOIN gateway.conversations c ON c.id = m.conversation_id"
        " WHERE c.merged_into IS NOT NULL"
    )
    assert 0 == await two.fetchval(hidden)
    assert 2 == await two.fetchval(
        "SELECT count(*) FROM gateway.conversations WHERE merged_into IS NULL"
    )


async def test_a_trigger_keeps_one_of_a_long_conversation(two: Connection, database: str) -> None:
    """Where another program's trigger leaves one of its messages where it is, and says nothing,
    the merge is refused, and all are in conversations that are shown."""
    (one,), (other,) = await place(two, at(ANN)), await place(two, at(BEN))
    gone, kept = one.conversation_id, other.conversation_id
    await write(two, gone, 600)
    caller = ApiKey(id=uuid.uuid4(), organization_id=A, is_test=False)
    pool = await Database.connect(database, size=1)

    for stays in (
        "RETURN NULL;",
        "NEW.conversation_id := OLD.conversation_id;",
        "NEW.conversation_id := NULL;",
    ):
        await two.execute(
            "CREATE OR REPLACE FUNCTION crm_stay() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN IF OLD.body = '590' THEN {stays} END IF; RETURN NEW; END $$;"
            " CREATE OR REPLACE TRIGGER crm_stay BEFORE UPDATE ON messages"
            " FOR EACH ROW EXECUTE FUNCTION crm_stay()"
        )
        with pytest.raises(RefusedError) as refused:
            await placing.merge(pool, caller, merged=gone, kept=kept)
        named = {"table": "messages", "column": "conversation_id"}
        assert named.items() <= refused.value.rule.items()

    await pool.close()
    assert 600 == await two.fetchval(
        "SELECT count(*) FROM messages m JOIN gateway.conversations c ON c.id = m.conversation_id"
        " WHERE c.id = $1 AND c.merged_into IS NULL",
        gone,
    )


async def test_halfway_through_a_long_conversation(two: Connection) -> None:
    """Until the last step each of both says what is in it: what came last, by what, how much of it
    is unread; nothing that staff have read meanwhile is unread again, and nothing counts twice."""
    (one,), (other,) = await place(two, at(ANN)), await place(two, at(BEN))
    gone, kept = one.conversation_id, other.conversation_id
    await write(two, gone, 1001)
    await two.execute("UPDATE gateway.conversations SET unread_count = 700 WHERE id = $1", gone)
    await two.execute("SELECT gateway.recount_conversation($1, $2)", A, gone)
    await two.execute("UPDATE gateway.conversations SET status = 'closed' WHERE id = $1", kept)

    async def step() -> list[tuple[object, ...]]:
        await conversations.merge(two, A, merged=gone, kept=kept)  # type: ignore[arg-type]
        rows = await two.fetch(
            "SELECT m.body, c.last_message_at = m.created_at, c.last_inbound_at = m.created_at,"
            " c.unread_count, c.channels, c.status FROM gateway.conversations c"
            " LEFT JOIN messages m ON m.id = c.last_message_id"
            " WHERE c.merged_into IS NULL ORDER BY c.id = $1 DESC",
            kept,
        )
        return [tuple(row) for row in rows]

    assert [
        ("502", True, True, 199, ["sms"], "open"),
        ("1", True, True, 501, ["sms"], "open"),
    ] == await step()
    await two.execute("UPDATE gateway.conversations SET unread_count = 0 WHERE id = $1", kept)
    assert [
        ("2", True, True, 500, ["sms"], "open"),
        ("1", True, True, 1, ["sms"], "open"),
    ] == await step()
    assert [("1", True, True, 501, ["sms"], "open")] == await step()


async def write(db: Connection, conversation: uuid.UUID, count: int) -> None:
    """Put so many messages from ANN into a conversation, each a second older than the one before
    it."""
    await db.execute(
        "INSERT INTO messages (organization_id, conversation_id, channel, direction, from_address,"
        " to_address, body, created_at) SELECT $1, $2, 'sms', 'inbound', $3, '+1999', n::text,"
        " now() - n * interval '1 second' FROM generate_series(1, $4) n",
        *(A, conversation, ANN, count),
    )


async def test_a_rule_keeps_what_came_after_a_merge(two: Connection, database: str) -> None:
    """Whoever migrates is told which conversation no list shows, because a rule of another
    program's keeps what came after it was merged, and what to run when the rule lets it go."""
    ann, kept = (each.conversation_id for each in await place(two, at(ANN), at(BEN)))
    await conversations.merge(two, A, merged=ann, kept=kept)  # type: ignore[arg-type]
    came = await message(two, ann, ANN)
    await two.execute("UPDATE gateway.conversations SET unread_count = 1 WHERE id = $1", ann)
    await two.execute("UPDATE gateway.conversations SET status = 'closed' WHERE id = $1", kept)
    await two.execute(
        f"ALTER TABLE messages ADD CONSTRAINT crm CHECK (from_address <> '{ANN}') NOT VALID"
    )

    (doubt,) = (each for each in await migrate.doubts(database) if str(ann) in each)
    assert f"{ann} was merged into {kept}, but has messages that no list shows" in doubt
    mend = f"SELECT gateway.follow_merged('{A}', '{ann}')"
    assert mend in doubt
    with pytest.raises(asyncpg.CheckViolationError):
        await two.execute(mend)
    await two.execute("ALTER TABLE messages DROP CONSTRAINT crm")
    await two.execute(mend)

    assert [] == await migrate.doubts(database)
    row = await two.fetchrow(
        "SELECT last_message_id, status, unread_count, last_inbound_at IS NOT NULL, channels"
        " FROM gateway.conversations WHERE id = $1",
        kept,
    )
    assert (came, "open", 1, True, ["sms"]) == tuple(row or ())
    assert kept == await two.fetchval("SELECT conversation_id FROM messages WHERE id = $1", came)


async def test_placing_while_merging(two: Connection, database: str) -> None:
    """Messages that come while their conversation is merged end in the one that stays."""
    pool = await Database.connect(database, size=8)
    (one,), (other,) = await place(two, at(ANN)), await place(two, at(BEN))

    async def write() -> None:
        async with pool.as_service() as db:
            (where,) = await conversations.place(db, A, [at(ANN)])
            await db.execute(
                "INSERT INTO messages (organization_id, conversation_id, channel, direction,"
                " from_address, to_address, body) VALUES ($1, $2, 'sms', 'inbound', $3, '+1', 'x')",
                A,
                where.conversation_id,
                ANN,
            )

    async def merge() -> None:
        async with pool.as_service() as db:
            assert await conversations.merge(
                db, A, merged=one.conversation_id, kept=other.conversation_id
            )

    await asyncio.gather(*(write() for _ in range(5)), merge(), *(write() for _ in range(15)))
    await pool.close()
    assert [other.conversation_id] == [
        row["conversation_id"]
        for row in await two.fetch("SELECT DISTINCT conversation_id FROM messages")
    ]


async def test_a_new_address_while_merging(
    two: Connection, connect: Connect, database: str
) -> None:
    """A mailbox of a lead that comes up while their conversation is merged is where that went."""
    ann = await lead(two, ANN, "ann@example.com")
    (one,), (other,) = await place(two, at(ANN, lead_id=ann)), await place(two, at(BEN))
    writing = await connect(database)
    async with two.transaction():
        await conversations.merge(two, A, merged=one.conversation_id, kept=other.conversation_id)  # type: ignore[arg-type]
        mail = asyncio.create_task(place(writing, at("ann@example.com", lead_id=ann)))
        blocked = "SELECT FROM pg_locks WHERE NOT granted AND pid = $1"
        pid = writing.get_server_pid()
        while not await two.fetch(blocked, pid):
            assert not mail.done()
            await asyncio.sleep(0.01)
    assert [other.conversation_id] == [each.conversation_id for each in await mail]
    assert [other.conversation_id] == [
        each.conversation_id for each in await place(two, at("ann@example.com", lead_id=ann))
    ]
