"""`gateway migrate` and `gateway export-supabase`."""

from __future__ import annotations

import signal

import asyncpg
import pytest

from tests.cli.shell import Shell
from tests.database.test_database_waits import until_nobody_migrates


async def test_up_down_and_status(new_shell: Shell) -> None:
    """Up applies what is missing, down takes back the last or down to a version."""
    clerk = new_shell.clerk()
    before = (await clerk.run("migrate", "status", "--json")).json
    up = (await clerk.run("migrate", "up", "--json")).json
    again = await clerk.run("migrate", "up")
    last = (await clerk.run("migrate", "down", "--json")).json
    some = (await clerk.run("migrate", "down", "--to", before["pending"][1], "--json")).json
    after = (await clerk.run("migrate", "status", "--json")).json
    above = await clerk.run("migrate", "down", "--to", before["pending"][-1])
    shown = await clerk.run("migrate", "status")
    everything = (await clerk.run("migrate", "down", "--to", "0", "--json")).json
    nothing = await clerk.run("migrate", "down")
    empty = await clerk.run("migrate", "status")

    versions = before["pending"]
    assert [] == before["applied"]
    assert {"applied": versions} == up
    assert (0, "Applied: nothing, all are applied\n") == (again.code, again.out)
    assert {"taken_back": versions[-1:]} == last
    assert {"taken_back": versions[2:-1][::-1]} == some
    assert (0, "Reverted: nothing, none later is applied\n") == (above.code, above.out)
    assert {"applied": versions[:2], "pending": versions[2:]} == after
    applied, pending = ", ".join(versions[:2]), ", ".join(versions[2:])
    assert f"applied  {applied}\npending  {pending}\n" == shown.out
    assert {"taken_back": versions[:2][::-1]} == everything
    assert (0, "Reverted: nothing, none was applied\n") == (nothing.code, nothing.out)
    assert "applied  none" == empty.out.splitlines()[0]


async def test_down_to_what_is_no_version(shell: Shell) -> None:
    """A version that does not exist takes back nothing: a digit too few would be everything."""
    clerk = shell.clerk()
    versions = (await clerk.run("migrate", "status", "--json")).json["applied"]
    refused = [
        await clerk.run("migrate", "down", "--to", to, "--json")
        for to in ("latest", "99", versions[0][:-1])
    ]
    after = (await clerk.run("migrate", "status", "--json")).json

    for done in refused:
        assert "version" in done.complaint
    assert {"applied": versions, "pending": []} == after


async def test_down_from_a_later_version(shell: Shell, database: str) -> None:
    """What another version of the gateway has applied it alone can take back: nothing of ours goes
    in its place."""
    connection = await asyncpg.connect(database)
    await connection.execute("INSERT INTO gateway.schema_migrations VALUES ('20991231000000')")
    await connection.close()
    clerk = shell.clerk()
    before = (await clerk.run("migrate", "status", "--json")).json
    last, to = before["applied"][-1], before["applied"][-2]
    refused = [await clerk.run("migrate", "down", *words) for words in ((), ("--to", to))]
    after = (await clerk.run("migrate", "status", "--json")).json

    assert "20991231000000" == last
    for done in refused:
        assert "20991231000000" in done.complaint
    assert before == after


async def test_export_supabase(lone_shell: Shell) -> None:
    """The up halves are written where the Supabase CLI looks, without the down halves."""
    clerk = lone_shell.clerk()
    done = await clerk.run("export-supabase", "--json")
    elsewhere = await clerk.run("export-supabase", "out")

    written = done.json["written"]
    assert sorted(written) == written
    assert elsewhere.out.splitlines() == [
        path.replace("supabase/migrations/", "out/") for path in written
    ]
    for path in written:
        text = (lone_shell.folder / path).read_text()
        assert "INSERT INTO gateway.schema_migrations" in text
        assert "migrate:down" not in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_a_run_that_is_stopped_while_it_waits(
    shell: Shell, database: str, number: signal.Signals
) -> None:
    """It says what it waits for; told to end, or killed, it ends, and nobody waits behind it."""
    holder, reader = [await asyncpg.connect(database) for _ in range(2)]
    await holder.execute("BEGIN; SELECT FROM messages")

    async with shell.start("migrate", "down", "--to", "0") as running:
        await running.says("gateway: waiting: messages is held by process ")
        code = await running.stop(number)
    await reader.execute("SET lock_timeout = '5s'; SELECT FROM messages")
    # A session that was cut has given up its locks a moment before it is gone.
    await until_nobody_migrates(reader)

    assert code != 0
    assert not any("Traceback" in line for line in running.lines)
    for connection in (holder, reader):
        await connection.close()
