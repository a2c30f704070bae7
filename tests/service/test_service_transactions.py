"""What every transaction of the gateway begins with, and those that are one statement."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import asyncpg
import pytest

from gateway.again import once_more
from gateway.ids import new_id
from gateway.store.database import ApiKey, Database
from gateway.store.errors import UNDONE, DatabaseAwayError

if TYPE_CHECKING:
    from tests.service.conftest import Answer, Gateway

NOW = "SELECT current_user::text, current_setting('jit'), current_setting('statement_timeout')"


async def test_nothing_is_compiled_and_nothing_without_an_end(gateway: Gateway) -> None:
    """A long queue makes the claim look dear, and compiling it would take longer than it does."""
    async with gateway.database.as_service() as db:
        assert ("service_role", "off", "20s") == tuple(await db.fetchrow(NOW) or ())


async def test_nobody_is_waited_for_who_is_gone(gateway: Gateway) -> None:
    """PostgreSQL ends a transaction that stands still, as of a machine that lost its power or was
    frozen: it hears of neither, and the rows that it holds would be held for hours."""
    idle = "SELECT current_setting('idle_in_transaction_session_timeout')"
    async with gateway.database.as_service() as db:
        assert "30s" == await db.fetchval(idle)
    async with gateway.database.as_claims(gateway.a.owner_id) as db:
        assert "30s" == await db.fetchval(idle)


async def test_a_transaction_that_is_canceled_at_any_moment(gateway: Gateway) -> None:
    """What it had begun is rolled back, also where it had only just opened: otherwise the pool says
    that it had to, as an error."""
    said: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, told: said.append(told["message"]))
    database = await Database.connect(str(gateway.settings.database_url), size=1)

    async def use() -> None:
        async with database.as_service() as db:
            await db.fetchval("SELECT 1")

    try:
        await use()
        for n in range(600):
            task = asyncio.create_task(use() if n % 2 else database.at_once("SELECT 1"))
            await asyncio.sleep(n % 100 * 2e-5)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    finally:
        await database.close()
        loop.set_exception_handler(None)
    assert [] == said


async def test_what_another_has_committed_is_seen(gateway: Gateway) -> None:
    """Whatever the database's default is: who waited for a lock reads what its holder has stored
    (two workers would give two messages one id of the provider's), and is not ended for it."""
    level = "SELECT current_setting('transaction_isolation')"
    async with gateway.database.as_service() as db:
        name = await db.fetchval("SELECT current_database()")
    admin = await asyncpg.connect(str(gateway.settings.database_url))
    try:
        await admin.execute(
            f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'"
        )
    finally:
        await admin.close()
    database = await Database.connect(str(gateway.settings.database_url))
    try:
        key = ApiKey(id=new_id(), organization_id=gateway.a.organization_id, is_test=False)
        for transaction in (
            database.as_service(),
            database.as_claims(gateway.a.owner_id),
            database.as_caller(key),
        ):
            async with transaction as db:
                assert "read committed" == await db.fetchval(level)
    finally:
        await database.close()


async def test_who_sees_one_moment_only_reads(gateway: Gateway) -> None:
    """What sees one moment could change nothing that another has changed since, and may not try."""
    key = ApiKey(id=new_id(), organization_id=gateway.a.organization_id, is_test=False)
    now = (
        "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')"
    )
    async with gateway.database.as_caller(key, is_still=True) as db:
        assert ("repeatable read", "on") == tuple(await db.fetchrow(now) or ())


async def test_one_statement_at_once(gateway: Gateway) -> None:
    """It is done as the gateway itself, and is committed."""
    statement = "UPDATE organizations SET name = current_user || ' ' || current_setting('jit');"
    await gateway.database.at_once(statement)
    async with gateway.database.as_service() as db:
        names = await db.fetch("SELECT DISTINCT name FROM organizations")
    assert ["service_role off"] == [row["name"] for row in names]


async def test_one_statement_that_fails(gateway: Gateway) -> None:
    """Nothing of it stays, and its connection serves the next one."""
    for _ in range(20):  # more than there are connections
        with pytest.raises(asyncpg.DivisionByZeroError):
            await gateway.database.at_once("UPDATE organizations SET name = (1 / 0)::text")
    await gateway.database.at_once("SELECT pg_notify('nobody', '')")
    async with gateway.database.as_service() as db:
        assert "service_role" == await db.fetchval("SELECT current_user::text")


async def test_a_table_that_the_crm_changes(gateway: Gateway) -> None:
    """Whoever meets a column's new type first is asked to come again, not told of a mistake."""
    await gateway.ask("POST", "/v1/leads", {"notes": "Likes tea."})
    # Many at once: others are at work, too, and of several connections some are the same ones.
    assert {200} == {answer.status for answer in await leads(gateway)}
    async with gateway.database.as_service() as db:
        await db.execute("RESET ROLE; ALTER TABLE leads ALTER COLUMN notes TYPE varchar(5000)")
    met = [answer for answer in await leads(gateway) if answer.status != 200]
    assert {(503, "1")} == {(each.status, each.headers.get("Retry-After")) for each in met}
    assert {200} == {answer.status for answer in await leads(gateway)}


async def leads(gateway: Gateway) -> list[Answer]:
    """Leads, read by many at once."""
    return await asyncio.gather(*(gateway.ask("GET", "/v1/leads") for _ in range(16)))


async def test_a_batch_that_meets_a_changed_table(gateway: Gateway) -> None:
    """What is done for many is done once more, and nobody hears of it."""
    statement = "SELECT id, subject FROM messages"
    calls = 0

    async def read() -> None:
        nonlocal calls
        calls += 1
        async with gateway.database.as_service() as db:
            await db.fetch(statement)

    await read()
    async with gateway.database.as_service() as db:
        await db.execute("RESET ROLE; ALTER TABLE messages ALTER COLUMN subject TYPE varchar(999)")
    await once_more(read, UNDONE)
    assert 3 == calls


async def test_a_new_connection_asks_for_no_types(database: str) -> None:
    """It knows PostgreSQL's own arrays; their values are as those that stand alone."""
    given = {
        "uuid[]": [UUID(int=7)],
        "text[]": ["a", None],
        "timestamptz[]": [datetime(2026, 1, 2, 3, 4, 5, 6, UTC), None],
        "date[]": [date(2026, 1, 2)],
        "bytea[]": [b"\0\1"],
        "boolean[]": [True, None],
        "smallint[]": [1],
        "integer[]": [2],
        "bigint[]": [2**40],
        "float8[]": [0.5],
        "numeric[]": [Decimal("1.50")],
        "varchar[]": ["b"],
    }
    listed = ", ".join(f"${number}::{name}" for number, name in enumerate(given, start=1))
    gateway = await Database.connect(database)
    try:
        async with gateway.as_service() as db:
            read = await db.fetchrow(f"SELECT {listed}", *given.values())
            of_json = await db.fetchrow(
                "SELECT ARRAY['{\"a\": 1}'::jsonb], ARRAY['[2]'::json],"
                " ARRAY['infinity'::timestamptz]"
            )
            kept = await db.fetch("SELECT statement FROM pg_prepared_statements")
    finally:
        await gateway.close()

    assert tuple(given.values()) == tuple(read or ())
    assert ([{"a": 1}], [[2]], [datetime(9999, 12, 31, tzinfo=UTC)]) == tuple(of_json or ())
    assert [] == [row["statement"] for row in kept if "typeinfo" in row["statement"]]


async def test_connections_that_went_silent(gateway: Gateway) -> None:
    """After a failover the old server may answer no more, not even that it is gone: who meets the
    first such connection waits for it, and nobody for the others."""
    database = await Database.connect(str(gateway.settings.database_url), size=3, answer_within=2)
    try:
        await together(database, "pause_reading")
        with pytest.raises(DatabaseAwayError):
            await together(database, count=1)
        async with asyncio.timeout(5):
            await together(database)
    finally:
        await database.close()


async def together(database: Database, then: str | None = None, *, count: int = 3) -> None:
    """As many transactions at once; what is done `then` to their connections' transports."""
    met = asyncio.Barrier(count)

    async def one() -> None:
        async with database.as_service() as db:
            await met.wait()
            await db.execute("SELECT 1")
            transport = cast("Any", db)._con._transport
        if then is not None:
            getattr(transport, then)()

    await asyncio.gather(*(one() for _ in range(count)))
