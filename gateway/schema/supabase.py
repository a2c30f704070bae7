"""The migrations as files for the Supabase CLI, which applies them itself."""

from __future__ import annotations

from pathlib import Path

from gateway.schema.dbmate import TABLE
from gateway.schema.migrate import files, version_of

_UP, _DOWN = "-- migrate:up", "-- migrate:down"


def export_supabase(target: Path) -> list[Path]:
    """Write the up halves into `target` for the Supabase CLI; returns the files.

    The CLI takes `^([0-9]+)_(.*)\\.sql$` in one flat folder and runs whole files, so there must be
    no down half. Each file records its version in dbmate's table, so that `/readyz` and
    `gateway migrate` know it (https://supabase.com/docs/guides/deployment/database-migrations).
    """
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for path in files():
        note = f"INSERT INTO {TABLE} VALUES ('{version_of(path)}') ON CONFLICT DO NOTHING;"  # noqa: S608
        exported = target / path.name
        exported.write_text(f"{_up_half(path)}\n\n{note}\n", encoding="utf-8")
        written.append(exported)
    return written


def _up_half(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    middle = lines.index(_DOWN)
    return "\n".join(line for line in lines[:middle] if line != _UP).strip()
