"""The address of a database in the words that dbmate's driver takes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
import pytest

from gateway.schema import dbmate, migrate


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://me@/x?host=/run/pg", "postgres://me@/x?host=/run/pg&sslmode=disable"),
        ("postgresql://me@%2Frun%2Fpg/x", "postgres://me@/x?host=/run/pg&sslmode=disable"),
        (
            "postgres://me:a%2Fb@%2frun%2fPG:5433/x",
            "postgres://me:a%2Fb@/x?host=/run/PG&port=5433&sslmode=disable",
        ),
        ("postgresql://me@db.example/x", "postgres://me@db.example/x?sslmode=require"),
        ("postgresql://me@127.0.0.1/x", "postgres://me@127.0.0.1/x?sslmode=disable"),
    ],
)
def test_the_same_server(given: str, expected: str) -> None:
    """A socket may stand as the host, as libpq and asyncpg take it; what is encrypted is said."""
    assert expected == dbmate.url_of(given, encrypted=None)


@pytest.mark.parametrize(
    ("reached", "expected"),
    [
        (("b", 2), "postgres://me:pw@b:2/x?sslmode=require"),
        (("::1", 2), "postgres://me:pw@[::1]:2/x?sslmode=require"),
        ("/run/pg/.s.PGSQL.7", "postgres://me:pw@/x?sslmode=require&host=/run/pg&port=7"),
    ],
)
def test_one_of_several_servers(reached: dbmate.Server, expected: str) -> None:
    """Of several, dbmate's driver is given the one that asyncpg has reached."""
    several = "postgresql://me:pw@a:1,b:2/x?sslmode=require&target_session_attrs=primary"
    assert expected == dbmate.url_of(several, encrypted=True, reached=reached)


async def test_several_servers(empty_database: str) -> None:
    """A database whose first server is away is made and migrated on the next one."""
    parts = urlsplit(empty_database)
    query = dict(parse_qsl(parts.query))
    query |= {"host": f"/nowhere,{query['host']}", "port": f"1,{query.get('port', '5432')}"}
    several = urlunsplit(parts._replace(path=f"{parts.path}_new", query=urlencode(query)))
    try:
        assert list(migrate.versions()) == await migrate.up(several)
        assert () == (await migrate.status(several)).pending
    finally:
        connection = await asyncpg.connect(empty_database)
        await connection.execute(f'DROP DATABASE IF EXISTS "{parts.path[1:]}_new" WITH (FORCE)')
        await connection.close()


@pytest.mark.parametrize("named", ["PGPASSWORD", "PGPASSFILE", "HOME"])
async def test_a_password_beside_the_address(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dbmate finds the password where asyncpg does."""
    told: list[bytes] = []

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # https://www.postgresql.org/docs/18/protocol-flow.html
        await reader.readexactly(int.from_bytes(await reader.readexactly(4)) - 4)
        writer.write(b"R" + (8).to_bytes(4) + (3).to_bytes(4))  # a password in clear text
        await reader.readexactly(1)
        told.append(await reader.readexactly(int.from_bytes(await reader.readexactly(4)) - 4))
        writer.close()

    for name in ("PGPASSWORD", "PGPASSFILE", "HOME"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / ".pgpass"
    file.write_text("*:*:*:me:secret\n")
    file.chmod(0o600)
    values = {"PGPASSWORD": "secret", "PGPASSFILE": str(file), "HOME": str(tmp_path)}
    monkeypatch.setenv(named, values[named])
    async with await asyncio.start_server(ask, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(dbmate.MigrationError):
            await dbmate.run(f"postgres://me@127.0.0.1:{port}/x?sslmode=disable", "status")
    assert {b"secret\0"} == set(told)


def test_what_is_encrypted_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """PGSSLMODE counts where the address says nothing, so that dbmate checks what asyncpg does."""
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert "postgres://me@db.example/x?sslmode=verify-full" == dbmate.url_of(
        "postgres://me@db.example/x", encrypted=True
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another")
def test_a_user_without_name_and_home() -> None:
    """Who stands in no /etc/passwd and has no HOME, as in many containers, has none for dbmate."""
    program = "import os; os.setuid(54321); os.environ.pop('HOME', None); "
    program += (
        "from gateway.config import postgres_environment as found; assert 'HOME' not in found()"
    )
    program = f"from gateway import config; {program}"
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=True)
