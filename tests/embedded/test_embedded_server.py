"""The embedded PostgreSQL: there while anybody uses it, whoever came first and however they die."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest

from gateway.embedded.programs import readlink
from gateway.embedded.server import EmbeddedServer
from tests.costs import cpu_seconds
from tests.embedded.machine import Machine, new_machine, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")

SOON = 1.5  # seconds: the contract's one, and some for a busy machine


async def query(dsn: str, text: str) -> object:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return await connection.fetchval(text)
    finally:
        await connection.close(timeout=10)


async def query_at_last(dsn: str, text: str, seconds: float = 15) -> object:
    """The answer of a server that is coming back."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await query(dsn, text)
        except (OSError, asyncpg.PostgresError):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


async def test_a_new_folder_gets_a_server(new: Machine) -> None:
    """An empty folder gets a durable UTF-8 cluster in UTC with the database `gateway`."""
    with EmbeddedServer(new.data) as server:
        settings = ("server_encoding", "TimeZone", "fsync", "synchronous_commit")
        for name, expected in zip(settings, ("UTF8", "UTC", "on", "on"), strict=True):
            assert await query(server.dsn, f"SHOW {name}") == expected
        assert await query(server.dsn, "SELECT current_database()") == "gateway"
        assert await query(server.dsn, "SELECT lower('ÄΩЖ')") == "äωж"


async def test_letters_of_every_alphabet_are_searched(machine: Machine) -> None:
    """Trigrams are made of letters that are not ASCII too, which plain C would drop."""
    with machine.server() as server:
        await query(server.dsn, "CREATE EXTENSION IF NOT EXISTS pg_trgm")
        assert await query(server.dsn, "SELECT similarity('жук', 'Жук')") == 1.0


async def test_what_is_committed_is_there_after_a_restart(machine: Machine) -> None:
    """A server that went with its last user comes back with the same rows."""
    with machine.server() as server:
        await query(server.dsn, "CREATE TABLE IF NOT EXISTS t AS SELECT 7 AS n")
    assert machine.seconds_until_gone() < SOON
    with machine.server() as server:
        assert await query(server.dsn, "SELECT n FROM t") == 7


def test_users_share_one_server_until_the_last_goes(machine: Machine) -> None:
    """A second user gets the first one's server, and keeps it when the first has gone."""
    first, second = machine.user(), machine.user()
    postmaster, holder = machine.postmaster(), machine.holder()
    first.communicate("")
    time.sleep(0.3)
    assert (machine.postmaster(), machine.holder()) == (postmaster, holder)
    second.communicate("")
    assert machine.seconds_until_gone() < SOON


def test_users_may_die_as_they_like(machine: Machine) -> None:
    """After a kill -9 of all its users the server is gone within a second."""
    users = [machine.user(), machine.user()]
    machine.kill(*(user.pid for user in users))
    assert machine.seconds_until_gone() < SOON


def test_a_child_of_a_user_is_no_user(machine: Machine) -> None:
    """A program that a user has started and left behind does not keep the server."""
    with machine.server():
        child = subprocess.Popen(["/bin/sleep", "60"], close_fds=False)
    try:
        assert machine.seconds_until_gone() < SOON
    finally:
        child.kill()
        child.wait()


async def test_the_holder_may_be_killed(machine: Machine) -> None:
    """After a kill -9 of the holder the server ends cleanly, and a user's keeper brings it back."""
    user = machine.user()
    dsn = machine.server().dsn
    holder, postmaster = machine.holder(), machine.postmaster()
    log_before = (machine.data / "server.log").stat().st_size
    machine.kill(holder)
    wait_until(lambda: postmaster not in machine.processes())
    assert await query_at_last(dsn, "SELECT 1") == 1
    assert machine.holder() != holder
    log = (machine.data / "server.log").read_text()[log_before:]
    assert "database system is shut down" in log
    assert "was not properly shut down" not in log
    user.communicate("")
    assert machine.seconds_until_gone() < SOON


async def test_the_next_start_after_a_killed_holder_works_at_once(machine: Machine) -> None:
    """A newcomer waits for the dying server of a killed holder and gets its own."""
    with machine.server():
        machine.kill(machine.holder())
        with machine.server() as second:
            assert await query(second.dsn, "SELECT 1") == 1


async def test_the_postmaster_may_be_killed(machine: Machine) -> None:
    """After a kill -9 of the postmaster, while backends live, the holder starts another."""
    with machine.server() as server:
        await query(server.dsn, "CREATE TABLE IF NOT EXISTS t AS SELECT 7 AS n")
        busy = await asyncpg.connect(server.dsn)
        holder, postmaster = machine.holder(), machine.postmaster()
        machine.kill(postmaster)
        wait_until(lambda: postmaster not in machine.processes())
        assert await query_at_last(server.dsn, "SELECT n FROM t") == 7
        assert machine.holder() == holder
        busy.terminate()


async def test_a_backend_that_outlives_its_postmaster_is_ended(machine: Machine) -> None:
    """A backend in a long loop does not notice that the postmaster died; it is killed at last."""
    with machine.server() as server:
        busy = await asyncpg.connect(server.dsn)
        loop = "DO $$ BEGIN LOOP END LOOP; END $$"
        running = asyncio.create_task(busy.execute(loop))
        await asyncio.sleep(0.2)
        machine.kill(machine.postmaster())
        assert await query_at_last(server.dsn, "SELECT 1") == 1
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            await running
        busy.terminate()


