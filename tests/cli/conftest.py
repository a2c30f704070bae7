"""Shells for the commands: on a database of their own, or on an embedded server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import OFFICE, SECRET_KEY, Shell, shell_in


@pytest.fixture(scope="session", autouse=True)
def office() -> Iterator[None]:
    """The clerk goes home in the end, so that what it ran through counts as covered."""
    yield
    OFFICE.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: sockets lie below it."""
    with tempfile.TemporaryDirectory(prefix="gwc-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def shell(folder: Path, database: str) -> Shell:
    """Commands on a migrated database of DATABASE_URL."""
    return shell_in(folder, DATABASE_URL=database, GATEWAY_SECRET_KEYS=SECRET_KEY)


@pytest.fixture
def new_shell(folder: Path, empty_database: str) -> Shell:
    """Commands on a database where nothing has been migrated."""
    return shell_in(folder, DATABASE_URL=empty_database, GATEWAY_SECRET_KEYS=SECRET_KEY)


@pytest.fixture
def lone_shell(folder: Path) -> Shell:
    """Commands on a machine without any DATABASE_URL."""
    return shell_in(folder)
