"""One renderer for all tests of a module: to start its children takes longer than most of them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from channels.render import Renderer
from channels.render_pool import ChildPool, PoolLimits

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with the module's renderer run in its event loop."""
    for item in items:
        if item.path.is_relative_to(HERE) and "renderer" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    """A renderer whose children are gone after the module's tests."""
    async with Renderer() as renderer:
        yield renderer


@pytest.fixture
async def patient() -> AsyncIterator[Renderer]:
    """A renderer that lets a busy machine take its time."""
    async with Renderer(ChildPool(PoolLimits(wait=60, answer=60))) as renderer:
        yield renderer
