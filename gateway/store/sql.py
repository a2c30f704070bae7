"""Named blocks of SQL: `sql/queries/<subject>.sql`, each opened by `-- name: <block>`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.store.values import Row

if TYPE_CHECKING:
    from gateway.store.database import Connection

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def sql_folder() -> Path:
    """The folder with `migrations/` and `queries/`: inside a wheel, or beside the package."""
    package = Path(__file__).resolve().parent.parent
    in_wheel = package / "sql"
    return in_wheel if in_wheel.is_dir() else package.parent / "sql"


@cache
def queries(subject: str) -> dict[str, str]:
    """The blocks of one subject by name."""
    text = (sql_folder() / "queries" / f"{subject}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)
    return {name: block.strip() for name, block in zip(parts[1::2], parts[2::2], strict=True)}


def subjects() -> list[str]:
    """Every subject that has a file, for the test that prepares each block."""
    return sorted(path.stem for path in (sql_folder() / "queries").glob("*.sql"))


async def fetch_row(db: Connection, statement: str, *values: object) -> Row | None:
    """The row that a statement returns, or None."""
    row = await db.fetchrow(statement, *values)
    return dict(row) if row else None


async def fetch_rows(db: Connection, statement: str, *values: object) -> list[Row]:
    """All rows that a statement returns."""
    return [dict(row) for row in await db.fetch(statement, *values)]
