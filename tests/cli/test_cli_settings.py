"""A missing or malformed setting stops the process at start with one line that names it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cli.shell import SECRET_KEY, Shell, shell_in

AWAY = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def away(folder: Path) -> Shell:
    """Commands whose database is away: what stops them stops them before they look for it."""
    return shell_in(folder, DATABASE_URL=AWAY, GATEWAY_SECRET_KEYS=SECRET_KEY)


async def test_web_and_worker_stop_at_once(away: Shell) -> None:
    """Without the keys for secrets neither web nor worker starts."""
    web, worker = await asyncio.gather(
        away.run("web", GATEWAY_SECRET_KEYS=""), away.run("worker", GATEWAY_SECRET_KEYS="")
    )

    assert web.complaint.startswith("GATEWAY_SECRET_KEYS: ")
    assert web.complaint == worker.complaint


async def test_the_line_names_the_setting(away: Shell) -> None:
    """Whatever is wrong with a setting, the one line begins with its name."""
    wrong = {
        "DATABASE_URL": [
            *("mysql://x/y", "nonsense", "postgresql://x:nope/y", f"{AWAY}?sslmode=no"),
            f"{AWAY}?x",
        ],
        "DATABASE_DIRECT_URL": ["nonsense", f"{AWAY}?sslmode=no"],
        "DATABASE_OWNER_URL": ["nonsense"],
        "GATEWAY_SECRET_KEYS": ["", ",", "!!!", "AAAA", "é", f"{SECRET_KEY},AAAA"],
        "PORT": ["abc", "0", "65536", "-1", "80.5"],
        "WEB_CONCURRENCY": ["0", "many"],
        "WORKER_CONCURRENCY": ["0", "many"],
        "PUBLIC_URL": ["ftp://x", "msg.example.org", "http://", "http://[x", "http://x:nope"],
        "SUPABASE_JWT_SECRET": ["short", "x" * 31],
        "SUPABASE_URL": ["x.supabase.co"],
        "TWILIO_API_URL": ["localhost:9090", "http://x?y=z"],
        "GATEWAY_URL": ["localhost"],
        "LOG_LEVEL": ["loud"],
        "LOG_FORMAT": ["xml"],
        "GATEWAY_DATA": ["/proc/nowhere", "~nobody-here/x"],
        "GATEWAY_MEDIA_URL": [
            *("https://bucket", "~nobody-here/x", "/proc/nope", "/proc", "s3://[", "file://["),
        ],
    }
    found = {}
    clerk = away.clerk()
    for name, values in wrong.items():
        for value in values:
            done = await clerk.run("worker", **{name: value})
            found[name, value] = (done.code, done.out, done.err.count("\n"), done.err[:40])

    for (name, value), (code, out, lines, text) in found.items():
        assert (1, "", 1, True) == (code, out, lines, text.startswith(f"gateway: {name}: ")), (
            name,
            value,
            text,
        )


async def test_what_only_the_server_can_tell(shell: Shell, database: str) -> None:
    """A setting that PostgreSQL has not stops the process, too, and other programs' variables that
    end as those of our providers do not."""
    clerk = shell.clerk()
    wrong = await clerk.run("worker", DATABASE_URL=f"{database}&channel_binding=require")
    theirs = {"VITE_API_URL": "/api", "PROVIDER_API_URLS": "/api"}
    right = await clerk.run("org", "create", "Clinic", **theirs)

    assert wrong.complaint.startswith("DATABASE_URL: ")
    assert "channel_binding" in wrong.complaint
    assert 0 == right.code


async def test_a_key_that_cannot_be_read(lone_shell: Shell, folder: Path) -> None:
    """A `secret.key` that is not to be read is one line that names it; no other takes its place."""
    (folder / "secret.key").mkdir()

    clerk = lone_shell.clerk()
    done = await clerk.run("org", "create", "Clinic")

    assert done.complaint.startswith(f"GATEWAY_DATA: {folder}/secret.key cannot be used: ")


async def test_a_database_that_is_away(away: Shell) -> None:
    """A command that needs the database says in one line that it does not answer."""
    clerk = away.clerk()
    org = await clerk.run("org", "create", "x")
    up = await clerk.run("migrate", "up")
    status = await clerk.run("migrate", "status", "--json")

    for done in (org, up, status):
        assert "database" in done.complaint


async def test_a_server_that_is_none_of_that_kind(shell: Shell, database: str) -> None:
    """Where no server is what the address asks for, as a standby, that is one line."""
    clerk = shell.clerk()
    wanted = {"DATABASE_URL": f"{database}&target_session_attrs=standby"}
    org = await clerk.run("org", "create", "x", **wanted)
    status = await clerk.run("migrate", "status", "--json", **wanted)

    for done in (org, status):
        assert "standby" in done.complaint


async def test_what_is_set_for_other_servers(lone_shell: Shell, folder: Path) -> None:
    """What people have in their shell for psql and a server elsewhere is nothing to our own."""
    elsewhere = {
        "PGHOST": "db.example.org",
        "PGPORT": "6543",
        "PGSSLMODE": "verify-full",
        "PGUSER": "somebody",
        "PGDATABASE": "theirs",
        "HOME": str(folder),
    }
    clerk = lone_shell.clerk()
    made = await clerk.run("org", "create", "Clinic", "--json", **elsewhere)

    assert ["id"] == [*made.json]
