"""`python -m benchmarks`: every path, its naive baseline and PostgreSQL's floor, in one run."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import FrameType

import orjson

from benchmarks.machine import Others, describe, said
from benchmarks.plot import soak
from benchmarks.postgres import database
from benchmarks.processes import NotMeasuredError
from benchmarks.result import goals, table
from benchmarks.run import PATHS, QUICK, Run, Size
from benchmarks.stage import make_stage


def main() -> int:
    """Measure the chosen paths; returns 0 if they could be measured, whatever the numbers are."""
    given = _parser().parse_args()
    # Background jobs of a shell start with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            measure(given, Path(folder))
    except NotMeasuredError as error:
        print(f"\nNot measured: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return 0


def measure(given: argparse.Namespace, folder: Path) -> None:
    """Measure, print the tables, write the files."""
    size = _size(given)
    with database(os.environ.get("DATABASE_URL") or None, folder) as dsn:
        stage = make_stage(dsn, folder, size.contacts)
        try:
            if not given.quick:
                stage.postgres.must_be_durable()
            about = describe(stage.postgres)
            others = Others(postgres=stage.postgres.pid)
            run = Run(
                stage=stage,
                size=size,
                with_naive=not given.no_naive,
                with_floor=not given.no_floor,
            )
            run.measure(["circle"] if given.soak else given.only)
            about["cores used by other programs meanwhile"] = others.share()
        finally:
            stage.postgres.close()
    print(f"\n{said(about)}\n\n{table(run.rows)}\n\n{goals(run.rows)}")
    if given.json:
        told = {"machine": about, "rows": [row.as_json() for row in run.rows]}
        given.json.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    if given.plot:
        for row in run.rows:
            if row.path == "circle":
                given.plot.write_text(soak(row.more), encoding="utf-8")
    if run.failures:
        raise NotMeasuredError("; ".join(run.failures))


def _size(given: argparse.Namespace) -> Size:
    size = QUICK if given.quick else Size()
    if given.rows is not None:
        size = replace(size, rows=given.rows)
    if given.rate is not None:
        size = replace(size, rate=given.rate)
    if given.soak is not None:
        size = replace(size, circle=given.soak)
    return size


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    add = parser.add_argument
    add("--only", type=_paths, default=list(PATHS), help=f"with commas, of: {', '.join(PATHS)}")
    add("--quick", action="store_true", help="tiny: shows that it runs, and no more")
    add("--soak", type=float, metavar="SECONDS", help="only the full circle, for so long")
    add("--rate", type=int, help="messages a second that the circle is asked for")
    add("--rows", type=int, help="how many rows `cost` fills the table with")
    add("--json", type=Path, metavar="FILE", help="write everything that was measured")
    add("--plot", type=Path, metavar="FILE", help="draw the circle as SVG")
    add("--no-naive", action="store_true", help="without the naive programs")
    add("--no-floor", action="store_true", help="without pgbench")
    return parser


def _paths(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in PATHS:
            raise argparse.ArgumentTypeError(f"no path {name!r}; there are: {', '.join(PATHS)}")
    return names


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
