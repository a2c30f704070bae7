"""Locks that somebody waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncpg

    from gateway.store.database import Connection


async def until_somebody_waits(holding: Connection | asyncpg.Connection[asyncpg.Record]) -> None:
    """Return when another transaction waits for a lock of this one."""
    async with asyncio.timeout(10):
        blocked = None
        while blocked is None:
            await asyncio.sleep(0.01)
            blocked = await holding.fetchval(
                """SELECT pid FROM pg_locks
                WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)) LIMIT 1"""
            )
