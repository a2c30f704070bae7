"""One renderer for all tests of a module: starting its children takes longer than most tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from channels.rendering.pool import ChildPool, PoolLimits
from channels.rendering.renderer import Renderer

HERE = Path(__file__).resolve().parent
ONE_LOOP = pytest.mark.asyncio(loop_scope="module")


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Mark tests before pytest-asyncio makes the loop's factory a parameter of them, with the scope
    that they have then: with a loop for each test, the renderer would end with the test."""
    if "renderer" in metafunc.fixturenames:
        metafunc.definition.add_marker(ONE_LOOP, append=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests with the module's renderer in its event loop."""
    for item in items:
        if item.path.is_relative_to(HERE) and "renderer" in getattr(item, "fixturenames", ()):
            item.add_marker(ONE_LOOP, append=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    """A renderer that is closed, with its children, after the module's tests."""
    async with Renderer() as renderer:
        yield renderer


@pytest.fixture
async def patient() -> AsyncIterator[Renderer]:
    """A renderer with long limits, for a busy machine."""
    async with Renderer(ChildPool(PoolLimits(wait=60, answer=60))) as renderer:
        yield renderer
