"""A pooler in DATABASE_URL without DATABASE_DIRECT_URL: what works, and what is said instead."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.schema import migrate
from gateway.store.database import Database
from gateway.store.errors import DatabaseAwayError
from gateway.store.listening import hear
from tests.cli.shell import shell_in
from tests.faults.stage import new_stage
from tests.pooler.conftest import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pooler.conftest import Bouncer

ROOT = Path(__file__).resolve().parents[2]
QUERIES = tuple(f"SELECT $1::int + {n} AS sum{n}" for n in range(12))


async def sums(database: Database) -> None:
    """Many statements in many short transactions, on connections that others use, too."""

    async def ask(n: int) -> None:
        async with database.as_service() as db:
            assert 100 + n % 12 == await db.fetchval(QUERIES[n % 12], 100)

    await asyncio.gather(*(ask(n) for n in range(200)))


async def test_statements_are_not_prepared(
    bouncer: Bouncer, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The pooler is found out: no statement is lost, or run in another's place; and what is not set
    is said once, where it is not set."""
    ways = (False, False, True)
    found = [
        await Database.connect(bouncer.dsn(database), size=4, patience=60, pooled=way)
        for way in ways
    ]
    try:
        await asyncio.gather(*(sums(each) for each in found))
    finally:
        for each in found:
            await each.close()
    assert 2 == len([line for line in caplog.messages if "DATABASE_DIRECT_URL is not set" in line])


async def loses_statements(database: Database) -> None:
    """A transaction that goes on, on another connection than the one it began on."""
    async with database.as_service() as db:
        await db.fetchval("SELECT $1::int", 1)
        await db.execute("DEALLOCATE ALL")
        await db.fetchval("SELECT $1::int", 1)


async def test_a_pooler_that_is_not_found_out(database: str) -> None:
    """A statement that is not where it was prepared is no mistake of ours: what to set is said."""
    direct = await Database.connect(database, size=1)
    try:
        with pytest.raises(DatabaseAwayError, match="set DATABASE_DIRECT_URL"):
            await loses_statements(direct)
    finally:
        await direct.close()


async def test_a_worker_does_not_pretend(bouncer: Bouncer, database: str) -> None:
    """Web accepts; a worker, whom nobody could see living or dying, takes nothing up."""
    async with new_stage(database) as stage:
        stage.settings = stage.settings.model_copy(update={"database_url": bouncer.dsn(database)})
        await stage.stop_web()
        await stage.start_web()
        tenant = await stage.tenant()
        stage.start_worker()
        sent = await asyncio.gather(*(stage.send(tenant, "+15557000001", f"{n}") for n in range(9)))
        await asyncio.sleep(0.7)
        assert {row["id"] for row in sent} == await stage.queued()
        assert [] == await stage.requests()
        await stage.stop_workers()


async def test_session_mode(make_bouncer: Callable[..., Bouncer], database: str) -> None:
    """In session mode the pooler alone will do: for statements, listening and the lock."""
    session = make_bouncer("session", 12).dsn(database)
    async with new_stage(database) as stage:
        stage.settings = stage.settings.model_copy(update={"database_url": session})
        tenant = await stage.tenant()
        stage.start_worker()
        sent = await stage.send(tenant, "+15557000001", "Hello")
        await stage.until_statuses({sent["id"]: "delivered"}, 30)
        hearing = asyncio.Event()

        async def notify(channel: str) -> None:
            await stage.database.at_once(f"NOTIFY {channel}")

        task = asyncio.create_task(hear(session, hearing, {}, notify))
        await asyncio.wait_for(hearing.wait(), 30)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_documented_file(make_bouncer: Callable[..., Bouncer], database: str) -> None:
    """PgBouncer starts with the file of docs/operating.md and carries transactions; only where it
    listens, who may come and where the server is are another here."""
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    file = page.split("```ini\n")[1].split("```")[0]
    for line in ("gateway = host", "listen_addr", "listen_port", "auth_type", "auth_file"):
        file, count = re.subn(rf"^{line}.*\n", "", file, flags=re.MULTILINE)
        assert 1 == count, line
    here = SETTINGS.partition("pool_mode")[0] + "auth_type = trust\nauth_file = {folder}/users\n"
    own = file.replace("[databases]\n", "").replace(
        "[pgbouncer]\n", here + "logfile = {folder}/log\n"
    )
    pool = await Database.connect(make_bouncer(settings=own).dsn(database), pooled=True)
    try:
        await sums(pool)
    finally:
        await pool.close()


async def test_migrations_go_directly(bouncer: Bouncer, database: str, tmp_path: Path) -> None:
    """`gateway migrate` takes DATABASE_DIRECT_URL where no owner is named; through a pooler, which
    would keep dbmate's lock, it stops with one line."""
    through = bouncer.dsn(database)
    with pytest.raises(migrate.MigrationError, match=r"transaction pooler.*set DATABASE_OWNER_URL"):
        await migrate.up(through)
    assert () == (await migrate.status(through)).pending
    ways = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x", "DATABASE_DIRECT_URL": database}
    done = await shell_in(tmp_path, **ways).run("migrate", "status")
    assert 0 == done.code, done.err
