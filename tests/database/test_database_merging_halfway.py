"""A long conversation that is merged in steps, and somebody who changes their mind in between."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from gateway import placing
from gateway.problems import Problem
from gateway.store import conversations, unlinking
from gateway.store.conversations import Place, Placed
from gateway.store.database import ApiKey, Database
from tests.database.rows import A
from tests.database.test_database_conversations import ANN, BEN, at, lead, place, two
from tests.database.test_database_merging import LEFT, write

if TYPE_CHECKING:
    from tests.database.test_database_conversations import Connect, Connection

__all__ = ["two"]  # a fixture

CAL = "+447700900777"


async def three(db: Connection) -> list[uuid.UUID]:
    """The conversations of Ann, Ben and Cal, of which Ann's is long."""
    ids = [(await place(db, at(address)))[0].conversation_id for address in (ANN, BEN, CAL)]
    await write(db, ids[0], 501)
    return ids


async def waits_for(db: Connection, holder: Connection, task: asyncio.Task[Any]) -> None:
    """Return once the task waits for what the holder's transaction has locked."""
    blocked = "SELECT FROM pg_locks WHERE NOT granted AND $1 = ANY (pg_blocking_pids(pid))"
    while not await db.fetch(blocked, holder.get_server_pid()):
        assert not task.done()
        await asyncio.sleep(0.01)


async def halfway(db: Connection, merged: uuid.UUID, kept: uuid.UUID) -> None:
    """The first step of a merge."""
    assert await conversations.merge(db, A, merged=merged, kept=kept) is None  # type: ignore[arg-type]


async def set_apart_during(
    db: Connection,
    database: str,
    connect: Connect,
    ann: uuid.UUID,
    *,
    step: tuple[uuid.UUID, uuid.UUID],
) -> uuid.UUID:
    """Set Ann apart, which waits for a step of a merge (merged, kept); her new conversation."""
    apart, pool, other = (
        uuid.uuid4(),
        await Database.connect(database, size=2),
        await connect(database),
    )

    async def set_apart() -> unlinking.Apart | None:
        async with pool.as_service() as db:
            return await unlinking.set_apart(db, A, ann, ANN, apart)

    async with other.transaction():
        await halfway(other, *step)
        setting = asyncio.create_task(set_apart())
        await waits_for(db, other, setting)
    assert await setting
    await pool.close()
    return apart


async def test_two_that_are_merged_into_each_other(two: Connection) -> None:
    """Who begins first goes on; when that has been given up, the other way is free."""
    (one,), (other,) = await place(two, at(ANN)), await place(two, at(BEN))
    ann, ben = one.conversation_id, other.conversation_id
    await write(two, ann, 1001)
    await write(two, ben, 501)
    assert await conversations.merge(two, A, merged=ann, kept=ben) is None  # type: ignore[arg-type]
    assert await conversations.merge(two, A, merged=ben, kept=ann) is False  # type: ignore[arg-type]
    await two.execute("UPDATE gateway.conversations SET merging_at = now() - interval '1 minute'")
    steps = [await conversations.merge(two, A, merged=ben, kept=ann) for _ in range(3)]  # type: ignore[arg-type]
    assert [None, None, True] == steps
    assert 1502 == await two.fetchval(LEFT, ann)
    assert 0 == await two.fetchval(
        "SELECT count(*) FROM gateway.conversations WHERE merging_into IS NOT NULL"
    )


async def test_a_merge_that_is_given_up_halfway(two: Connection) -> None:
    """Until the last step an address is set apart with all of its messages, those that have moved,
    too; and a reply to it is taken from both."""
    (one,), (other,) = await place(two, at(ANN)), await place(two, at(BEN))
    ann, ben, apart = one.conversation_id, other.conversation_id, uuid.uuid4()
    await write(two, ann, 501)
    assert await conversations.merge(two, A, merged=ann, kept=ben) is None  # type: ignore[arg-type]
    said_in = [
        Place(seed=uuid.uuid4(), addresses=[ANN], conversation_id=each) for each in (ann, ben)
    ]
    found = [Placed(conversation_id=ann, joins=None)] * 2
    await placing.check(two, A, said_in, found)  # type: ignore[arg-type]

    assert await unlinking.set_apart(two, A, ann, ANN, apart)  # type: ignore[arg-type]

    assert [0, 0, 501] == [await two.fetchval(LEFT, each) for each in (ann, ben, apart)]
    shown = "SELECT last_message_id IS NULL FROM gateway.conversations WHERE id = $1"
    assert [True, True, False] == [await two.fetchval(shown, each) for each in (ann, ben, apart)]
    found = [Placed(conversation_id=apart, joins=None)] * 2
    with pytest.raises(Problem) as problem:
        await placing.check(two, A, said_in, found)  # type: ignore[arg-type]
    assert "belongs to another conversation" in str(problem.value.as_json())


async def test_staff_say_who_one_is_between_two_steps(two: Connection) -> None:
    """Conversations that seemed to be one person's are joined no further once staff say whose."""
    (one,), (other,) = await place(two, at(ANN)), await place(two, at(BEN))
    await write(two, one.conversation_id, 501)
    await two.execute(
        "UPDATE gateway.conversations SET created_at = now() - interval '1 day' WHERE id = $1",
        other.conversation_id,
    )
    ids = (one.conversation_id, other.conversation_id)
    assert await conversations.join(two, A, *ids) is None  # type: ignore[arg-type]
    await two.execute("UPDATE gateway.conversations SET is_linked = true WHERE id = $1", ids[0])
    assert await conversations.join(two, A, *ids) is False  # type: ignore[arg-type]
    assert 1 == await two.fetchval(
        "SELECT count(*) FROM messages WHERE conversation_id = $1", ids[0]
    )


