"""Identifiers: ours grow with time, so that indexes are written at their right edge."""

from __future__ import annotations

import hashlib
import os
import time
from uuid import UUID


def new_id() -> UUID:
    """A UUID version 7 (RFC 9562): 48 bits of milliseconds, 12 of their fractions, 62 random bits.

    What is made later is greater, also within a millisecond: messages that are stored together, at
    one time, keep the order in which they were given.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = (rest << 12) // 1_000_000
    random = int.from_bytes(os.urandom(8), "big") >> 2
    return UUID(int=milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | random)


def derived_id(*parts: object) -> UUID:
    """The same UUID (version 8) for the same parts: makes a primary key the deduplication."""
    return UUID(bytes=derived_bytes("\x1f".join(map(str, parts))))


def derived_bytes(text: str) -> bytes:
    """The bytes of `derived_id(text)`."""
    value = bytearray(hashlib.sha256(text.encode()).digest()[:16])
    value[6] = value[6] & 0x0F | 0x80
    value[8] = value[8] & 0x3F | 0x80
    return bytes(value)
