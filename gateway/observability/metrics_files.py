"""Metrics in files that the processes of a machine share, written a few times a second.

prometheus-client writes a number whenever it grows: a lock, a check of the process id and a copy
into the file, five times for one webhook request. Here it first grows in memory.
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import struct
from collections.abc import Callable, Iterable
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from prometheus_client import mmap_dict, values
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.folders import make_file, own
from gateway.observability.logs import logger

_log = logger(__name__)

# Seconds between two writes.
_PAUSE = 0.1
# Bytes: the first size of a file, and the space of a number besides its name.
_FIRST, _BESIDE = 2**16, 64
# The library's errors for a file that is not its own, was truncated, or may not be read.
_UNREADABLE = (OSError, ValueError, RuntimeError, LookupError, TypeError, struct.error)


class Buffer:
    """Numbers that are not in the files yet; only for the event loop's thread."""

    def __init__(self) -> None:
        self._waiting: dict[Any, float] = {}
        self._due_on: asyncio.AbstractEventLoop | None = None

    def add(self, value: Any, amount: float) -> None:  # noqa: ANN401 - a class of the library's
        """Write it later with the others; at once if no event loop runs."""
        self._waiting[value] = self._waiting.get(value, 0.0) + amount
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.write()
            return
        if self._due_on is not loop:  # an event loop that has ended calls nothing
            loop.call_later(_PAUSE, self.write)
            self._due_on = loop

    def write(self) -> None:
        """Write all that waits."""
        self._due_on = None
        waiting, self._waiting = self._waiting, {}
        for value, amount in waiting.items():
            value.write(amount)


class ReservedFile(mmap_dict.MmapedDict):
    """The library's file of numbers, with space on the disk allocated before it is written to.

    On a full disk the kernel kills a process that writes to a mapped page without space (SIGBUS).
    If none can be allocated, the numbers stay in memory, and are missing in `/metrics`.
    """

    # The library's attributes: a file, and a memory map or, without a file, memory.
    _f: Any
    _m: Any

    def __init__(self, filename: str) -> None:
        with Path(filename).open("ab") as file:
            own(Path(filename), Path(filename).parent)
            has_place = _reserve(file.fileno(), _FIRST)
        if has_place:
            super().__init__(filename)  # type: ignore[no-untyped-call]
            return
        Path(filename).unlink()  # it has no numbers
        self._f, self._fname, self._positions, self._used = None, filename, {}, 8
        self._use_memory(struct.pack("i", self._used))

    def _init_value(self, key: str) -> None:
        while self._used + len(key.encode()) + _BESIDE > self._capacity:
            if self._f is None or not _reserve(self._f.fileno(), 2 * self._capacity):
                self._use_memory(bytes(self._m))
                continue
            self._capacity *= 2
            self._m = mmap.mmap(self._f.fileno(), self._capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _use_memory(self, held: bytes) -> None:
        """Go on in memory with these bytes and as much space again."""
        _log.warning("numbers are not shared: there is no room for them on the disk")
        self.close()  # type: ignore[no-untyped-call]
        self._m = bytearray(held) + bytearray(max(len(held), _FIRST))
        self._capacity = len(self._m)


def _reserve(number: int, size: int) -> bool:
    """Allocate space for a file, and return whether there was enough; not every system can."""
    if not hasattr(os, "posix_fallocate"):
        return True
    try:
        os.posix_fallocate(number, 0, max(size, os.fstat(number).st_size))
    except OSError:
        return False
    return True


def places(folder: Path) -> Callable[[], str]:
    """Names the files of a process by a place, which it keeps while it runs.

    Not by pid, as the library does: two containers that share the folder may both have pid 1. A new
    process takes the place of one that has ended, and goes on with its numbers. Otherwise its files
    would stay for ever: removing them would lower a sum, which Prometheus takes for a restart.
    """

    @cache
    def place() -> str:
        for number in count(1):
            path = folder / f"place{number}.lock"
            make_file(path)
            descriptor = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            break
        return f"place{number}"

    os.register_at_fork(after_in_child=place.cache_clear)
    return place


class Sum(MultiProcessCollector):
    """The sums of all processes, without files that cannot be read."""

    def collect(self) -> Iterable[Metric]:
        """One metric for all with the same name."""
        files = sorted(Path(self._path).glob("*.db"))
        try:
            return self._sum(files)
        except _UNREADABLE:
            return self._sum([file for file in files if self._can_be_read(file)])

    def _sum(self, files: list[Path]) -> Iterable[Metric]:
        return self.merge([str(file) for file in files])  # type: ignore[no-untyped-call,no-any-return]

    def _can_be_read(self, file: Path) -> bool:
        try:
            self._sum([file])
        except _UNREADABLE as error:
            _log.warning("numbers cannot be read", file=str(file), error=str(error))
            return False
        return True


def use_files(buffer: Buffer, folder: Path) -> None:
    """Let the library keep numbers in files of a folder from now on, through `buffer`.

    When it was imported, it chose memory, because the folder was not known yet.
    """
    in_file: Any = values.MultiProcessValue(places(folder))  # type: ignore[no-untyped-call]

    class Value(in_file):  # type: ignore[misc]
        """A number in a file."""

        def inc(self, amount: float) -> None:
            buffer.add(self, amount)

        def write(self, amount: float) -> None:
            super().inc(amount)

    library: Any = values
    library.ValueClass, library.MmapedDict = Value, ReservedFile
