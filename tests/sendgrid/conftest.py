"""SendGrid's API on this machine, which answers as each test tells it to."""

from collections.abc import AsyncIterator

import pytest

from tests.servers import FakeApi, serving


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    """A server that stands in for api.sendgrid.com."""
    async with serving(FakeApi(status=202)) as fake:
        yield fake
