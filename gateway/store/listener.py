"""The one connection of a web process that listens for notifications, for everything in it.

A notification only says where to look. If one is lost, that does little harm: its listeners also
look every few seconds, or keep nothing for longer than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.observability.logs import logger
from gateway.store.database import Database
from gateway.store.errors import DatabaseAwayError, NoSessionError
from gateway.store.listening import hear

_log = logger(__name__)

# Seconds until it connects again: at first, and at most.
_AGAIN, _MOST = 1.0, 8.0
# The same if a pooler is in between, which only an operator can change.
_LONG = 300.0


class Listener:
    """Hears notifications while `run` runs; `dsn` is a direct address of the database."""

    def __init__(self, database: Database, dsn: str) -> None:
        self._database = database
        self._dsn = dsn
        self._heard: dict[str, list[Callable[[str], None]]] = {}
        self._lost: list[Callable[[], None]] = []
        self._sure = asyncio.Event()

    @property
    def hears(self) -> bool:
        """Whether notifications arrive; that a connection broke silently shows after seconds."""
        return self._sure.is_set()

    def on(self, channel: str, heard: Callable[[str], None], lost: Callable[[], None]) -> None:
        """Call `heard` with each notification of a channel, and `lost` when some may be lost.

        To be called before `run`; a channel may have several listeners.
        """
        self._heard.setdefault(channel, []).append(heard)
        self._lost.append(lost)

    async def run(self) -> None:
        """Listen for ever."""
        pause, logged, is_pooled = _AGAIN, "", False
        while True:
            try:
                await hear(self._dsn, self._sure, self._heard, self._notify)
            except Exception as error:  # noqa: BLE001 - also a login that may not, a wrong certificate
                if self.hears:  # until now
                    pause, logged = _AGAIN, ""
                known = isinstance(error, DatabaseAwayError)
                reason = str(error) if known else type(error).__name__
                if reason != logged:
                    _log.warning("no connection hears of changes", error=reason)
                logged = reason
                # Only if it happens twice: a slow connection looks the same.
                was_pooled, is_pooled = is_pooled, isinstance(error, NoSessionError)
                pause = _LONG if was_pooled and is_pooled else pause
            finally:
                self._sure.clear()
                for lost in self._lost:
                    lost()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MOST)

    async def _notify(self, channel: str) -> None:
        await self._database.at_once(f"NOTIFY {channel}")
