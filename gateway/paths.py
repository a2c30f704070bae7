"""Where the files that come with the package are."""

from __future__ import annotations

from pathlib import Path


def sql_folder() -> Path:
    """The folder with `migrations/` and `queries/`: inside a wheel, or beside the package."""
    package = Path(__file__).resolve().parent
    in_wheel = package / "sql"
    return in_wheel if in_wheel.is_dir() else package.parent / "sql"
