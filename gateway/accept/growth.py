"""Growth: a new table is analysed as soon as it has grown, without waiting for autovacuum."""

from __future__ import annotations

import asyncio

from gateway.observability.logs import logger
from gateway.store import upkeep
from gateway.store.database import Database
from gateway.store.errors import DatabaseAwayError

_log = logger(__name__)

# Rows that this process stores before it first looks; then each time ten times as many.
_FIRST = 2000
_TIMES = 10


class Growth:
    """Counts the rows that a process stores, and has new tables analysed now and then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = 0
        self._next = _FIRST
        self._looking: asyncio.Task[None] | None = None

    def __call__(self, rows: int) -> None:
        """So many more rows are stored."""
        self._rows += rows
        if self._rows >= self._next:
            self._next = self._rows * _TIMES
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        try:
            async with self._database.as_service() as db:
                analysed = await upkeep.analyse_new_tables(db)
        except DatabaseAwayError as error:
            # Autovacuum does the same within a minute or so.
            _log.warning("new tables were not analysed", error=str(error))
        except Exception:  # noqa: BLE001 - nobody waits for this task
            _log.exception("new tables cannot be analysed")
        else:
            if analysed:
                _log.info("new tables were analysed", tables=analysed)
