"""Named blocks of SQL: `sql/queries/<subject>.sql`, each opened by `-- name: <block>`."""

from __future__ import annotations

import re
from functools import cache

from gateway.paths import sql_folder

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def queries(subject: str) -> dict[str, str]:
    """The blocks of one subject by name."""
    text = (sql_folder() / "queries" / f"{subject}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)
    return {name: block.strip() for name, block in zip(parts[1::2], parts[2::2], strict=True)}


def subjects() -> list[str]:
    """Every subject that has a file, for the test that prepares each block."""
    return sorted(path.stem for path in (sql_folder() / "queries").glob("*.sql"))
