"""The database, for commands that work on it directly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config import Settings
    from gateway.store.database import Database


@asynccontextmanager
async def connected(*, needs_keys: bool = False) -> AsyncIterator[tuple[Settings, Database]]:
    """The completed settings, and a database with one connection."""
    from gateway.config import read_settings
    from gateway.runtime import database_of
    from gateway.store.database import Database

    async with database_of(read_settings(), needs_keys=needs_keys) as ready:
        database = await Database.connect(str(ready.database_url), size=1, pooled=ready.is_pooled)
        try:
            yield ready, database
        finally:
            await database.close()
