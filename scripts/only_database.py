"""A pytest plugin that leaves only the tests which need a PostgreSQL server.

For a second run on another server: the others would say the same again. So would a browser, and
measurements of the same processes.
"""

from __future__ import annotations

import pytest

ALIKE = ("tests/browser/", "tests/benchmarks/")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what asks, itself or through other fixtures, for `server_dsn`."""
    kept = [
        item
        for item in items
        if "server_dsn" in getattr(item, "fixturenames", ()) and not item.nodeid.startswith(ALIKE)
    ]
    kept_ids = {id(item) for item in kept}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept_ids])
    items[:] = kept
