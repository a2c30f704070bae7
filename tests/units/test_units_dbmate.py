"""The address of a database in the words that dbmate's driver takes."""

from __future__ import annotations

import pytest

from gateway import dbmate


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://me@/x?host=/run/pg", "postgres://me@/x?host=/run/pg&sslmode=disable"),
        ("postgresql://me@%2Frun%2Fpg/x", "postgres://me@/x?host=/run/pg&sslmode=disable"),
        (
            "postgres://me:a%2Fb@%2frun%2fPG:5433/x",
            "postgres://me:a%2Fb@/x?host=/run/PG&port=5433&sslmode=disable",
        ),
        ("postgresql://me@db.example/x", "postgres://me@db.example/x?sslmode=require"),
        ("postgresql://me@127.0.0.1/x", "postgres://me@127.0.0.1/x?sslmode=disable"),
    ],
)
def test_the_same_server(given: str, expected: str) -> None:
    """A socket may stand as the host, as libpq and asyncpg take it; what is encrypted is said."""
    assert expected == dbmate.url_of(given, encrypted=None)
