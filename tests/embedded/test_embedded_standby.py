"""A server that is a standby by now, as after a failover: it counts as one that is away."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from gateway.ids import new_id
from gateway.store.errors import DatabaseAwayError
from gateway.store.listening import hear, listen

if TYPE_CHECKING:
    from tests.embedded.machine import Machine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


async def notify(_channel: str) -> None:
    """Nobody gets as far as that."""
    raise NotImplementedError


async def test_a_standby_is_a_database_that_is_away(copy: Machine) -> None:
    """Whoever wants to listen there is told to try again, which ends no worker."""
    (copy.data / "pgdata" / "standby.signal").touch()
    with copy.server() as server:
        with pytest.raises(DatabaseAwayError, match="cannot execute LISTEN during recovery"):
            await listen(server.dsn, new_id(), asyncio.Event(), lambda: None)
        with pytest.raises(DatabaseAwayError, match="cannot execute LISTEN during recovery"):
            await hear(server.dsn, asyncio.Event(), {}, notify)
