"""For the database tests: connections, filled databases, and dumps that can be compared."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import pytest

from gateway.embedded.programs import bin_dir
from tests.conftest import MakeShared

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

MakeFilled = Callable[..., str]


async def _dump(dsn: str, *options: str) -> str:
    process = await asyncio.create_subprocess_exec(
        str(bin_dir() / "pg_dump"), "-d", dsn, *options, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return re.sub(r"\\(un)?restrict .*\n", "", out.decode())  # these lines have a random word


@pytest.fixture
def dump() -> Callable[..., Awaitable[str]]:
    """A function that returns the output of pg_dump for a DSN and options."""
    return _dump


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[str], Awaitable[Connection]]]:
    """A function that opens a connection to a DSN; it is closed at the end."""
    opened: list[Connection] = []

    async def open_one(dsn: str) -> Connection:
        connection = await asyncpg.connect(dsn)
        await connection.execute("SET client_min_messages = warning")
        opened.append(connection)
        return connection

    yield open_one
    for connection in opened:
        await connection.close()


@pytest.fixture(scope="session")
def make_filled(make_shared: MakeShared, template: str) -> MakeFilled:
    """A function that fills a database with statements, once for the whole run, and returns its
    name, to be copied: that takes a thirtieth of the time of filling."""

    def make(kind: str, *statements: str) -> str:
        async def fill(dsn: str) -> str:
            connection = await asyncpg.connect(dsn)
            for statement in statements:
                await connection.execute(statement)
            await connection.close()
            return ""

        return make_shared(kind, template, fill).name

    return make


@pytest.fixture
async def db(database: str, connect: Callable[[str], Awaitable[Connection]]) -> Connection:
    """A superuser's connection to a new database with the whole schema."""
    return await connect(database)
