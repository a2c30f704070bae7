"""Measures how long something blocks the event loop, and the memory of all our processes."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TICK = 0.005  # seconds


def resident_mb(pid: int | str = "self") -> float:
    """The memory that a process has now, in MB; 0 if there is no such process."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    sizes = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
    return int(sizes[0]) / 1024 if sizes else 0.0


def children() -> list[int]:
    """The ids of the processes that this one has started."""
    pids: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # threads come and go
            pids += [int(pid) for pid in (task / "children").read_text().split()]
    return pids


@dataclass
class Cost:
    """The cost of something: all seconds, the event loop's longest stop, the growth in memory.

    Waiting for a busy machine does not count: the stop is the CPU time of our own thread between
    two ticks, and the rest of a tick's lateness is subtracted from the seconds.
    """

    seconds: float = 0.0
    longest_stop: float = 0.0
    grown_mb: float = 0.0


@asynccontextmanager
async def measured() -> AsyncIterator[Cost]:
    """Watch the event loop and the memory of this process and its children."""
    cost, ended = Cost(), asyncio.Event()
    before = {pid: resident_mb(pid) for pid in children()}
    own = resident_mb()

    async def tick() -> None:
        last, last_used = time.perf_counter(), time.thread_time()
        while not ended.is_set():
            await asyncio.sleep(TICK)
            now, used = time.perf_counter(), time.thread_time()
            cost.longest_stop = max(cost.longest_stop, used - last_used)
            cost.seconds -= max(0.0, now - last - TICK - (used - last_used))
            last, last_used = now, used
            # For a child that was started meanwhile, growth counts from the size of an idle one.
            sizes = [resident_mb(pid) - before.get(pid, 20.0) for pid in children()]
            grown = resident_mb() - own + max([0.0, *sizes])
            cost.grown_mb = max(cost.grown_mb, grown)

    ticker = asyncio.create_task(tick())
    start = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds += time.perf_counter() - start
        ended.set()
        await ticker
