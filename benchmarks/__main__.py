"""`python -m benchmarks`: every path, its naive baseline and PostgreSQL's floor, in one run."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from benchmarks.accept import accept, naive_accept
from benchmarks.dispatch import dispatch, naive_dispatch
from benchmarks.floor import accept_floor, dispatch_floor, receive_floor
from benchmarks.postgres import database
from benchmarks.processes import NotMeasuredError
from benchmarks.receive import naive_receive, receive
from benchmarks.result import Row, table
from benchmarks.stage import Stage, make_stage


@dataclass(frozen=True, kw_only=True)
class Size:
    """How long and how much."""

    seconds: float = 8
    naive: float = 4
    floor: int = 3
    messages: int = 15_000
    slow: int = 6_000


QUICK = Size(seconds=1, naive=0.5, floor=1, messages=300, slow=200)


@dataclass(kw_only=True)
class Run:
    """One run."""

    stage: Stage
    size: Size
    with_naive: bool
    with_floor: bool
    rows: list[Row] = field(default_factory=list)

    def accept(self) -> None:
        """Goal 1."""
        floor = accept_floor(self.stage, self.size.floor) if self.with_floor else {}
        naive = naive_accept(self.stage, self.size.naive) if self.with_naive else None
        self.baseline("accept", naive, floor)
        self.rows += accept(self.stage, self.size.seconds, naive, floor.get("many"))

    def dispatch(self) -> None:
        """Goal 2."""
        floor = dispatch_floor(self.stage, self.size.floor) if self.with_floor else {}
        naive = naive_dispatch(self.stage, self.size.naive) if self.with_naive else None
        self.baseline("dispatch", naive, floor)
        self.rows += dispatch(
            self.stage, self.size.messages, self.size.slow, naive, floor.get("many")
        )

    def receive(self) -> None:
        """Goal 3."""
        floor = receive_floor(self.stage, self.size.floor) if self.with_floor else {}
        naive = naive_receive(self.stage, self.size.naive) if self.with_naive else {}
        for provider, rate in naive.items():
            self.rows.append(Row(path="naive receive", what=provider, rate=rate))
        self.baseline("receive", None, floor)
        self.rows += receive(self.stage, self.size.seconds, naive, floor.get("many"))

    def baseline(self, path: str, naive: float | None, floor: dict[str, float]) -> None:
        """Rows of what the path is compared with."""
        for name, rate in floor.items():
            words = "one row" if name == "one" else "100 rows"
            what = f"{words} a statement"
            self.rows.append(Row(path=f"pgbench {path}", what=what, rate=rate))
        if naive is not None:
            self.rows.append(Row(path=f"naive {path}", what="FastAPI, SQLAlchemy", rate=naive))


PATHS: dict[str, Callable[[Run], None]] = {
    "accept": Run.accept,
    "dispatch": Run.dispatch,
    "receive": Run.receive,
}


def main() -> int:
    """Measure what is asked for; 0 when it could be measured."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny: only whether it runs")
    parser.add_argument("--only", help=f"of these, with commas: {', '.join(PATHS)}")
    parser.add_argument("--no-naive", action="store_true", help="without the naive programs")
    parser.add_argument("--no-floor", action="store_true", help="without pgbench")
    given = parser.parse_args()
    chosen = given.only.split(",") if given.only else list(PATHS)
    if unknown := [name for name in chosen if name not in PATHS]:
        parser.error(f"there is no path {unknown[0]!r}; there are: {', '.join(PATHS)}")
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            measure(chosen, given, Path(folder))
    except NotMeasuredError as error:
        print(f"\nNot measured: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return 0


def measure(chosen: list[str], given: argparse.Namespace, folder: Path) -> None:
    """Measure these paths and print the table."""
    with database(os.environ.get("DATABASE_URL"), folder) as dsn:
        run = Run(
            stage=make_stage(dsn, folder),
            size=QUICK if given.quick else Size(),
            with_naive=not given.no_naive,
            with_floor=not given.no_floor,
        )
        try:
            for name in chosen:
                begun = time.monotonic()
                print(f"{name} ...", end=" ", flush=True)
                PATHS[name](run)
                print(f"{time.monotonic() - begun:.0f} s", flush=True)
        finally:
            run.stage.postgres.close()
    print(table(run.rows))


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
