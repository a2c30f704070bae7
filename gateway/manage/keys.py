"""How API keys are made, and what is stored of them."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from uuid import UUID

from gateway.ids import new_id
from gateway.store import accounts
from gateway.store.database import Connection

# How many characters at the beginning of a key are stored, to look it up.
PREFIX = 16


@dataclass(frozen=True, slots=True)
class NewKey:
    """An API key, shown once."""

    id: UUID
    key: str


async def new_key(db: Connection, organization_id: UUID, name: str, *, is_test: bool) -> NewKey:
    """A new key: `gw_live_` or `gw_test_`, and 32 random bytes.

    Only its first characters and its digest are stored, so it can never be shown again.
    """
    random = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
    key = f"gw_{'test' if is_test else 'live'}_{random}"
    key_id = new_id()
    await accounts.insert_api_key(
        db, key_id, organization_id, name, key[:PREFIX], digest_of(key), is_test=is_test
    )
    return NewKey(key_id, key)


def digest_of(key: str) -> bytes:
    """The stored form of a key: its 256 random bits cannot be guessed, so a fast hash will do."""
    return hashlib.sha256(key.encode()).digest()
