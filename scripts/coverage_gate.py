"""Which code the tests must cover, checked with coverage's JSON report."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

IN_ALL = 90.0
# Code that decides whom we trust and what a provider's reports mean must be covered completely:
# every line, and both ways of every branch.
COMPLETE = (
    "webhooks/*.py",
    "gateway/web/hooks.py",
    "gateway/api/auth.py",
    "gateway/api/keyring.py",
)


def shortfalls(report: Mapping[str, Any]) -> list[str]:
    """One line for each gap in the required coverage; none if there is no gap."""
    found = []
    in_all = float(report["totals"]["percent_covered"])
    if in_all < IN_ALL:
        found.append(f"{in_all:.1f} % of lines and branches are covered, {IN_ALL:.0f} are wanted")
    for pattern in COMPLETE:
        files = {name: file for name, file in report["files"].items() if fnmatch(name, pattern)}
        if not files:
            found.append(f"{pattern}: no such file was measured")
        for name, file in sorted(files.items()):
            found += _gaps(name, file)
    return found


def _gaps(name: str, file: Mapping[str, Any]) -> list[str]:
    lines = [str(line) for line in file["missing_lines"]]
    branches = [
        f"{start} -> {'exit' if end < 0 else end}" for start, end in file["missing_branches"]
    ]
    gaps = []
    if lines:
        gaps.append(f"{name}: these lines are not run by any test: {', '.join(lines)}")
    if branches:
        gaps.append(f"{name}: these branches are not taken by any test: {', '.join(branches)}")
    return gaps
