"""The one local command: what it asks of coverage, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.coverage_gate import COMPLETE, shortfalls

_FILES = ("webhooks/model.py", "gateway/web/hooks.py", "gateway/api/auth.py")


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
