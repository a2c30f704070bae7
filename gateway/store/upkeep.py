"""Housekeeping of the worker, and the migrations for `/readyz`."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from gateway.store.database import Connection
from gateway.store.sql import queries

_SQL = queries("upkeep")

FORGET_AT_ONCE = 5000


async def fold_template_uses(
    db: Connection, *, without: Sequence[UUID] = (), only: Sequence[UUID] | None = None
) -> None:
    """Add noted uses to their templates, except locked ones."""
    await db.execute(
        _SQL["fold_template_uses"], list(without), None if only is None else list(only)
    )


async def used_templates(db: Connection) -> list[UUID]:
    """The templates with noted uses, as many as are folded at once."""
    return [row["template_id"] for row in await db.fetch(_SQL["used_templates"])]


async def forget_old(db: Connection) -> dict[str, int]:
    """Delete rows past their retention, at most `FORGET_AT_ONCE` of each kind; returns how many."""
    row = await db.fetchrow(_SQL["forget_old"], FORGET_AT_ONCE)
    return dict(row or {})


async def analyse_new_tables(db: Connection) -> list[str]:
    """Analyse tables that have grown and have no statistics yet; returns their names."""
    found: list[str] = await db.fetchval(_SQL["analyse_new_tables"])
    return found


async def migrations(db: Connection) -> list[str]:
    """Versions that have been applied, oldest first."""
    return [row["version"] for row in await db.fetch(_SQL["migrations"])]
