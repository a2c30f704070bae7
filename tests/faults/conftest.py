"""A gateway for tests of faults: see `tests/faults/stage.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.faults.stage import Stage, Tenant, new_stage


@pytest.fixture
async def stage(database: str) -> AsyncIterator[Stage]:
    """Web and simulator in this loop, on a database of their own; the test starts workers."""
    async with new_stage(database) as stage:
        yield stage


@pytest.fixture
async def tenant(stage: Stage) -> Tenant:
    """An organization that can send."""
    return await stage.tenant()