async def test_another_one_in_the_end(two: Connection, database: str) -> None:
    """Who was half merged into the wrong one is merged into no other before that is undone."""
    ann, ben, cal = await three(two)
    await halfway(two, ann, ben)
    caller = ApiKey(id=uuid.uuid4(), organization_id=A, is_test=False)
    pool = await Database.connect(database, size=1)
    with pytest.raises(Problem) as problem:
        await placing.merge(pool, caller, merged=ann, kept=cal)
    assert (409, True) == (problem.value.status, str(ben) in problem.value.detail)
    assert [1, 500, 0] == [await two.fetchval(LEFT, each) for each in (ann, ben, cal)]

    apart = uuid.uuid4()
    assert await unlinking.set_apart(two, A, ann, ANN, apart)  # type: ignore[arg-type]
    assert await placing.merge(pool, caller, merged=apart, kept=cal)
    # What is left of it, perhaps with a name, goes where its address is.
    assert await placing.merge(pool, caller, merged=ann, kept=cal)
    await pool.close()
    assert [0, 0, 501] == [await two.fetchval(LEFT, each) for each in (ann, ben, cal)]


async def test_where_they_went_from_there(two: Connection) -> None:
    """What has moved is found, too, where it was merged on to."""
    ann, ben, cal = await three(two)
    await halfway(two, ann, ben)
    await two.execute(
        "INSERT INTO messages (organization_id, conversation_id, channel, direction, from_address,"
        " to_address, body) SELECT $1, $2, 'sms', 'inbound', $3, '+1', 'x'"
        " FROM generate_series(1, 99)",
        *(A, ben, BEN),
    )
    await halfway(two, ben, cal)
    assert [ben, cal] == await conversations.merging_into(two, A, ann)  # type: ignore[arg-type]
    apart = uuid.uuid4()
    assert await unlinking.set_apart(two, A, ann, ANN, apart)  # type: ignore[arg-type]
    assert 501 == await two.fetchval(LEFT, apart)


async def test_setting_apart_waits_for_a_step(
    two: Connection, database: str, connect: Connect
) -> None:
    """A step that is not committed yet is waited for, and what it moved is taken along."""
    ann, ben, _ = await three(two)

    apart = await set_apart_during(two, database, connect, ann, step=(ann, ben))

    assert [0, 0, 501] == [await two.fetchval(LEFT, each) for each in (ann, ben, apart)]


async def test_a_join_that_waited_for_a_link(
    two: Connection, database: str, connect: Connect
) -> None:
    """What staff said while a join waited for them holds for it."""
    ann, ben, _ = await three(two)
    somebody = await lead(two, "+15550001")
    pool, staff = await Database.connect(database, size=2), await connect(database)

    async def join() -> bool | None:
        async with pool.as_service() as db:
            return await conversations.join(db, A, ann, ben)

    async with staff.transaction():
        await conversations.link(staff, A, ann, {"lead_id": somebody})  # type: ignore[arg-type]
        joining = asyncio.create_task(join())
        await waits_for(two, staff, joining)
    assert await joining is False
    await pool.close()


async def test_the_other_way_round(two: Connection, database: str) -> None:
    """Who merges two the other way round while they are being merged is told so."""
    ann, ben, _ = await three(two)
    await halfway(two, ann, ben)
    caller = ApiKey(id=uuid.uuid4(), organization_id=A, is_test=False)
    pool = await Database.connect(database, size=1)
    with pytest.raises(Problem) as problem:
        await placing.merge(pool, caller, merged=ben, kept=ann)
    await pool.close()
    assert (503, "20") == (problem.value.status, problem.value.headers["Retry-After"])
    assert "the other way round" in problem.value.detail


async def chained(db: Connection) -> list[uuid.UUID]:
    """The oldest of Ann's messages have moved to Ben's conversation; Ben's has 600 then."""
    ann, ben, cal = await three(db)
    await halfway(db, ann, ben)
    await write(db, ben, 100)
    return [ann, ben, cal]


async def test_a_chain_that_is_given_up_from_its_far_end(two: Connection) -> None:
    """What has gone on from where it went comes back, too, when that was set apart before."""
    ann, ben, cal = await chained(two)
    await halfway(two, ben, cal)
    of_ben, of_ann = uuid.uuid4(), uuid.uuid4()

    assert await unlinking.set_apart(two, A, ben, BEN, of_ben)  # type: ignore[arg-type]
    assert await unlinking.set_apart(two, A, ann, ANN, of_ann)  # type: ignore[arg-type]

    stray = "SELECT count(*) FROM messages WHERE from_address = $1 AND conversation_id <> $2"
    assert [0, 0] == [await two.fetchval(stray, *each) for each in ((ANN, of_ann), (BEN, of_ben))]


async def test_a_step_goes_on_while_it_is_set_apart(
    two: Connection, database: str, connect: Connect
) -> None:
    """Who waits for where the messages have gone looks once more where they are then."""
    ann, ben, cal = await chained(two)

    apart = await set_apart_during(two, database, connect, ann, step=(ben, cal))

    assert 0 == await two.fetchval(
        "SELECT count(*) FROM messages WHERE from_address = $1 AND conversation_id <> $2",
        ANN,
        apart,
    )
