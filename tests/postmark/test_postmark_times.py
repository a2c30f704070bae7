"""Times as JSON has them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from webhooks.times import iso_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2022-06-05T17:17:32Z", datetime(2022, 6, 5, 17, 17, 32, tzinfo=UTC)),
        ("2022-06-05T17:17:32.5+00:00", datetime(2022, 6, 5, 17, 17, 32, 500000, tzinfo=UTC)),
        (
            "2022-06-05T17:17:32.1234567-04:00",
            datetime(2022, 6, 5, 17, 17, 32, 123456, tzinfo=timezone(timedelta(hours=-4))),
        ),
        ("2022-06-05T17:17:32", None),
        ("2022-06-05", None),
        ("2022-06-05T25:00:00Z", None),
        ("", None),
        ("yesterday", None),
        (1654449452, None),
        (None, None),
    ],
)
def test_times(text: object, expected: datetime | None) -> None:
    """A time has a zone, or is none."""
    assert expected == iso_time(text)
