"""What every transaction of the gateway begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.service.conftest import Gateway

NOW = "SELECT current_user::text, current_setting('jit'), current_setting('statement_timeout')"


async def test_nothing_is_compiled_and_nothing_without_an_end(gateway: Gateway) -> None:
    """A long queue makes the claim look dear, and compiling it would take longer than it does."""
    async with gateway.database.as_service() as db:
        assert ("service_role", "off", "20s") == tuple(await db.fetchrow(NOW))
