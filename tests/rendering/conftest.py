"""One renderer for all tests of a module: to start its children takes longer than most of them."""

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
    """Say it before pytest-asyncio makes the loop's factory a parameter of the test, in the scope
    that is known by then: with one for each test, the renderer would end with it."""
    if "renderer" in metafunc.fixturenames:
        metafunc.definition.add_marker(ONE_LOOP, append=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with the module's renderer run in its event loop."""
    for item in items:
        if item.path.is_relative_to(HERE) and "renderer" in getattr(item, "fixturenames", ()):
            item.add_marker(ONE_LOOP, append=False)


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
