"""What is said where the embedded PostgreSQL cannot be had: one line, with what to do."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.embedded.files import NOT_YET, Layout, probe, why
from gateway.embedded.server import EmbeddedError
from tests.embedded.machine import Machine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


def refusal(machine: Machine) -> str:
    """The line that a start fails with."""
    with pytest.raises(EmbeddedError) as raised:
        machine.server().start()
    assert "\n" not in str(raised.value)
    machine.seconds_until_gone()
    return str(raised.value)


def test_a_file_in_the_place_of_the_folder(new: Machine) -> None:
    """The folder that cannot be made is named."""
    new.data.write_text("")
    assert refusal(new) == f"File exists: {new.data}; set GATEWAY_DATA to another folder"


def test_a_folder_that_holds_something_else(new: Machine) -> None:
    """Files that are no cluster are left alone."""
    (new.data / "pgdata").mkdir(parents=True)
    (new.data / "pgdata" / "letter.txt").write_text("dear")
    assert refusal(new) == f"{new.data}/pgdata is no PostgreSQL cluster: move it away"
    assert (new.data / "pgdata" / "letter.txt").read_text() == "dear"


def test_a_cluster_of_another_version(copy: Machine) -> None:
    """A cluster of another major version is named as such."""
    (copy.data / "pgdata" / "PG_VERSION").write_text("16\n")
    expected = (
        f"PostgreSQL does not start: {copy.data}/pgdata was made by PostgreSQL 16; move it away"
    )
    assert refusal(copy) == expected


def test_a_setting_that_is_wrong(machine: Machine) -> None:
    """What the server says about its own failure is in the line, and the next start is clean."""
    with (machine.data / "pgdata" / "postgresql.auto.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    assert "no_such_setting" in refusal(machine)
    (machine.data / "pgdata" / "postgresql.auto.conf").write_text("")
    with machine.server():
        assert machine.postmaster()


def test_a_clock_that_was_ahead(machine: Machine) -> None:
    """What failed before the clock was set back is no reason not to try again."""
    with (machine.data / "pgdata" / "postgresql.auto.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    assert "no_such_setting" in refusal(machine)
    (machine.data / "pgdata" / "postgresql.auto.conf").write_text("")
    ahead = time.time() + 3600
    os.utime(machine.data / "holder.lock", (ahead, ahead))
    with machine.server():
        assert machine.postmaster()


def test_a_server_started_by_hand(machine: Machine) -> None:
    """A PostgreSQL that somebody runs on the cluster themselves is not disturbed."""
    with subprocess.Popen(["/bin/sleep", "60"], cwd=machine.data / "pgdata") as stranger:
        (machine.data / "pgdata" / "postmaster.pid").write_text(f"{stranger.pid}\n")
        with pytest.raises(EmbeddedError, match=rf"stop the PostgreSQL \(pid {stranger.pid}\)"):
            machine.server().start()
        stranger.kill()


def test_a_start_that_takes_too_long(machine: Machine) -> None:
    """A start is given up after its time limit."""
    with pytest.raises(EmbeddedError, match="PostgreSQL is not ready in time"):
        machine.server().start(timeout=0.01)


def outlast(machine: Machine, is_slow: Callable[[], bool], go_on: Callable[[], None]) -> None:
    """Whoever comes while the server's start `is_slow` waits beyond a time limit, and has it when
    it may `go_on`."""
    with ThreadPoolExecutor() as aside:
        first = aside.submit(machine.server().start)
        try:
            while not is_slow():
                time.sleep(0.01)
            assert not first.done()
            second = aside.submit(machine.server().start, timeout=0.05)
            time.sleep(0.3)
            assert not second.done()
        finally:
            go_on()
        first.result()
    assert machine.postmaster()


def test_a_log_that_is_long_to_replay(copy: Machine) -> None:
    """A server that replays its log after a crash is waited for: who gives up ends it where nobody
    else uses it, and the next one would begin anew, and give up as well."""
    (copy.data / "pgdata" / "recovery.signal").touch()
    go_on = copy.data / "pgdata" / "go_on"
    with (copy.data / "pgdata" / "postgresql.auto.conf").open("a") as file:
        file.write(f"restore_command = 'while [ ! -e {go_on} ]; do sleep 0.1; done; false'\n")
    outlast(copy, lambda: probe(Layout(copy.data).socket) == NOT_YET, go_on.touch)


def test_a_cluster_that_is_long_to_make(new: Machine) -> None:
    """So is the making of the first cluster, on a disk that takes its time."""
    making: list[int] = []

    def stop() -> bool:
        making.extend(pid for pid, words in new.processes().items() if "/bin/initdb" in words)
        for pid in making:
            os.kill(pid, signal.SIGSTOP)
        return bool(making)

    def go_on() -> None:
        for pid in making:
            os.kill(pid, signal.SIGCONT)

    outlast(new, stop, go_on)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "the disk is full: free some space under /data"),
        (errno.EACCES, "set GATEWAY_DATA to a folder of yours, or run as its owner"),
        (errno.ENOLCK, "set GATEWAY_DATA to a folder on a local disk"),
    ],
)
def test_what_system_errors_mean(number: int, advice: str) -> None:
    """Each kind of failed system call has its own advice."""
    said = why(OSError(number, os.strerror(number), "/data/x"), Layout(Path("/data")))
    assert advice in said


def test_what_a_full_disk_looks_like_in_the_log(new: Machine) -> None:
    """The server's own report of a full disk becomes the same advice."""
    layout = Layout(new.data)
    layout.make()
    layout.log.write_text("PANIC:  could not write to file: No space left on device\n")
    expected = f"no start: the disk is full, free some space under {new.data}"
    assert layout.last_words("no start") == expected


@pytest.mark.skipif(not Path("/proc").exists(), reason="there is no disk that is always full")
def test_a_disk_that_is_too_full_for_the_log(new: Machine) -> None:
    """Where the log could not be written any more, the disk itself tells that it is full."""
    layout, full = Layout(new.data), Layout(Path("/proc"))
    layout.make()
    layout.log.write_text("    raise Embed")
    full.log = layout.log
    expected = "no start: the disk is full, free some space under /proc"
    assert full.last_words("no start") == expected
    assert "the disk is full" not in layout.last_words("no start")


def test_a_long_log_is_put_aside(new: Machine) -> None:
    """The log does not grow without end: from 8 MiB on a new one is begun."""
    layout = Layout(new.data)
    layout.make()
    with layout.log.open("wb") as log:
        log.truncate(9 * 2**20)
    layout.open_log().close()
    assert layout.log.stat().st_size == 0
    assert layout.log.with_name("server.log.1").stat().st_size == 9 * 2**20
