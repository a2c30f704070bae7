"""Numbers grow in memory and reach their files soon, whichever loop runs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict
from structlog.testing import capture_logs

from gateway.embedded.programs import works
from gateway.observability.metrics_files import Buffer, ReservedFile, Sum

# A process for which no file may be larger than so many bytes: for it the disk is full.
FULL = """
import resource, sys
from gateway.observability.metrics_files import ReservedFile
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
numbers = ReservedFile(sys.argv[1])
for n in range(2000):
    numbers.write_value(f"a number with a long name, {n}", float(n), 0.0)
assert [float(n) for n in range(2000)] == [value for _, value, _ in numbers.read_all_values()]
"""


# A process that is both web and a worker: both count.
BOTH = """
import os, sys
from pathlib import Path
from channels.model import Channel
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
from gateway import config
from gateway.observability import metrics
folder = config.metrics_folder()
web, worker = metrics.of_process(folder), metrics.of_process(folder)
for each in (web, worker, web):
    each.received(Channel.SMS, "twilio")
print(worker.page([]).decode())
"""


# A process that counts, tells what it sees of all, and lives until it is told to end.
ONE = """
import os, sys
from pathlib import Path
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
from gateway import config
from gateway.observability import metrics
counting = metrics.of_process(config.metrics_folder())
if sys.argv[2:] == ["fork"]:
    counting.event_sent("delivered")
    if os.fork():
        os.wait()
counting.event_sent("delivered")
print(os.getpid(), counting.page([]).decode().partition('outcome="delivered"} ')[2].split()[0])
sys.stdout.flush()
sys.stdin.read()
"""
ALONE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")


class Number:
    """A number in a file."""

    written = 0.0
    writes = 0

    def write(self, amount: float) -> None:
        """Let it grow."""
        self.written += amount
        self.writes += 1


def test_what_comes_together_is_written_once() -> None:
    """One write brings all that was counted within a tenth of a second."""
    buffer, number = Buffer(), Number()

    async def count() -> None:
        for _ in range(10):
            buffer.add(number, 1)
        assert number.writes == 0
        await asyncio.sleep(0.2)

    asyncio.run(count())
    assert (10, 1) == (number.written, number.writes)


def test_without_a_loop() -> None:
    """Where no loop runs nobody would come to write it: it is written at once."""
    buffer, number = Buffer(), Number()
    buffer.add(number, 2)
    assert (2, 1) == (number.written, number.writes)


def test_a_loop_that_ended() -> None:
    """What a loop left behind is written with what is counted on the next one."""
    buffer, first, second = Buffer(), Number(), Number()

    async def count(number: Number, seconds: float) -> None:
        buffer.add(number, 1)
        await asyncio.sleep(seconds)

    asyncio.run(count(first, 0))
    asyncio.run(count(second, 0.2))
    assert (1, 1) == (first.writes, second.writes)


def write(numbers: Any, count: int) -> None:
    """So many numbers, each its own place."""
    for n in range(count):
        numbers.write_value(f"a number with a long name, {n}", float(n), 0.0)


def read(path: Path) -> list[float]:
    """The numbers of a file, as another process reads them."""
    library: Any = MmapedDict
    return [value for _, value, _, _ in library.read_all_values_from_file(str(path))]


def test_numbers_have_their_place_on_the_disk(tmp_path: Path) -> None:
    """What is written to a page that a full disk has no place for ends the process: each page has
    its place from the beginning, also when the file grows."""
    path = tmp_path / "numbers.db"
    numbers: Any = ReservedFile(str(path))
    for count in (1, 3000):
        write(numbers, count)
        held = path.stat()
        assert held.st_size <= 512 * held.st_blocks
    assert [float(n) for n in range(3000)] == read(path)
    numbers.close()


def test_a_disk_without_room(tmp_path: Path) -> None:
    """Where there is no room the process counts on in memory, from the first number on or when its
    file would grow, and leaves no file that nobody can read."""
    for size in (0, 2**16):
        path = tmp_path / f"{size}.db"
        words = [sys.executable, "-c", FULL, str(path), str(size)]
        subprocess.run(words, check=True, timeout=30, capture_output=True)
        assert (size > 0) == path.exists()
    assert 0 < len(read(path)) < 2000


def test_web_and_worker_in_one_process(tmp_path: Path) -> None:
    """What both count is counted: neither overwrites the numbers of the other."""
    ran = subprocess.run(
        [sys.executable, "-c", BOTH, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert 'gateway_messages_received_total{channel="sms",provider="twilio"} 3.0' in ran.stdout


def start(folder: Path, *words: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A process that counts one."""
    return subprocess.Popen(
        [*before, sys.executable, "-c", ONE, str(folder), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> tuple[int, float]:
    """The pid that a process has in its own eyes, and the sum that it sees."""
    assert process.stdout is not None
    pid, seen = process.stdout.readline().split()
    return int(pid), float(seen)


def end(*processes: subprocess.Popen[str]) -> None:
    """Let processes end."""
    for process in processes:
        process.communicate(timeout=30)
        assert 0 == process.returncode


@pytest.mark.skipif(not works([*ALONE, "true"]), reason="no user namespaces here")
def test_two_containers(tmp_path: Path) -> None:
    """Processes of one pid, each in a container of its own, do not write into each other's file."""
    first = start(tmp_path, before=ALONE)
    seen = [told(first)]
    second = start(tmp_path, before=ALONE)
    seen.append(told(second))
    end(first, second)
    assert [(1, 1.0), (1, 2.0)] == seen
    assert 4 == len(list(tmp_path.glob("*.db")))


def test_the_place_of_one_that_ended(tmp_path: Path) -> None:
    """Whoever starts goes on where one that has ended left off: files do not pile up, and no sum
    falls; one that lives keeps its files."""
    stays = start(tmp_path)
    seen = [told(stays)[1]]
    for _ in range(3):
        passing = start(tmp_path)
        seen.append(told(passing)[1])
        end(passing)
    end(stays)
    assert [1.0, 2.0, 3.0, 4.0] == seen
    assert 4 == len(list(tmp_path.glob("*.db")))


def test_a_fork(tmp_path: Path) -> None:
    """A process that is forked has numbers of its own."""
    out, _ = start(tmp_path, "fork").communicate(timeout=30)
    assert ["2.0", "3.0"] == out.split()[1::2]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """What is spoilt, cut or not the library's is left out and told of; the rest is shown."""
    good = start(tmp_path)
    told(good)
    end(good)
    whole = next(tmp_path.glob("counter_*.db")).read_bytes()
    (tmp_path / "counter_empty.db").touch()
    (tmp_path / "counter_folder.db").mkdir()
    (tmp_path / "counter_cut.db").write_bytes(whole[:60])
    (tmp_path / "counter_spoilt.db").write_bytes(whole[:12] + b"\xff" * 40 + whole[52:])
    (tmp_path / "counter_words.db").write_bytes(whole.replace(b"{", b"["))
    (tmp_path / "counter.db").write_bytes(b"no numbers")
    registry = CollectorRegistry()
    Sum(registry, str(tmp_path))  # type: ignore[no-untyped-call]
    with capture_logs() as lines:
        page = generate_latest(registry).decode()
    assert 'gateway_deliveries_total{outcome="delivered"} 1.0' in page
    assert {("warning", "numbers cannot be read")} == {(x["log_level"], x["event"]) for x in lines}
    unread = {"", "_cut", "_empty", "_folder", "_spoilt", "_words"}
    assert {f"counter{name}.db" for name in unread} == {Path(x["file"]).name for x in lines}
