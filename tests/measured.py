"""Limits what coverage measures: each test once, and fixtures once for each file.

With the measurement Python takes twice as long. A pytest plugin, named in `conftest.py`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

import coverage
import hypothesis
import pytest

# Measurements of time, and tests of whole paths, whose steps other tests run.
NOT_MEASURED = ("tests/benchmarks/", "tests/browser/", "tests/faults/", "tests/pooler/")
_WHOLE = pytest.StashKey[bool]()
_FIRST = "gw0"  # the name of xdist's first worker


def pytest_configure(config: pytest.Config) -> None:
    """Stop the measurement that pytest-cov starts in each worker before it knows that it is one.

    It would go on, for nothing, whenever the worker's own measurement is paused.
    """
    early = coverage.Coverage.current()
    if hasattr(config, "workerinput") and early is not None:
        early.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Do not measure the coverage of tests that run the same code as others.

    These are Hypothesis tests, measurements of time, tests of whole paths, and all cases but the
    first of a test on a database. They still run, but code that only they run counts as not
    covered.
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
    """Measure the imports of tests only in the first worker: all import the same."""
    worker = getattr(session.config, "workerinput", {}).get("workerid", _FIRST)
    with _paused(session.config, unless=worker == _FIRST):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Measure fixtures only for the first test of a file: they do the same for each."""
    with _paused(item.config, unless=item.stash.get(_WHOLE, False)):
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Measure the teardown of fixtures only for the first test of a file, too."""
    with _paused(item.config, unless=item.stash.get(_WHOLE, False)):
        yield


@contextmanager
def _paused(config: pytest.Config, *, unless: bool) -> Iterator[None]:
    """Pause the measurement while the block runs."""
    control = getattr(config.pluginmanager.get_plugin("_cov"), "cov_controller", None)
    if control is None or unless:
        yield
        return
    control.pause()
    try:
        yield
    finally:
        control.resume()
