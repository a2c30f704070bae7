"""Postmark's API on this machine, which answers as each test tells it to."""

from collections.abc import AsyncIterator

import pytest

from tests.servers import FakeApi, serving


@pytest.fixture
async def postmark_api() -> AsyncIterator[FakeApi]:
    """A server that stands in for api.postmarkapp.com."""
    async with serving(FakeApi()) as fake:
        yield fake
