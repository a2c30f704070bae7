"""The map in docs/architecture.md is whole."""

from __future__ import annotations

import re
from pathlib import Path


def test_the_map_names_every_folder_and_file(pages: dict[str, str], root: Path) -> None:
    """Whatever lies directly in gateway/ and in channels/ has its place in it, and nothing else."""
    (text,) = re.findall(
        r"^```text\n(gateway/\n.*?)```$", pages["docs/architecture.md"], re.MULTILINE | re.DOTALL
    )
    named: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.startswith(" "):
            package = line
        elif not line.startswith("    "):
            # Two spaces part a name from the next, three from what is said of it.
            named.setdefault(package, []).extend(line.split("   ")[0].split())
    there = {
        package: [
            *(path.parent.name + "/" for path in (root / package).glob("*/__init__.py")),
            *(path.name for path in (root / package).glob("[!_]*.py")),
        ]
        for package in ("gateway/", "channels/")
    }
    assert {package: sorted(names) for package, names in there.items()} == {
        package: sorted(names) for package, names in named.items()
    }
