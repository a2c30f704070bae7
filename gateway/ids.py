"""Identifiers: ours grow with time, so that indexes are written at their right edge."""

from __future__ import annotations

import hashlib
import os
import time
from uuid import UUID


def new_id() -> UUID:
    """A UUID version 7 (RFC 9562): 48 bits of milliseconds, 74 random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return UUID(int=value)


def derived_id(*parts: object) -> UUID:
    """The same UUID (version 8) for the same parts: makes a primary key the deduplication."""
    return UUID(bytes=derived_bytes("\x1f".join(map(str, parts))))


def derived_bytes(text: str) -> bytes:
    """The bytes of `derived_id(text)`."""
    value = bytearray(hashlib.sha256(text.encode()).digest()[:16])
    value[6] = value[6] & 0x0F | 0x80
    value[8] = value[8] & 0x3F | 0x80
    return bytes(value)
