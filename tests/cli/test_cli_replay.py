"""`gateway replay`: what an operator reads, and what programs get."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlencode
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.cli.shell import Shell

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

INSERT = """
INSERT INTO gateway.webhook_requests (
  organization_id, id, account_id, provider, event, method, url, headers, body, received_at
) VALUES (
  $1, $2, $3, 'twilio', 'message', 'POST', 'https://msg.example.org/',
  '{"content-type": "application/x-www-form-urlencoded"}', $4, $5::text::timestamptz
)
"""
# The first message that is stored takes the requests away.
AWAY = """
CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  ALTER TABLE gateway.webhook_requests RENAME TO gone;
  RETURN NEW;
END $$;
CREATE TRIGGER away AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION away();
"""
DONE = """\
requests   2
events     2
new        1
known      1
unmatched  0
unknown    0
failed     0
"""


@pytest.fixture
async def db(database: str) -> AsyncIterator[Connection]:
    """A look into the database."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def set_up(shell: Shell) -> tuple[UUID, UUID]:
    """An organization and its account at Twilio."""
    clerk = shell.clerk()
    organization = (await clerk.run("org", "create", "Clinic", "--json")).json["id"]
    words = ["account", "add", "--org", organization, "--provider", "twilio", "--json"]
    told = ["--set", f"account_sid=AC{'a' * 32}", "--set", "auth_token=0123456789abcdef"]
    return UUID(organization), UUID((await clerk.run(*words, *told)).json["id"])


async def came(db: Connection, owners: tuple[UUID, UUID], at: str, sid: str) -> UUID:
    """A request is kept in which somebody writes."""
    organization, account = owners
    form = {"MessageSid": "SM" + sid * 32, "From": "+447700900123", "To": "+15551230001"}
    body = urlencode(form | {"Body": f"Hello {sid}"}).encode()
    request_id = uuid4()
    await db.execute(INSERT, organization, request_id, account, body, at)
    return request_id


async def test_replay(shell: Shell, db: Connection) -> None:
    """A dry run says what would be; the replay does it, once; `--json` says it to programs."""
    clerk, owners = shell.clerk(), await set_up(shell)
    await came(db, owners, "2026-11-20T10:00:00Z", "1")
    await came(db, owners, "2026-11-20T11:00:00Z", "1")
    dry = await clerk.run("replay", "--dry-run")
    assert 0 == await db.fetchval("SELECT count(*) FROM messages")
    done = await clerk.run("replay", "--account", str(owners[1]))
    again: Any = (await clerk.run("replay", "--json")).json

    assert (0, "", DONE) == (done.code, done.err, done.out)
    assert dry.out.startswith("Nothing was changed. This is what would be:\nrequests   2\n")
    expected = {"requests": 2, "events": 2, "new": 0, "known": 2, "unmatched": 0, "unknown": 0}
    assert expected | {"failed": 0, "failures": [], "dry_run": False} == again
    (row,) = await db.fetch("SELECT body, created_at::text FROM messages")
    assert ("Hello 1", "2026-11-20 10:00:00+00") == tuple(row)


async def test_times(shell: Shell, db: Connection) -> None:
    """`--since` and `--until` have an offset, and name the requests between them."""
    clerk, owners = shell.clerk(), await set_up(shell)
    for hour, sid in ((10, "1"), (11, "2"), (12, "3")):
        await came(db, owners, f"2026-11-20T{hour}:00:00Z", sid)
    words = ["--since", "2026-11-20T12:00:00+01:00", "--until", "2026-11-20T12:00:00Z"]
    found: Any = (await clerk.run("replay", *words, "--json")).json

    assert (1, 1) == (found["requests"], found["new"])
    assert "Hello 2" == await db.fetchval("SELECT body FROM messages")


async def test_what_is_refused(shell: Shell) -> None:
    """A time without an offset, a span that ends before it begins, and an account that is none."""
    clerk = shell.clerk()
    plain = await clerk.run("replay", "--since", "2026-11-20")
    at = "2026-11-20T12:00:00Z"
    empty = await clerk.run("replay", "--since", at, "--until", at)
    nobody = await clerk.run("replay", "--account", str(UUID(int=1)))

    assert (2, 2) == (plain.code, empty.code)
    assert "2030-01-31T09:30:00Z" in plain.err
    assert "--since must be before --until" in empty.err
    assert f"There is no account {UUID(int=1)}." == nobody.complaint


async def test_what_cannot_be_read(shell: Shell, db: Connection) -> None:
    """Whatever cannot be applied is named with its reason, and the exit code is 1; the rest is."""
    clerk, owners = shell.clerk(), await set_up(shell)
    broken = await came(db, owners, "2026-11-20T10:00:00Z", "1")
    await db.execute("UPDATE gateway.webhook_requests SET headers = '{}'")
    await came(db, owners, "2026-11-20T11:00:00Z", "2")
    done = await clerk.run("replay")
    told = await clerk.run("replay", "--json")

    assert (1, 1) == (done.code, told.code)
    assert "new        1\n" in done.out
    assert "failed     1\n" in done.out
    assert done.err.startswith(
        f"Not applied: {broken}, received at 2026-11-20T10:00:00+00:00 by account {owners[1]}: "
        "it cannot be read: "
    )
    assert '"failed":1,' in told.out
    assert str(broken) in told.out
    assert "Hello 2" == await db.fetchval("SELECT body FROM messages")


async def test_a_database_that_goes_away(shell: Shell, db: Connection) -> None:
    """Where the database goes away meanwhile, one line says how to continue."""
    clerk, owners = shell.clerk(), await set_up(shell)
    await came(db, owners, "2026-11-20T10:00:00Z", "1")
    await came(db, owners, "2026-11-20T11:00:00Z", "2")
    await db.execute(AWAY)
    done = await clerk.run("replay")

    assert done.complaint.startswith("the database has not all migrations")
    assert done.complaint.endswith("; continue with --since 2026-11-20T10:00:00+00:00")


async def test_files_that_cannot_be_kept(shell: Shell, folder: Path) -> None:
    """A folder for files that cannot be written is one line that names the setting."""
    await set_up(shell)
    (folder / "file").write_text("no folder")
    clerk = shell.clerk()
    named = await clerk.run("replay", GATEWAY_MEDIA_URL=str(folder / "file"))
    own = await clerk.run("replay", GATEWAY_DATA=str(folder / "file"))

    for done, where in ((named, folder / "file"), (own, folder / "file" / "media")):
        assert done.complaint.startswith(f"GATEWAY_MEDIA_URL: {where} cannot be written: ")
