"""Data folders with and without a cluster, for processes that use them and end."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.embedded.machine import Machine, new_machine


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path (pytest's tmp_path may be too long for a socket)."""
    with tempfile.TemporaryDirectory(prefix="gwe-") as name:
        yield Path(name)


@pytest.fixture
def new(folder: Path) -> Iterator[Machine]:
    """A machine where nothing has been started yet."""
    yield from new_machine(folder / "data")


@pytest.fixture(scope="session")
def shared() -> Iterator[Path]:
    """A data folder with a cluster that no test changes for good."""
    with tempfile.TemporaryDirectory(prefix="gwe-") as name:
        data = Path(name) / "data"
        with ExitStack() as stack:
            machine = Machine(data, stack)
            with machine.server():
                pass
            machine.seconds_until_gone()
        yield data


@pytest.fixture
def machine(shared: Path) -> Iterator[Machine]:
    """A machine with a cluster whose server is down."""
    yield from new_machine(shared)


@pytest.fixture
def copy(folder: Path, shared: Path) -> Iterator[Machine]:
    """The same with a copy of the cluster, which the test may damage."""
    shutil.copytree(shared / "pgdata", folder / "data" / "pgdata")
    yield from new_machine(folder / "data")
