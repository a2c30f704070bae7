"""gateway/store/paging.py: cursors that name a row, and pages that say whether more follow."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.paging import Cursor, page


@given(at=st.datetimes(timezones=st.just(UTC)), identity=st.uuids())
def test_a_cursor_comes_back(at: datetime, identity: UUID) -> None:
    """A cursor is read as it was written, to the microsecond, and needs no quoting in a URL."""
    text = str(Cursor(at, identity))

    assert Cursor(at, identity) == Cursor.read(text)
    assert text.replace("-", "").replace("_", "").isalnum()


@given(
    text=st.one_of(
        st.text(), st.binary(max_size=30).map(base64.urlsafe_b64encode).map(bytes.decode)
    )
)
def test_what_no_page_gave(text: str) -> None:
    """Any other text is a ValueError, unless it is a place that a page could have given."""
    found: Cursor | None = None
    with contextlib.suppress(ValueError):
        found = Cursor.read(text)

    assert found is None or found == Cursor.read(str(found))


@pytest.mark.parametrize("micros", [2**63 - 1, -(2**63), 253402300800000000, -62135596800000001])
def test_a_time_that_is_none(micros: int) -> None:
    """A time beyond the calendar is refused."""
    packed = micros.to_bytes(8, "big", signed=True) + uuid4().bytes

    with pytest.raises(ValueError, match="cursor"):
        Cursor.read(base64.urlsafe_b64encode(packed).decode())


def rows(count: int) -> Any:
    """Rows as asyncpg gives them: mappings."""
    times = (datetime(2030, 1, 31 - n, tzinfo=UTC) for n in range(count))
    return cast("list[Mapping[str, Any]]", [{"id": uuid4(), "created_at": at} for at in times])


def test_a_last_page_has_no_cursor() -> None:
    """As many rows as fit, or fewer, are the end."""
    for count in (0, 1, 3):
        found = page(rows(count), 3)
        assert (count, None) == (len(found.rows), found.next_cursor)


def test_a_page_names_its_last_row() -> None:
    """One row more than fits is left out, and the cursor is the last one that was given."""
    given_rows = rows(4)
    found = page(given_rows, 3)

    assert given_rows[:3] == found.rows
    last = given_rows[2]
    assert Cursor(last["created_at"], last["id"]) == Cursor.read(str(found.next_cursor))


def test_a_page_by_another_time() -> None:
    """The time that orders the rows is the one that the cursor holds."""
    made = [{"id": uuid4(), "recorded_at": datetime(2030, 1, n, tzinfo=UTC)} for n in (3, 2, 1)]
    found = page(cast("Any", made), 1, by="recorded_at")

    assert made[0]["recorded_at"] == Cursor.read(str(found.next_cursor)).at
