"""Connections to mail servers that are kept: none is left open that nobody knows of."""

import asyncio

import pytest

from channels.http import Limits
from channels.smtp_pool import Connections
from tests.smtp.values import Server, account


async def test_a_connection_that_was_waited_for_in_vain_is_closed() -> None:
    """The time of a send may be over while a kept connection is asked whether it still answers."""
    connections = Connections(limits=Limits(connect=20, total=40))
    async with Server(answers={"RSET": None}) as server:
        held = account(server.port)
        async with connections.connection(held) as client:
            pass
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), connections.connection(held):
                pass
        [pool] = connections.pools.values()
        assert (server.commands[-1], client.is_connected, pool.idle) == ("RSET", False, [])
        await connections.close()
