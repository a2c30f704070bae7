"""benchmarks/history: small, every question finds what is there, by the plans that it needs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from benchmarks.history.__main__ import judged
from benchmarks.history.measuring import Measured

ROOT = Path(__file__).resolve().parents[2]


async def test_quick(server_dsn: str, tmp_path: Path) -> None:
    """A small history passes with all its plans, and the numbers are written."""
    written = tmp_path / "numbers.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.history", "--quick", "--json", str(written)),
        cwd=ROOT,
        env=_environment() | {"DATABASE_URL": server_dsn},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()

    assert 0 == process.returncode, out.decode()
    assert "all hold" in out.decode()
    numbers = json.loads(written.read_text())
    assert ["15000", "20000"] == list(numbers)
    assert numbers["15000"]
    assert [each["name"] for each in numbers["15000"]] == [
        each["name"] for each in numbers["20000"]
    ]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def measured(p50: float, p99: float) -> Measured:
    """A page that may take 20 ms."""
    return Measured(name="page", limit=20, p50=p50, p99=p99, rows=50, indexes=[])


def test_what_is_held_against_a_time() -> None:
    """Too slow at the 99th percentile, or a third dearer than in the smaller history: it fails;
    half a millisecond is noise."""
    assert [] == judged(measured(4, 19), None).wrong
    assert ["p99 above 20 ms"] == judged(measured(4, 21), None).wrong
    assert [] == judged(measured(5, 19), measured(4, 19)).wrong
    assert [] == judged(measured(0.9, 19), measured(0.5, 19)).wrong
    grown = judged(measured(6, 19), measured(4, 19))
    assert ["1.50 times the p50 of the smaller history"] == grown.wrong
