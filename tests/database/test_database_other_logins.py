"""A program beside the gateway that has a login of its own, and writes the document's tables."""

# ruff: noqa: S608 (the names come from the catalogue)

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from gateway.schema import migrate
from tests.database import document
from tests.database.rows import A, Rows, Table, tables
from tests.database.test_database_migrations import as_login

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

Connect = Callable[[str], Awaitable["Connection"]]
EVERYTHING = """
GRANT ALL ON ALL TABLES IN SCHEMA public TO {0};
GRANT USAGE ON SCHEMA auth TO {0};
"""


@pytest.fixture
async def crm(empty_database: str, connect: Connect) -> AsyncIterator[str]:
    """The DSN of a program's own login, which may do everything in the customer's database."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = await connect(empty_database)
    await document.make(admin)
    await admin.execute(f"CREATE ROLE {name} LOGIN BYPASSRLS PASSWORD 'secret/word'")
    await admin.execute(EVERYTHING.format(name))
    yield as_login(empty_database, name)
    await admin.execute(f"DROP OWNED BY {name}; DROP ROLE {name};")


async def possible(connection: Connection, found: dict[str, Table]) -> dict[str, str]:
    """What a login can do: each statement that it tries on each table, and how that went."""
    went: dict[str, str] = {}

    async def attempt(what: str, statement: str, *values: Any) -> None:
        try:
            async with connection.transaction():
                await connection.execute(statement, *values)
        except asyncpg.PostgresError as error:
            went[what] = f"{type(error).__name__}: {error}"
        else:
            went[what] = "done"

    whole = connection.transaction()
    await whole.start()
    rows = Rows(connection, found)
    for name, table in found.items():
        await attempt(f"SELECT {name}", f"SELECT * FROM {name}")
        row: dict[str, Any] = {}
        try:
            async with connection.transaction():
                row = await rows.row(name, A)
        except asyncpg.PostgresError as error:
            went[f"INSERT {name}"] = f"{type(error).__name__}: {error}"
            continue
        went[f"INSERT {name}"] = "done"
        for column in table.types:
            links = [link for link in table.links if column in link.columns]
            value = row[column] if links or column == "id" else rows.value(table, column)
            await attempt(
                f"UPDATE {name}.{column}",
                f'UPDATE {name} SET "{column}" = $2 WHERE id = $1',
                *(row["id"], value),
            )
    for name in reversed(found):
        await attempt(f"DELETE {name}", f"DELETE FROM {name}")
    await whole.rollback()
    return went


async def test_what_a_login_could_do(crm: str, empty_database: str, connect: Connect) -> None:
    """Another program's login can do all in the document's tables that it could do before."""
    admin, theirs = await connect(empty_database), await connect(crm)
    found = await tables(admin)
    before = await possible(theirs, found)
    await migrate.up(empty_database)
    after = await possible(theirs, found)

    assert {"done"} == set(before.values())
    assert before == after
