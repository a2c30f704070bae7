"""What coverage measures: each test once, and of what goes before and after it, once in each file.

To measure takes as long again as what Python does without it. A pytest plugin, which `conftest.py`
names.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

import coverage
import hypothesis
import pytest

# Measurements of time, and what goes ways that other tests go step by step.
NOT_MEASURED = ("tests/benchmarks/", "tests/browser/", "tests/faults/", "tests/pooler/")
_WHOLE = pytest.StashKey[bool]()
_FIRST = "gw0"  # as xdist names its workers


def pytest_configure(config: pytest.Config) -> None:
    """End what pytest-cov begins in each worker before it knows that it is one.

    It would measure for nobody whenever the worker's own measurement pauses.
    """
    early = coverage.Coverage.current()
    if hasattr(config, "workerinput") and early is not None:
        early.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Take out of the measurement of coverage what runs once more what other tests have run.

    Left out are examples that are made up, measurements of time, what goes the whole way once more,
    and of a test on a database with many cases all but the first. They run all the same; what only
    they would run counts as not covered.
    """
    measured: set[str] = set()
    for item in items:
        name = item.nodeid.partition("[")[0]
        is_again = name in measured and "server_dsn" in getattr(item, "fixturenames", ())
        is_made_up = hypothesis.is_hypothesis_test(getattr(item, "obj", None))
        if is_again or is_made_up or item.nodeid.startswith(NOT_MEASURED):
            item.add_marker("no_cover")
        elif (file := item.nodeid.partition("::")[0]) not in measured:
            item.stash[_WHOLE] = True
            measured.add(file)
        measured.add(name)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """All workers import the same: in the first it is measured."""
    worker = getattr(session.config, "workerinput", {}).get("workerid", _FIRST)
    with _paused(session.config, unless=worker == _FIRST):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Fixtures make the same for each test of a file: for the first they are measured."""
    with _paused(item.config, unless=item.stash.get(_WHOLE, False)):
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """And take it down again."""
    with _paused(item.config, unless=item.stash.get(_WHOLE, False)):
        yield


@contextmanager
def _paused(config: pytest.Config, *, unless: bool) -> Iterator[None]:
    """Nothing is measured meanwhile."""
    control = getattr(config.pluginmanager.get_plugin("_cov"), "cov_controller", None)
    if control is None or unless:
        yield
        return
    control.pause()
    try:
        yield
    finally:
        control.resume()
