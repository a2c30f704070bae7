"""What leaves for a provider: whole, or known not to be, and not a byte after it was given up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
import time_machine
import uvloop
from aiohttp.abc import AbstractResolver, ResolveResult

from channels.errors import AnswerLost, RefusedForNow
from channels.http import Limits, ask
from channels.leaving import connector, seconds_more
from tests.servers import FakeApi, serving

LARGE = b"x" * (16 * 2**20)


@dataclass
class Server:
    """A provider that takes its time to read; how much it has read in the end."""

    port: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    read: list[int] = field(default_factory=list)

    async def until_over(self) -> int:
        """Wait until the first connection has ended; how many bytes came on it."""
        async with asyncio.timeout(10):
            while not self.read:  # noqa: ASYNC110 - a server's list
                await asyncio.sleep(0.01)
        return self.read[0]


Do = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def slow_server(first: Do | None = None) -> AsyncIterator[Server]:
    """One that reads no byte before it is freed, and then all that comes."""
    made = Server()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = 0
        made.reached.set()
        try:
            if first is not None:
                await first(reader, writer)
            await made.freed.wait()
            while piece := await reader.read(2**16):
                count += len(piece)
        except OSError:
            pass
        finally:
            made.read.append(count)
            writer.close()

    listening = socket.socket()
    # Little room on the way: what was not read waits with whoever sends it.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
    listening.bind(("127.0.0.1", 0))
    made.port = listening.getsockname()[1]
    async with await asyncio.start_server(serve, sock=listening, limit=2**14):
        try:
            yield made
        finally:
            made.freed.set()


async def post(session: aiohttp.ClientSession, port: int, body: bytes, total: float = 30) -> None:
    """One request whose answer nobody needs."""
    url, limits = f"http://127.0.0.1:{port}/", Limits(connect=5, total=total)
    await ask(session, "POST", url, provider="Acme", headers={}, body=body, limits=limits)


async def give_up(session: aiohttp.ClientSession, server: Server, body: bytes) -> None:
    """One request that is given up when as much of it has left as there is room for."""
    sending = asyncio.create_task(post(session, server.port, body))
    async with asyncio.timeout(10):
        await server.reached.wait()
    await asyncio.sleep(0.2)
    sending.cancel()
    await sending


async def test_nothing_leaves_after_it_was_given_up(session: aiohttp.ClientSession) -> None:
    """What had not left when a send ended never does, and that it was not taken is known: the
    worker that was told to stop gives it back."""
    async with slow_server() as server:
        with pytest.raises(RefusedForNow) as raised:
            await give_up(session, server, LARGE)
        assert "cut" == raised.value.code
        server.freed.set()
        assert await server.until_over() < len(LARGE)


async def test_half_a_request_is_taken_by_nobody(session: aiohttp.ClientSession) -> None:
    """A connection that breaks before all has left leaves no doubt: it can be sent again."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2**16)
        writer.transport.abort()

    async with slow_server(hang_up) as server:
        with pytest.raises(RefusedForNow) as raised:
            await post(session, server.port, LARGE)
    assert "reset" == raised.value.code


async def test_a_line_that_is_too_slow(session: aiohttp.ClientSession) -> None:
    """What has not left when its time is over is refused for now; a small request that has, and
    has no answer, is lost."""
    almost_large = b"x" * 2**20
    async with slow_server() as server:
        with pytest.raises(RefusedForNow) as raised:
            await post(session, server.port, 8 * almost_large, total=0.5 - seconds_more(8 * 2**20))
        assert "timeout" == raised.value.code
        with pytest.raises(AnswerLost):
            await post(session, server.port, b"x", total=1)


def test_large_requests_have_more_time() -> None:
    """A small request has the usual time; one of 27 MiB, a mail with files of 20, some minutes."""
    assert 0 == seconds_more(2**20)
    assert 180 < seconds_more(27 * 2**20) < 240


async def test_a_connection_is_kept_after_an_answer(session: aiohttp.ClientSession) -> None:
    """Bodies of every size arrive as they are, one after the other on one connection."""
    async with serving(FakeApi()) as api:
        port = int(api.url.rpartition(":")[2])
        for size in (0, 1, 2**16, 3 * 2**20 + 7):
            await post(session, port, b"y" * size)
        assert [0, 1, 2**16, 3 * 2**20 + 7] == [len(body) for _, body in api.asked]
        assert 1 == len({request.transport for request, _ in api.asked})


async def meet_an_end_unheard(session: aiohttp.ClientSession) -> None:
    """A connection is answered and kept, and closed at the other side while this loop is busy."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]

    def serve() -> socket.socket:
        served, _ = listening.accept()
        served.recv(2**16)
        served.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return served

    serving = asyncio.create_task(asyncio.to_thread(serve))
    await post(session, port, b"first")
    served = await serving
    served.close()
    listening.close()
    with pytest.raises(RefusedForNow) as raised:
        await post(session, port, b"second")
    assert "reset" == raised.value.code


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="this system does not tell")
async def test_a_kept_connection_that_is_closed_just_now(session: aiohttp.ClientSession) -> None:
    """What the other side has closed by the time that a request would leave on it takes none: no
    byte of it has left, also where this process has not heard of the end yet."""
    await meet_an_end_unheard(session)


async def _meet_all_ends() -> list[str]:
    async def answer_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2**16)
        writer.transport.abort()

    met: list[str] = []
    async with aiohttp.ClientSession(connector=connector()) as session:
        if hasattr(socket, "TCP_INFO"):
            await meet_an_end_unheard(session)
        for first, body in ((answer_nothing, b""), (hang_up, LARGE)):
            async with slow_server(first) as server:
                with pytest.raises((AnswerLost, RefusedForNow)) as raised:
                    await post(session, server.port, body)
                met.append(type(raised.value).__name__)
        async with slow_server() as server:
            with pytest.raises(RefusedForNow):
                await give_up(session, server, LARGE)
            server.freed.set()
            assert await server.until_over() < len(LARGE)
        async with slow_server() as server:
            with pytest.raises(asyncio.CancelledError):  # all of it has left, and nobody knows
                await give_up(session, server, b"small")
    return met


def test_on_the_loop_of_the_processes() -> None:
    """All of it is so on uvloop, too, whose connections know no socket once they are closed."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert ["AnswerLost", "RefusedForNow"] == runner.run(_meet_all_ends())


class Asleep(AbstractResolver):
    """A DNS that answers after an hour in which the machine was suspended."""

    def __init__(self, travel: time_machine.Traveller) -> None:
        self._travel = travel

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Answer when the hour is over."""
        self._travel.shift(3600)
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": port,
                "family": family,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self) -> None:
        """Nothing is held."""


async def test_a_machine_that_was_suspended() -> None:
    """A request whose time went by while the machine slept, and the loop's clock with it, does not
    leave: another worker was sure by then that the provider does not have it."""
    with time_machine.travel(0, tick=True) as travel:
        connector = aiohttp.TCPConnector(resolver=Asleep(travel))
        async with serving(FakeApi()) as api, aiohttp.ClientSession(connector=connector) as http:
            url = api.url.replace("127.0.0.1", "api.acme.example")
            with pytest.raises(RefusedForNow):
                await ask(
                    http, "POST", url, provider="Acme", headers={}, body=b"x", limits=Limits()
                )
            assert [] == api.asked
