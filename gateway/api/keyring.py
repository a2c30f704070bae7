"""Looks up API keys, for concurrent requests together, and caches them for some seconds.

Keys are cached only while this process hears of every change: a revoked key works until its
notification has come, some milliseconds later.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence

from gateway.batching import Batching
from gateway.manage.keys import PREFIX, digest_of
from gateway.store import accounts
from gateway.store.database import ApiKey, Database
from gateway.store.listener import Listener
from gateway.store.values import Row

# Seconds for which a key is cached, and for which a revoked one works if its notification is lost
# because the listening connection broke silently.
_KEPT = 5.0
_MOST = 10_000


class Keyring:
    """Finds API keys."""

    def __init__(self, database: Database, listener: Listener) -> None:
        self._database = database
        self._listener = listener
        self._by_prefix = Batching(self._look_up)
        self._kept: dict[bytes, tuple[ApiKey, float]] = {}
        self._changes = 0
        listener.on("gateway_keys", lambda _: self.forget(), self.forget)

    def forget(self) -> None:
        """Empty the cache: a key was changed, or may have been."""
        self._changes += 1
        self._kept.clear()

    async def find(self, key: str) -> ApiKey | None:
        """The key with this text, unless it is revoked; None if there is none."""
        digest, now = digest_of(key), time.monotonic()
        found, until = self._kept.get(digest, (None, 0.0))
        if now < until:
            return found
        hears, changes = self._listener.hears, self._changes
        rows = await self._by_prefix(key[:PREFIX])
        same = (row for row in rows if hmac.compare_digest(row["hash"], digest))
        found = next(map(_api_key, same), None)
        # Not cached if a key has changed since, or a notification may have been missed: the row may
        # be old.
        if found and hears and changes == self._changes:
            if len(self._kept) >= _MOST:
                self._kept.clear()
            self._kept[digest] = (found, now + _KEPT)
        return found

    async def _look_up(self, prefixes: Sequence[str]) -> list[list[Row]]:
        """The keys with each of these prefixes, read for all concurrent requests at once."""
        async with self._database.as_service() as db:
            found = await accounts.api_keys_by_prefix(db, list(dict.fromkeys(prefixes)))
        return [[row for row in found if row["prefix"] == prefix] for prefix in prefixes]


def _api_key(row: Row) -> ApiKey:
    return ApiKey(id=row["id"], organization_id=row["organization_id"], is_test=row["is_test"])
