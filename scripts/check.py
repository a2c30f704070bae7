"""Everything that must hold before a change goes in, in one command.

    .venv/bin/python scripts/check.py              all steps; ends at the first one that fails
    .venv/bin/python scripts/check.py lint types   only these

CONTRIBUTING.md says what the steps do and need.
"""

# ruff: noqa: S603, S606, T201 - it starts programs and says what it does

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
ROOM = 4 * 2**30  # bytes: surely enough for the tests' databases
# Two more than there are processors, because some tests only wait.
JOBS = (os.cpu_count() or 1) + 2
PATIENCE = 30.0  # seconds for the tests to tidy up after an interrupt

sys.path.insert(0, str(ROOT))


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run of the steps: how many tests run side by side, and its folders.

    `kept` is for coverage, so that two runs in one checkout do not mix theirs; `quick` is for the
    tests' databases.
    """

    jobs: int
    kept: Path
    quick: str


class StepFailedError(Exception):
    """A step did not pass; the text says which command, or what is missing."""


class Terminated(KeyboardInterrupt):
    """Ended by SIGTERM, which must be passed on to the running command."""


def format_(_: Run) -> None:
    """Every file is as the formatter writes it."""
    _do("ruff", "format", "--check", ".")


def lint(_: Run) -> None:
    """No finding of the linter."""
    _do("ruff", "check", ".")


def types(_: Run) -> None:
    """mypy --strict (pyproject.toml says so), the scripts too."""
    _do("mypy")
    _do("mypy", "scripts")


def imports(_: Run) -> None:
    """gateway → webhooks → channels, and never back."""
    _call([str(Path(sys.executable).with_name("lint-imports"))], {})


def tests(run: Run) -> None:
    """All tests, on the embedded PostgreSQL, with coverage."""
    report = f"--cov-report=json:{run.kept / 'coverage.json'}"
    environment = {
        "DATABASE_URL": "",
        "COVERAGE_FILE": str(run.kept / "coverage"),
        "TMPDIR": run.quick,
    }
    _do(*_pytest(run), "--cov", report, **environment)


def coverage(run: Run) -> None:
    """Enough of the code was run through by the tests, and all of what must be."""
    from scripts.coverage_gate import shortfalls  # noqa: PLC0415 - needs the path

    measured = run.kept / "coverage.json"
    if not measured.exists():
        raise StepFailedError("nothing was measured: run the step 'tests' with it")
    report = json.loads(measured.read_text(encoding="utf-8"))
    # Not coverage's own table, which would need a second analysis of every file.
    for name, file in sorted(report["files"].items()):
        if file["missing_lines"] or file["missing_branches"]:
            print(f"{file['summary']['percent_covered']:5.1f} %  {name}")
    print(f"{report['totals']['percent_covered']:.1f} % of lines and branches are covered")
    found = shortfalls(report)
    if found:
        raise StepFailedError("\n  ".join(["", *found]))


def postgres(run: Run) -> None:
    """The tests that may end otherwise on another PostgreSQL (`only_database.py` has the rule)."""
    from scripts.only_database import FIRST_CASES, WHOLE  # noqa: PLC0415 - the same
    from scripts.temporary_postgres import temporary_postgres  # noqa: PLC0415 - the same

    words = (*_pytest(run), "-p", "scripts.only_database", *WHOLE, *FIRST_CASES)
    if url := os.environ.get("DATABASE_URL"):
        print("on the server of DATABASE_URL")
        _do(*words, DATABASE_URL=url, TMPDIR=run.quick)
    elif (POSTGRES_15 / "postgres").exists():
        print(f"on a temporary cluster of {POSTGRES_15}")
        with temporary_postgres(POSTGRES_15, run.quick) as url:
            _do(*words, DATABASE_URL=url, TMPDIR=run.quick)
    else:
        print(f"skipped: there is neither DATABASE_URL nor {POSTGRES_15} (package postgresql-15)")


STEPS: dict[str, Callable[[Run], None]] = {
    "format": format_,
    "lint": lint,
    "types": types,
    "imports": imports,
    "tests": tests,
    "coverage": coverage,
    "postgres": postgres,
}


def main() -> int:
    """Run the steps that are asked for; 1 when one of them fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of: {', '.join(STEPS)}")
    parser.add_argument(
        "--jobs", type=int, default=JOBS, help=f"tests side by side (default: {JOBS})"
    )
    given = parser.parse_args()
    unknown = [name for name in given.steps if name not in STEPS]
    if unknown:
        parser.error(f"there is no step {unknown[0]!r}; there are: {', '.join(STEPS)}")
    _need_tools()
    signal.signal(signal.SIGTERM, _terminate)
    # Background jobs of a shell start with SIGINT ignored, which the tests would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chosen = [name for name in STEPS if not given.steps or name in given.steps]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="check-") as kept, _compiling_tests(chosen):
        run = Run(jobs=given.jobs, kept=Path(kept), quick=_quick_folder())
        for number, name in enumerate(chosen, start=1):
            step_begun = time.monotonic()
            print(f"\n── {number}/{len(chosen)} {name}: {STEPS[name].__doc__}", flush=True)
            try:
                STEPS[name](run)
            except (StepFailedError, RuntimeError) as error:
                print(f"\nFailed in step {number} of {len(chosen)}, {name}: {error}", flush=True)
                return 1
            except KeyboardInterrupt:
                print(f"\nStopped in step {number} of {len(chosen)}, {name}.", flush=True)
                return 130
            print(f"   {name} passed in {time.monotonic() - step_begun:.1f} s", flush=True)
    print(f"\nAll {len(chosen)} steps passed in {time.monotonic() - begun:.0f} s.")
    return 0


