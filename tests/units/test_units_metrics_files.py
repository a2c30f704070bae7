"""Numbers grow in memory and reach their files soon, whichever loop runs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

from prometheus_client.mmap_dict import MmapedDict

from gateway.metrics_files import Buffer, ReservedFile

# A process for which no file may be larger than so many bytes: for it the disk is full.
FULL = """
import resource, sys
from gateway.metrics_files import ReservedFile
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
from gateway import config, metrics
folder = config.metrics_folder()
web, worker = metrics.of_process(folder), metrics.of_process(folder)
for each in (web, worker, web):
    each.received(Channel.SMS, "twilio")
print(worker.page([]).decode())
"""


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
