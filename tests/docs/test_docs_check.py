"""The one local command: what it asks of coverage, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.coverage_gate import COMPLETE, shortfalls
from scripts.only_database import FIRST_CASES, WHOLE, kept

_FILES = (
    "webhooks/model.py",
    "gateway/web/hooks.py",
    "gateway/api/auth.py",
    "gateway/api/keyring.py",
)


def _report(percent: float, **gaps: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {"missing_lines": [], "missing_branches": []}
    files = dict.fromkeys(_FILES, whole)
    return {
        "totals": {"percent_covered": percent},
        "files": files | {"gateway/web/hooks.py": whole | gaps},
    }


def test_enough_coverage_has_no_shortfall() -> None:
    """90 % in all, and all of what must be."""
    assert [] == shortfalls(_report(90.0))


def test_every_shortfall_is_named() -> None:
    """Too little in all, a line, a branch."""
    found = shortfalls(_report(89.94, missing_lines=[7], missing_branches=[[8, -1], [9, 11]]))
    assert [
        "89.9 % of lines and branches are covered, 90 are wanted",
        "gateway/web/hooks.py: these lines are not run by any test: 7",
        "gateway/web/hooks.py: these branches are not taken by any test: 8 -> exit, 9 -> 11",
    ] == found


def test_a_file_that_was_not_measured_is_a_shortfall() -> None:
    """A file that was moved away does not slip through."""
    report = {"totals": {"percent_covered": 95.0}, "files": {}}
    assert [f"{pattern}: no such file was measured" for pattern in COMPLETE] == shortfalls(report)


def test_a_failing_step_ends_the_check_and_is_named(root: Path) -> None:
    """`coverage` without `tests` has nothing to read; `postgres` after it does not run."""
    done = subprocess.run(
        [sys.executable, "scripts/check.py", "coverage", "postgres"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Failed in step 1 of 2, coverage" in done.stdout
    assert "postgres:" not in done.stdout


def test_an_unknown_step_is_refused(root: Path) -> None:
    """A step that is mistyped is not taken for one that passed."""
    done = subprocess.run(
        [sys.executable, "scripts/check.py", "tests", "typo"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "there is no step 'typo'" in done.stderr


def test_what_runs_once_more_on_another_server(root: Path) -> None:
    """Of what is listed, and has a database, the first case of each test or all of them."""
    asked = {
        "tests/service/test_service_hooks.py::test_a[1]": True,
        "tests/service/test_service_hooks.py::test_a[2]": False,
        "tests/service/test_service_hooks.py::test_b": True,
        "tests/database/test_database_audit.py::test_a[1]": True,
        "tests/database/test_database_audit.py::test_a[2]": True,
        "tests/service/test_service_http.py::test_a": False,
    }
    items: Any = [SimpleNamespace(nodeid=name, fixturenames=["server_dsn"]) for name in asked]
    without: Any = SimpleNamespace(nodeid="tests/units/test_units_ids.py::test_a", fixturenames=[])

    assert [name for name, stays in asked.items() if stays] == [
        item.nodeid for item in kept([without, *items])
    ]
    assert [] == [name for name in (*WHOLE, *FIRST_CASES) if not (root / name).exists()]


@pytest.mark.no_cover
def test_what_is_not_measured_is_not_traced() -> None:
    """A test that coverage leaves out costs nothing for it, in a worker of xdist neither."""
    assert sys.gettrace() is None
