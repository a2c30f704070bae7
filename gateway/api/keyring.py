"""API keys by their text, those of concurrent requests looked up together, and kept for seconds.

Keys are kept only while this process hears of every change: one that is revoked works until the
notification of that has come, some milliseconds later.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Sequence
from uuid import UUID

from gateway.batching import Batching
from gateway.ids import new_id
from gateway.store import accounts
from gateway.store.database import ApiKey, Connection, Database
from gateway.store.listener import Listener
from gateway.store.values import Row

_PREFIX_LENGTH = 16
# Seconds for which a key is kept: so long a revoked one works if its notification is lost, because
# the connection that listens has broken without a word.
_KEPT = 5.0
_MOST = 10_000


async def new_key(
    db: Connection, organization_id: UUID, name: str, *, is_test: bool
) -> tuple[UUID, str]:
    """The id of a new key and the key: 32 random bytes behind `gw_live_`, `gw_test_`.

    It is stored as its look-up prefix and its digest, so nobody can be shown it again.
    """
    random = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
    key = f"gw_{'test' if is_test else 'live'}_{random}"
    key_id, prefix = new_id(), key[:_PREFIX_LENGTH]
    await accounts.insert_api_key(
        db, key_id, organization_id, name, prefix, _digest(key), is_test=is_test
    )
    return key_id, key


def _digest(key: str) -> bytes:
    # The key has 256 random bits: a fast hash cannot be reversed by guessing.
    return hashlib.sha256(key.encode()).digest()


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
        """Keep none: one was changed, or may have been."""
        self._changes += 1
        self._kept.clear()

    async def find(self, key: str) -> ApiKey | None:
        """The key with this text, unless it is revoked; None if there is none."""
        digest, now = _digest(key), time.monotonic()
        found, until = self._kept.get(digest, (None, 0.0))
        if now < until:
            return found
        hears, changes = self._listener.hears, self._changes
        rows = await self._by_prefix(key[:_PREFIX_LENGTH])
        same = (row for row in rows if hmac.compare_digest(row["hash"], digest))
        found = next(map(_api_key, same), None)
        # Not if a key has changed since, or a change may be unheard: this may be the former state.
        if found and hears and changes == self._changes:
            if len(self._kept) >= _MOST:
                self._kept.clear()
            self._kept[digest] = (found, now + _KEPT)
        return found

    async def _look_up(self, prefixes: Sequence[str]) -> list[list[Row]]:
        """The keys with each of these prefixes, for all concurrent requests at once."""
        async with self._database.as_service() as db:
            found = await accounts.api_keys_by_prefix(db, list(dict.fromkeys(prefixes)))
        return [[row for row in found if row["prefix"] == prefix] for prefix in prefixes]


def _api_key(row: Row) -> ApiKey:
    return ApiKey(id=row["id"], organization_id=row["organization_id"], is_test=row["is_test"])