def _pytest(run: Run) -> tuple[str, ...]:
    # Idle workers take over tests of others: tests take from milliseconds to a minute.
    side_by_side = ("-n", str(run.jobs), "--dist", "worksteal")
    return "pytest", "-q", *side_by_side, f"--basetemp={run.kept / 'pytest'}"


@contextmanager
def _compiling_tests(steps: Sequence[str]) -> Iterator[None]:
    """Compile the tests during the steps before them, on a processor that these leave free.

    If nothing is compiled yet, as in CI, each of the test workers would compile all tests.
    """
    if "tests" not in steps[1:]:
        yield
        return
    words = [sys.executable, "-m", "pytest", "--collect-only", "-q"]
    quiet = subprocess.DEVNULL  # errors will be reported when the tests run
    with subprocess.Popen(
        words, cwd=ROOT, env=_environment(), stdin=quiet, stdout=quiet, stderr=quiet
    ) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)


def _quick_folder() -> str:
    """A folder in memory, where databases are made ten times as fast, or else the usual one."""
    memory = "/dev/shm"  # noqa: S108 - everything in it is made by mkdtemp
    usable = sys.platform == "linux" and os.access(memory, os.W_OK)
    if usable and "TMPDIR" not in os.environ:
        about = os.statvfs(memory)
        if about.f_bavail * about.f_frsize >= ROOM and not about.f_flag & os.ST_NOEXEC:
            return memory
    return tempfile.gettempdir()


def _need_tools() -> None:
    """If this Python lacks the tools, start again in the checkout's environment, or explain."""
    if all(importlib.util.find_spec(name) for name in ("ruff", "mypy", "pytest", "gateway")):
        return
    own = ROOT / ".venv" / "bin" / "python"
    if own.exists() and Path(sys.executable) != own:
        os.execv(own, [str(own), *sys.argv])
    sys.exit(
        "The tools are missing; first:\n"
        "  python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e '.[dev]'"
    )


def _do(module: str, *words: str, **environment: str) -> None:
    _call([sys.executable, "-m", module, *words], environment)


def _environment(**changes: str) -> dict[str, str]:
    """The environment of a command; an empty value removes a variable.

    Compiled modules are kept, whatever a container's image says: otherwise each of hundreds of
    processes would compile them again, which takes as long as most of them run.
    """
    changed = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **changes}
    return {name: value for name, value in changed.items() if value}


def _call(words: list[str], environment: dict[str, str]) -> None:
    """Run a command that shows its own output."""
    with subprocess.Popen(
        words, cwd=ROOT, env=_environment(**environment), stdin=subprocess.DEVNULL
    ) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt as stop:
            if isinstance(stop, Terminated):  # Ctrl-C has reached it as well
                process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    if code:
        shown = " ".join(["python", *words[1:]] if words[0] == sys.executable else words)
        raise StepFailedError(f"'{shown}' ended with {code}")


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


if __name__ == "__main__":
    sys.exit(main())
