"""`python -m benchmarks.profile`: where the time goes, in the process and in PostgreSQL.

For each path: the functions of the process, sampled every millisecond, and the statements that took
PostgreSQL longest. A profiled process is slower: read shares, not rates.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from pyinstrument.frame import Frame
from pyinstrument.session import Session

from benchmarks.accept import batch_sends, single_sends
from benchmarks.alone import alone
from benchmarks.circle import circle
from benchmarks.dispatch import at_once
from benchmarks.postgres import SETTINGS, Server, migrated
from benchmarks.processes import ROOT
from benchmarks.receive import reports
from benchmarks.stage import Stage, make_stage

LINES = 30
STATEMENTS = (
    "shared_preload_libraries=pg_stat_statements",
    "pg_stat_statements.track_planning=on",
)
OURS = "~ "
PATHS: dict[str, tuple[tuple[str, ...], Callable[[Stage], object]]] = {
    "accept": (("web",), lambda stage: single_sends(stage, 5, 1)),
    "batch": (("web",), lambda stage: batch_sends(stage, 5, 1)),
    "twilio": (("web",), lambda stage: reports(stage, "twilio", 5, 1)),
    "sendgrid": (("web",), lambda stage: reports(stage, "sendgrid", 5, 1)),
    "meta": (("web",), lambda stage: reports(stage, "meta", 5, 1)),
    "dispatch": (("worker",), lambda stage: at_once(stage, 8_000)),
    "circle": (("web", "worker"), lambda stage: circle(stage, 10, 300)),
    "alone": (("web", "worker"), lambda stage: alone(stage, 10)),
}


def main() -> None:
    """Profile the chosen paths."""
    parser = argparse.ArgumentParser(prog="benchmarks.profile", description=__doc__)
    parser.add_argument("paths", nargs="*", metavar="PATH", help=f"of: {', '.join(PATHS)}")
    given = parser.parse_args()
    if unknown := [name for name in given.paths if name not in PATHS]:
        parser.error(f"no path {unknown[0]!r}; there are: {', '.join(PATHS)}")
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        migrated(Server(Path(folder) / "data", (*SETTINGS, *STATEMENTS))) as dsn,
    ):
        stage = make_stage(dsn, Path(folder), 20_000)
        stage.profiles = Path(folder)
        stage.postgres.db.execute("CREATE EXTENSION pg_stat_statements")
        try:
            for name in given.paths or PATHS:
                _profile(stage, name, Path(folder))
        finally:
            stage.postgres.close()


def _profile(stage: Stage, name: str, folder: Path) -> None:
    processes, do = PATHS[name]
    stage.postgres.db.execute("SELECT pg_stat_statements_reset()")
    do(stage)
    for process in processes:
        print(f"\n## {name}: {process}\n\nIn % of the time in which it did something:\n")
        root = Session.load(str(folder / process)).root_frame()
        if root is not None:
            _print_functions(_loop(root) or root)
    print(
        "\nPostgreSQL, all statements: calls, ms together (of which planning), ms each, and the"
        " beginning of each:\n"
    )
    for row in stage.postgres.db.execute(
        "SELECT calls, total_exec_time + total_plan_time, total_plan_time,"
        " (total_exec_time + total_plan_time) / greatest(calls, plans),"
        " left(regexp_replace(query, '\\s+', ' ', 'g'), 90) FROM pg_stat_statements"
        " WHERE query NOT LIKE 'COPY%' ORDER BY 2 DESC LIMIT 16"
    ):
        print("{:>8} {:>9.0f} {:>9.0f} {:>9.3f}  {}".format(*row))


def _print_functions(root: Frame) -> None:
    """Print all functions by their own time, and ours by their time including calls."""
    alone: dict[str, float] = defaultdict(float)
    with_calls: dict[str, float] = defaultdict(float)
    _count(root, alone, with_calls, frozenset())
    busy = sum(time for name, time in alone.items() if not _is_idle(name))
    print(f"  %   {'in itself':<60} |   %   ours, with all that it calls")
    left = _most(alone)
    right = [each for each in _most(with_calls) if each[0].startswith(OURS)]
    for (one, its), (other, others) in list(zip(left, right, strict=False))[:LINES]:
        shown = other.removeprefix(OURS)
        print(f"{100 * its / busy:5.1f} {one:<60.60} | {100 * others / busy:5.1f} {shown}")


def _loop(frame: Frame) -> Frame | None:
    """The frame in which the event loop runs; the frames above it are start-up."""
    if frame.function == "run_loop":
        return frame
    return next((found for child in frame.children if (found := _loop(child))), None)


def _most(times: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(
        ((name, time) for name, time in times.items() if not _is_idle(name)),
        key=lambda each: -each[1],
    )


def _count(
    frame: Frame, alone: dict[str, float], with_calls: dict[str, float], above: frozenset[str]
) -> None:
    name = _name(frame)
    alone[name] += frame.total_self_time
    if name not in above:
        with_calls[name] += frame.time
    for child in frame.children:
        if not child.is_synthetic:
            _count(child, alone, with_calls, above | {name})


def _name(frame: Frame) -> str:
    path = frame.file_path or ""
    if path.startswith(str(ROOT)) and ".venv" not in path:
        return f"{OURS}{Path(path).relative_to(ROOT)} {frame.function}"
    short = "/".join(Path(path).parts[-2:])
    return f"{short} {frame.function}"


def _is_idle(name: str) -> bool:
    """Whether the loop waits here (or reads and writes, which cannot be distinguished)."""
    return "run_until_complete" in name or name.endswith((" run", " run_loop"))


if __name__ == "__main__":
    main()
