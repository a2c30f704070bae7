"""Keyset pages, newest first; a cursor names the last row of its page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    import asyncpg

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# In place of the time of rows that another program stored without one: PostgreSQL lists these
# first, and queries whose rows may have none compare with this time.
NO_TIME = datetime(9999, 1, 1, tzinfo=UTC)
_SIZE = 8 + 16
# Bytes of text in one page: 200 messages may have 600 MiB, and leads whatever their CRM has stored.
MOST_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position after one row: its time (to the microsecond) and id."""

    at: datetime
    id: UUID

    def __str__(self) -> str:
        micros = (self.at - _EPOCH) // _MICROSECOND
        packed = micros.to_bytes(8, "big", signed=True) + self.id.bytes
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Cursor:
        """The cursor of its text; raises `ValueError` for any other text."""
        try:
            packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            packed = b""
        if len(packed) != _SIZE:
            raise ValueError("is not a cursor of this API")
        micros = int.from_bytes(packed[:8], "big", signed=True)
        try:
            at = _EPOCH + micros * _MICROSECOND
        except OverflowError:
            raise ValueError("is not a cursor of this API") from None
        return cls(at, UUID(bytes=packed[8:]))


def after(cursor: Cursor | None) -> tuple[datetime | None, UUID | None]:
    """The time and the id after which a page begins; both None for the first."""
    return (cursor.at, cursor.id) if cursor else (None, None)


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, and the cursor of the next page (None at the end)."""

    rows: list[dict[str, Any]]
    next_cursor: str | None


def page(
    rows: Sequence[asyncpg.Record], limit: int, *, by: str = "created_at", is_cut: bool = False
) -> Page:
    """The first `limit` rows of a query with `LIMIT limit + 1`.

    `is_cut`: more rows may follow, though the query returned fewer.
    """
    kept = [dict(row) for row in rows[:limit]]
    if len(rows) <= limit and not is_cut:
        return Page(kept, None)
    return Page(kept, str(Cursor(kept[-1][by] or NO_TIME, kept[-1]["id"])))


def cut_page(rows: Sequence[asyncpg.Record], limit: int, *, by: str = "created_at") -> Page:
    """The same for a query that may leave out the last rows because of their size.

    Its column `found` has the number of rows without that limit, and is removed here.
    """
    kept = page(rows, limit, by=by, is_cut=bool(rows) and len(rows) < rows[0]["found"])
    for row in kept.rows:
        del row["found"]
    return kept
