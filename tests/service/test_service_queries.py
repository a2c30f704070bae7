"""The SQL that the store uses: all of it is right, all of it is used, and nobody else has any."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import pytest

from gateway.store.sql import queries, sql_folder, subjects

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("lead", "client")
BLOCKS = [(subject, name) for subject in subjects() for name in queries(subject)]

# What runs as the caller, under Row Level Security: staff, and API keys where they may.
STAFF_ONLY = {
    ("accounts", name)
    for name in queries("accounts")
    if name.endswith(("_api_keys", "_api_key", "_accounts", "_account", "_senders", "_sender"))
} - {("accounts", "open_account")} | {("accounts", "replace_credentials"), ("desk", "staff")}
CALLERS = {
    *(("templates", name) for name in queries("templates") if name != "let_go"),
    *(("messages", name) for name in ("get", "list", "search", "events", "parts")),
    *(("searching", name) for name in queries("searching")),
    *(("media", name) for name in ("by_message", "by_ids")),
    *(("suppressions", name) for name in ("list", "get", "find", "standing")),
    *(("contacts", name) for name in queries("contacts") if name != "by_address"),
    *(("why", name) for name in queries("why")),
    *(
        ("subscriptions", name)
        for name in ("insert", "list", "get", "update", "replace_credentials", "delete")
    ),
    *(("desk", name) for name in queries("desk") if name != "staff"),
    *(
        ("conversations", name)
        for name in (
            "current",
            "whereabouts",
            "get",
            "list",
            "last_messages",
            "last_lines",
            "reply",
            "hold",
            "change",
        )
    ),
}


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Connection]:
    """A connection to a migrated database."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def explain(connection: Connection, role: str, subject: str, name: str) -> None:
    """Plan a block as a role, which is what checks its names, types and privileges."""
    text = queries(subject)[name].rstrip(";")
    count = len((await connection.prepare(text)).get_parameters())
    nulls = f"({', '.join(['NULL'] * count)})" if count else ""
    await connection.execute(f"SET ROLE {role}")
    await connection.execute(f"PREPARE block AS {text}")
    try:
        await connection.execute(f"EXPLAIN EXECUTE block{nulls}")
    finally:
        await connection.execute("DEALLOCATE block; RESET ROLE")


async def test_every_block_prepares(connection: Connection) -> None:
    """Every block is right on the migrated schema; service_role may run what it has to."""
    assert BLOCKS
    wrong = []
    for subject, name in BLOCKS:
        try:
            await explain(connection, "service_role", subject, name)
        except asyncpg.PostgresError as error:
            wrong.append(f"{subject}.{name}: {error}")

    # Functions that service_role has no need of: accept, search and the inbox read as the caller.
    assert [
        "contacts.context: permission denied for function contacts_by_address",
        "desk.people: permission denied for function search_people",
        "messages.search: permission denied for function search_messages",
        "searching.conversations: permission denied for function search_conversations",
    ] == wrong


async def test_callers_may_run_theirs(connection: Connection) -> None:
    """What runs as the caller can be run by staff, and by API keys where they may call it."""
    wrong = []
    for role, blocks in (("authenticated", CALLERS | STAFF_ONLY), ("gateway_api", CALLERS)):
        for subject, name in sorted(blocks):
            try:
                await explain(connection, role, subject, name)
            except asyncpg.PostgresError as error:
                wrong.append(f"{role} {subject}.{name}: {error}")

    assert [] == wrong


def test_names_are_unique() -> None:
    """No block hides another of the same name, and no file has SQL in front of its first block."""
    for subject in subjects():
        text = (sql_folder() / "queries" / f"{subject}.sql").read_text()
        names = re.findall(r"^--\s*name:\s*(.*)$", text, re.MULTILINE)
        assert dict.fromkeys(queries(subject), 1) == Counter(names), subject
        preamble = text.partition("-- name:")[0].splitlines()
        assert all(line.startswith("--") or not line for line in preamble), subject


@pytest.mark.parametrize(("subject", "name"), BLOCKS)
def test_a_block_is_one_statement(subject: str, name: str) -> None:
    """A block is one statement, which its semicolon ends."""
    bare = re.sub(r"--[^\n]*|'(?:[^']|'')*'", "", queries(subject)[name]).strip()
    assert 1 == bare.count(";")
    assert bare.endswith(";")


def used_blocks() -> set[tuple[str, str]]:
    """(subject, block) of every `_SQL[...]` in the store."""
    used = set()
    for path in (ROOT / "gateway" / "store").glob("*.py"):
        tree = ast.parse(path.read_text())
        opened = [
            node.args[0].value
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "queries"
            and isinstance(node.args[0], ast.Constant)
        ]
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "_SQL":
                (subject,) = opened
                used |= {(str(subject), name) for name in names_in(node.slice)}
    return used


def names_in(index: ast.expr) -> set[str]:
    """The names that a subscript can be: `"get"`, or `f"get_{kind}"` for each kind."""
    if isinstance(index, ast.Constant):
        return {str(index.value)}
    assert isinstance(index, ast.JoinedStr), ast.unparse(index)
    text = ast.unparse(index)[2:-1]
    return {text.replace("{kind}", kind) for kind in KINDS}


def test_every_block_is_used() -> None:
    """The store uses each block, and each block that it names is there."""
    assert set(BLOCKS) == used_blocks()


def test_only_config_reads_the_environment() -> None:
    """No module but gateway/config.py looks into os.environ."""
    readers = {
        str(path.relative_to(ROOT))
        for package in ("gateway", "channels", "webhooks")
        for path in (ROOT / package).rglob("*.py")
        if reads_environment(ast.parse(path.read_text()))
    }

    assert {"gateway/config.py"} == readers


def reads_environment(tree: ast.AST) -> bool:
    """Whether a module touches the environment of its process."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"})
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and any(alias.name in {"environ", "getenv"} for alias in node.names)
        )
        for node in ast.walk(tree)
    )
