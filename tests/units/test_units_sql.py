"""gateway/store/sql.py: named blocks of SQL."""

from __future__ import annotations

import pytest

from gateway.store.sql import queries, sql_folder, subjects


def test_every_file_is_a_subject() -> None:
    """A subject is a file of sql/queries, and has blocks."""
    files = sorted(path.stem for path in (sql_folder() / "queries").iterdir())

    assert files == subjects()
    assert all(queries(subject) for subject in subjects())


def test_a_block_is_its_sql() -> None:
    """A block begins behind its name, ends before the next one's, and has no white space around."""
    for subject in subjects():
        for name, block in queries(subject).items():
            assert block == block.strip()
            assert block.endswith(";"), (subject, name)
            assert "-- name:" not in block


def test_a_subject_is_read_once() -> None:
    """The same subject is the same object, however often it is asked for."""
    assert queries("messages") is queries("messages")


def test_an_unknown_subject() -> None:
    """A subject without a file is an error at once."""
    with pytest.raises(FileNotFoundError):
        queries("no-such-subject")
