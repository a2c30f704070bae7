"""Shells in which commands are run: on a database of their own, or on an embedded server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import OFFICE, SECRET_KEY, Shell, shell_in


@pytest.fixture(scope="session", autouse=True)
def office() -> Iterator[None]:
    """End the clerk after all tests, so that its coverage is counted."""
    yield
    OFFICE.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, because sockets are made in it."""
    with tempfile.TemporaryDirectory(prefix="gwc-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def shell(folder: Path, database: str) -> Shell:
    """Commands with a migrated database as DATABASE_URL."""
    return shell_in(folder, DATABASE_URL=database, GATEWAY_SECRET_KEYS=SECRET_KEY)


@pytest.fixture
def new_shell(folder: Path, empty_database: str) -> Shell:
    """Commands with an empty database as DATABASE_URL."""
    return shell_in(folder, DATABASE_URL=empty_database, GATEWAY_SECRET_KEYS=SECRET_KEY)


@pytest.fixture
def lone_shell(folder: Path) -> Shell:
    """Commands without DATABASE_URL."""
    return shell_in(folder)
