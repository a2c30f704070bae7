"""Connections to mail servers that are kept: none is left open that nobody knows of."""

import asyncio
import socket
from typing import Any

import pytest

from channels.errors import RefusedForNow
from channels.names import OwnThreads
from channels.smtp_pool import Connections
from tests.smtp.values import Server, account, within


async def test_a_connection_that_was_waited_for_in_vain_is_closed() -> None:
    """The time of a send may be over while a kept connection is asked whether it still answers."""
    connections = Connections(limits=within(20, 40))
    async with Server(answers={"RSET": None}) as server:
        held = account(server.port)
        async with connections.connection(held) as client:
            pass
        asking = asyncio.create_task(connections.connection(held).__aenter__())
        async with asyncio.timeout(10):
            while server.commands[-1] != "RSET":  # noqa: ASYNC110 - a server's list
                await asyncio.sleep(0.005)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        [pool] = connections.pools.values()
        assert (server.commands[-1], client.is_connected, pool.idle) == ("RSET", False, [])
        await connections.close()


class Busy(asyncio.SelectorEventLoop):
    """A loop whose few threads for names are all held by some that nobody answers for."""

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        """Wait for a thread."""
        await asyncio.sleep(60)


def test_names_of_mail_servers_wait_for_no_thread_of_the_loop() -> None:
    """A mail server is reached by its name while the loop can look up nothing."""

    async def reach() -> list[str]:
        connections = Connections(limits=within(5, 10))
        async with Server() as server:
            held = account(server.port, host="localhost")
            async with connections.connection(held) as client:
                await client.noop()
            await connections.close()
        return server.commands

    with asyncio.Runner(loop_factory=Busy) as runner:
        assert ["NOOP", "QUIT"] == runner.run(reach())[1:]


async def test_a_name_that_is_none() -> None:
    """A host that no name can be is not reached, and nothing is said of its login."""
    connections = Connections(limits=within(5, 10))
    for host in ("mail..example.com", "m" * 64 + ".example.com"):
        with pytest.raises(RefusedForNow) as raised:
            async with connections.connection(account(587, host=host)):
                pass
        assert "unreachable" == raised.value.code
    await connections.close()


async def test_a_server_whose_first_address_is_not_reached() -> None:
    """Of a name with several addresses the next one is tried."""

    def look_up(_: str, port: int, **__: Any) -> list[Any]:
        stream = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*stream, (host, port)) for host in ("127.0.0.2", "127.0.0.1")]

    connections = Connections(limits=within(20, 40))
    connections.names[asyncio.get_running_loop()] = OwnThreads(1, look_up)
    async with Server() as server:
        async with connections.connection(account(server.port, host="mail.example")):
            pass
        await connections.close()
    assert 1 == server.connections