async def test_everything_may_be_killed_at_once(machine: Machine) -> None:
    """After a kill -9 of users, holder and postmaster the next start has every committed row."""
    user = machine.user()
    await query(machine.server().dsn, "CREATE TABLE IF NOT EXISTS t AS SELECT 7 AS n")
    machine.kill(user.pid, machine.holder(), machine.postmaster())
    with machine.server() as server:
        assert await query(server.dsn, "SELECT n FROM t") == 7


async def test_anything_may_be_killed_at_any_moment(machine: Machine) -> None:
    """After kills at random moments of start, work and end, the next start works every time."""
    seed = time.time_ns() % 2**32
    print(f"seed {seed}")  # noqa: T201
    chance = random.Random(seed)  # noqa: S311 (no secret)
    for _ in range(6):
        user = machine.spawn()
        await asyncio.sleep(chance.uniform(0.0, 0.5))
        for pid in {user.pid, *machine.processes()}:
            if chance.random() < 0.5:
                try:
                    machine.kill(pid)
                except ProcessLookupError:
                    continue
        with machine.server() as server:
            assert await query_at_last(server.dsn, "SELECT 1") == 1
        user.kill()
        user.communicate()


def test_many_at_once_get_the_same_server(new: Machine) -> None:
    """Eight processes that start together on an empty folder share one cluster and one server."""
    users = [new.spawn() for _ in range(8)]
    for user in users:
        assert user.stdout is not None
        assert user.stdout.readline().startswith("postgres://")
    assert new.postmaster()
    assert new.holder()
    for user in users:
        user.communicate("")
    assert new.seconds_until_gone() < SOON


def test_an_interrupted_initdb_is_begun_again(new: Machine) -> None:
    """After a kill -9 in the middle of initdb the next start makes a whole cluster."""
    user = new.spawn()
    wait_until((new.data / "pgdata.new" / "base").exists)
    new.kill(user.pid, *new.processes())
    assert not (new.data / "pgdata").exists()
    with new.server():
        assert (new.data / "pgdata" / "PG_VERSION").exists()
    assert not (new.data / "pgdata.new").exists()


async def test_a_stale_pid_file_does_not_matter(machine: Machine) -> None:
    """A postmaster.pid whose pid is now that of another living process stops nobody."""
    lines = (
        f"{os.getpid()}\n{machine.data}/pgdata\n1\n5432\n{machine.data}/socket\n\n  1  1\nready\n"
    )
    (machine.data / "pgdata" / "postmaster.pid").write_text(lines)
    with machine.server() as server:
        assert await query(server.dsn, "SELECT 1") == 1


def test_no_port_is_opened(machine: Machine) -> None:
    """No process of the server has a TCP socket."""
    with machine.server():
        opened = set()
        for pid in machine.processes():
            for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
                opened.add(readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
        assert len(opened) > 10
        tables = [Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")]
        tcp = {line.split()[9] for table in tables for line in table.splitlines()[1:]}
        assert not opened & tcp


def test_looking_after_the_holder_costs_nothing(machine: Machine) -> None:
    """`ensure` takes less than a millisecond while the holder lives."""
    with machine.server() as server:
        assert cpu_seconds(server.ensure, runs=100) < 0.001


def test_starting_and_stopping_twice_is_harmless(machine: Machine) -> None:
    """Start and stop may be called again; a stopped user starts no holder."""
    server = machine.server()
    server.ensure()
    server.start()
    server.start()
    server.stop()
    server.stop()
    server.ensure()
    assert machine.seconds_until_gone() < SOON


def test_a_term_signal_ends_the_holder(machine: Machine) -> None:
    """At a machine's shutdown the holder stops its server in order; a user's look starts both."""
    with machine.server() as server:
        holder = machine.holder()
        os.kill(holder, signal.SIGTERM)
        wait_until(lambda: holder not in machine.processes())
        server.ensure()
        assert machine.holder() != holder


async def test_a_path_too_long_or_strange_for_a_socket(folder: Path) -> None:
    """Where the data folder's path would not do for a socket, it is in a private folder in /tmp."""
    for name in ("a,b c%20'\"é" + "x" * 80,):
        for machine in new_machine(folder / name / "data"):
            with machine.server() as server:
                assert await query(server.dsn, "SELECT 1") == 1
                place = server._layout.socket_folder
                assert place.parent == Path("/tmp")
                assert place.stat().st_mode & 0o777 == 0o700


def test_the_socket_is_connectable_by_its_owner_alone(machine: Machine) -> None:
    """Folder and socket are closed to others, which is why the server asks for no password."""
    with machine.server() as server:
        assert server._layout.socket_folder.stat().st_mode & 0o777 == 0o700
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(server._layout.socket))


async def test_a_keeper_reports_and_goes_on(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    """A keeper whose server cannot start says so once, and has it back when that is mended."""
    async with machine.server() as server:
        keeper = asyncio.create_task(server.keep())
        version = machine.data / "pgdata" / "PG_VERSION"
        version.rename(version.with_name("PG_VERSION.away"))
        machine.kill(machine.holder())
        await asyncio.to_thread(wait_until, lambda: "is no PostgreSQL cluster" in caplog.text)
        version.with_name("PG_VERSION.away").rename(version)
        assert await query_at_last(server.dsn, "SELECT 1") == 1
        keeper.cancel()
