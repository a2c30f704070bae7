"""What the worker does beside sending, and what `/readyz` asks."""

from __future__ import annotations

from gateway.store.database import Connection
from gateway.store.sql import queries

_SQL = queries("upkeep")

FORGET_AT_ONCE = 5000


async def fold_template_uses(db: Connection) -> int:
    """Add waiting uses to their templates; how many templates that changed."""
    return len(await db.fetch(_SQL["fold_template_uses"]))


async def forget_old(db: Connection) -> dict[str, int]:
    """Delete what is past its retention, at most `FORGET_AT_ONCE` of each kind; how many."""
    row = await db.fetchrow(_SQL["forget_old"], FORGET_AT_ONCE)
    return dict(row or {})


async def analyse_new_tables(db: Connection) -> list[str]:
    """Have tables of a size that PostgreSQL knows nothing of analysed; which they were."""
    found: list[str] = await db.fetchval(_SQL["analyse_new_tables"])
    return found


async def migrations(db: Connection) -> list[str]:
    """Versions that have been applied, oldest first."""
    return [row["version"] for row in await db.fetch(_SQL["migrations"])]
