"""`python -m benchmarks.history`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.history.building import history, server
from benchmarks.history.measuring import Asked, Measured, measure
from benchmarks.history.questions import questions
from gateway.store.database import Database

_AGAIN = 2
_GROWTH = 4 / 3
_NOISE = 0.5  # milliseconds: less than this does not count as growth
# As many are made before: from the sixth on, PostgreSQL may use one plan for all values.
_RUNS_OF_QUICK = 5


async def run(sizes: Sequence[int], runs: int, *, is_quick: bool) -> dict[int, list[Measured]]:
    """The results by size; each question is asked about all histories in turn."""
    results: dict[int, list[Measured]] = {size: [] for size in sizes}
    async with AsyncExitStack() as opened:
        server_dsn = await opened.enter_async_context(server())
        asked = []
        for size in sizes:
            began = time.monotonic()
            dsn = await opened.enter_async_context(history(server_dsn, size))
            say(f"{size:,} messages, built in {time.monotonic() - began:.0f} s")
            database = await Database.connect(dsn)
            opened.push_async_callback(database.close)
            asked.append(
                [Asked(database=database, dsn=dsn, question=q) for q in await questions(database)]
            )
        say(f"\n{'':47}{'messages':>10}{'p50 ms':>9}{'p99 ms':>9}{'rows read':>11}  through")
        for together in zip(*asked, strict=True):
            found = await _measured(together, runs, is_quick=is_quick)
            for size, each in zip(sizes, found, strict=True):
                results[size].append(each)
                say(line(size, each))
    return results


async def _measured(asked: Sequence[Asked], runs: int, *, is_quick: bool) -> list[Measured]:
    found = await measure(asked, runs)
    if is_quick:
        return found
    # Other programs may slow the machine down: only what is slow each time counts.
    for _ in range(_AGAIN):
        if any(one.wrong for one in compared(found)):
            found = [
                replace(one, p50=min(one.p50, again.p50), p99=min(one.p99, again.p99))
                for one, again in zip(found, await measure(asked, runs), strict=True)
            ]
    return compared(found)


def compared(found: Sequence[Measured]) -> list[Measured]:
    """The results with what is wrong with their times; the first is of the smallest history."""
    first, *larger = found
    return [judged(first, None), *(judged(one, first) for one in larger)]


def judged(found: Measured, before: Measured | None) -> Measured:
    """The result with what is wrong with its times, alone and compared with `before`."""
    wrong = list(found.wrong)
    if found.p99 > found.limit:
        wrong.append(f"p99 above {found.limit:.0f} ms")
    if before and found.p50 > max(before.p50 * _GROWTH, before.p50 + _NOISE):
        wrong.append(f"{found.p50 / before.p50:.2f} times the p50 of the smaller history")
    return replace(found, wrong=wrong)


def line(size: int, found: Measured) -> str:
    """One line of the table."""
    indexes = ", ".join(name.removeprefix("idx_") for name in found.indexes)
    verdict = "ok  " if not found.wrong else "FAIL"
    times = f"{found.p50:9.2f}{found.p99:9.2f}"
    text = f"{verdict} {found.name:42}{size:10,}{times}{found.rows:11,}  {indexes}"
    return "\n".join([text, *(f"     {wrong}" for wrong in found.wrong)])


def say(text: str) -> None:
    """Print without delay, also into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Measure, write the numbers; returns 0 if no limit is exceeded."""
    parser = argparse.ArgumentParser(prog="make bench-history")
    parser.add_argument("--quick", action="store_true", help="small, and only plans are judged")
    parser.add_argument("--sizes", help="comma-separated numbers of messages, smallest first")
    parser.add_argument("--json", type=Path, default=Path("bench-history.json"))
    options = parser.parse_args()
    sizes = [15_000, 20_000] if options.quick else [200_000, 2_000_000]
    if options.sizes:
        sizes = sorted(int(size) for size in options.sizes.split(","))
    runs = _RUNS_OF_QUICK if options.quick else 300
    results = asyncio.run(run(sizes, runs, is_quick=options.quick))
    options.json.write_text(
        json.dumps({size: [asdict(each) for each in found] for size, found in results.items()})
    )
    failed = [each for found in results.values() for each in found if each.wrong]
    say(f"\n{len(failed)} of {sum(map(len, results.values()))} fail" if failed else "\nall hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
