"""A renderer for each test."""

from collections.abc import AsyncIterator

import pytest

from channels.render import Renderer


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    """A renderer whose children are gone after the test."""
    async with Renderer() as renderer:
        yield renderer
