"""A migration that waits for somebody's lock says so, gives up in time, and leaves nothing behind.

Who waits to change a table stops everybody who comes to it later: the CRM, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import pytest

from gateway.schema import migrate, waits
from tests.database import document

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

Connect = Callable[[str], Awaitable["Connection"]]

# Other tests migrate databases of their own on the same server meanwhile.
SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name LIKE 'gateway migrate %'"
)
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'messages'::regclass"


async def until_nobody_migrates(db: Connection) -> None:
    """Wait until the sessions of a command that has ended are gone, which takes them a moment."""
    async with asyncio.timeout(20):
        while await db.fetchval(SESSIONS):  # noqa: ASYNC110 - a server's sessions
            await asyncio.sleep(0.02)


@pytest.fixture
async def crm(empty_database: str, connect: Connect) -> Connection:
    """A session of the CRM's that has read its messages, and does not end its transaction."""
    connection = await connect(empty_database)
    await document.make(connection)
    await connection.execute("SET application_name = 'crm report'; BEGIN; SELECT FROM messages")
    return connection


async def test_who_holds_it_is_told(empty_database: str, crm: Connection) -> None:
    """What it waits for and who holds that is told once, and where that ends it goes on."""
    told: list[str] = []

    def tell(text: str) -> None:
        if "(gateway migrate " not in text:  # another test's, which makes the same roles
            told.append(text)
            ended.set()

    ended = asyncio.Event()
    migrating = asyncio.create_task(migrate.up(empty_database, tell))
    async with asyncio.timeout(20):
        await ended.wait()
        await asyncio.sleep(2.5)  # it looks once a second
    await crm.execute("COMMIT")

    assert [path.name.partition("_")[0] for path in migrate.files()] == await migrating
    (line,) = told
    assert line.startswith(f"waiting: messages is held by process {crm.get_server_pid()} of ")
    assert "(crm report), idle in transaction, begun at " in line


async def test_it_gives_up(empty_database: str, crm: Connection, connect: Connect) -> None:
    """After its time it ends with one line that says who holds what; what was begun is undone, and
    another run does it."""
    with pytest.raises(migrate.MigrationError) as refused:
        await migrate.up(empty_database, held_seconds=0.5)

    text = str(refused.value)
    assert 1 == len(text.splitlines())
    assert "gave up after" in text
    assert f"messages is held by process {crm.get_server_pid()} of " in text
    admin = await connect(empty_database)
    await until_nobody_migrates(admin)
    assert 0 == await admin.fetchval(WAITING)
    status = await migrate.status(empty_database)
    await crm.execute("COMMIT")
    assert list(status.pending) == await migrate.up(empty_database)


async def test_its_turn(database: str, connect: Connect) -> None:
    """Who migrates is alone for as long as all of it takes; who waits for that too long is told
    whose session that is."""
    first, second = [await connect(database) for _ in range(2)]
    told: list[str] = []
    assert await waits.take_turn(first, database, told.append, every=0.1, turn=0.5) is None

    wait = await waits.take_turn(second, database, told.append, every=0.1, turn=0.5)

    text = f"another migration is at work (process {first.get_server_pid()} of "
    assert wait
    assert str(wait).startswith(text)
    assert [f"waiting: {wait}"] == told
    await first.close()
    assert await waits.take_turn(second, database, told.append, every=0.1, turn=5) is None


async def test_nothing_goes_on_waiting(
    empty_database: str, crm: Connection, connect: Connect
) -> None:
    """Who stops the command while it waits lets the CRM go on: no session is left in its way."""
    waiting = asyncio.Event()
    migrating = asyncio.create_task(migrate.up(empty_database, lambda _: waiting.set()))
    async with asyncio.timeout(20):
        await waiting.wait()
    migrating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await migrating

    reader = await connect(empty_database)
    await reader.execute("SET lock_timeout = '2s'; SELECT FROM messages")
    assert not crm.is_closed()
