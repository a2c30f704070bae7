"""What every transaction of the gateway begins with, and those that are one statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

if TYPE_CHECKING:
    from tests.service.conftest import Gateway

NOW = "SELECT current_user::text, current_setting('jit'), current_setting('statement_timeout')"


async def test_nothing_is_compiled_and_nothing_without_an_end(gateway: Gateway) -> None:
    """A long queue makes the claim look dear, and compiling it would take longer than it does."""
    async with gateway.database.as_service() as db:
        assert ("service_role", "off", "20s") == tuple(await db.fetchrow(NOW) or ())


async def test_one_statement_at_once(gateway: Gateway) -> None:
    """It is done as the gateway itself, and is committed."""
    statement = "UPDATE organizations SET name = current_user || ' ' || current_setting('jit');"
    await gateway.database.at_once(statement)
    async with gateway.database.as_service() as db:
        names = await db.fetch("SELECT DISTINCT name FROM organizations")
    assert ["service_role off"] == [row["name"] for row in names]


async def test_one_statement_that_fails(gateway: Gateway) -> None:
    """Nothing of it stays, and its connection serves the next one."""
    for _ in range(20):  # more than there are connections
        with pytest.raises(asyncpg.DivisionByZeroError):
            await gateway.database.at_once("UPDATE organizations SET name = (1 / 0)::text")
    await gateway.database.at_once("SELECT pg_notify('nobody', '')")
    async with gateway.database.as_service() as db:
        assert "service_role" == await db.fetchval("SELECT current_user::text")
