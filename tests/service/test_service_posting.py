"""A receiver of events, or a server of files, is a stranger: what it answers is bounded."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress

import pytest

from channels.download import Downloader, DownloadLater
from channels.http import Limits
from channels.names import OwnThreads
from channels.posting import LOOK_UPS, NotPosted, Poster, read
from channels.public import ForbiddenAddress, PublicResolver

Say = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def saying(say: Say) -> AsyncIterator[str]:
    """The origin of a server that says this to each request."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await say(writer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_who_never_comes_to_the_answer() -> None:
    """Interim answers without end break the connection, of an event as of a file: they would keep
    the worker from everything else."""
    said = 0

    async def say(writer: asyncio.StreamWriter) -> None:
        nonlocal said
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 400)
            await writer.drain()
            said += 10_000
            if said > 2**25:
                writer.close()
                return

    async with saying(say) as url:
        async with Poster([url]) as poster:
            with pytest.raises(NotPosted, match="broke"):
                await poster.post(url, b"{}", {}, seconds=9)
        async with Downloader() as downloader:
            with pytest.raises(DownloadLater, match="broke"):
                await downloader.get(url, max_bytes=9, limits=Limits(), allowed_origin=url)
    assert said < 2**25


async def test_one_connection_for_many_answers() -> None:
    """Each answer counts anew, and its body does not: a kept connection goes on."""

    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 300000")
        writer.write(b"\r\nX: " + b"x" * 8000 + b"\r\n\r\n" + b"x" * 300_000)

    async with saying(say) as url, Downloader() as downloader:
        files = [
            await downloader.get(url, max_bytes=2**20, limits=Limits(), allowed_origin=url)
            for _ in range(12)
        ]
    assert {b"x" * 300_000} == {each.content for each in files}


async def test_names_that_nobody_answers_for() -> None:
    """One organization's many names hold up no other receiver's: these have threads left."""
    answered = threading.Event()

    def look_up(host: str, *_: object, **__: object) -> list[object]:
        if host.startswith("evil"):
            answered.wait(10)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    names = OwnThreads(LOOK_UPS, look_up)
    async with Poster(resolver=PublicResolver(names)) as poster:
        evil = [
            asyncio.create_task(poster.post(f"https://evil{n}.example.com", b"", {}, seconds=9))
            for n in range(64)
        ]
        await asyncio.sleep(0)
        with pytest.raises(NotPosted, match="cannot be reached"):
            await poster.post("https://good.example.com", b"", {}, seconds=2)
        answered.set()
        assert {NotPosted} == {
            type(each) for each in await asyncio.gather(*evil, return_exceptions=True)
        }
    await names.close()


async def test_a_body_that_is_late() -> None:
    """The status counts once it is there, however long the rest of the answer takes."""

    async def say(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")

    async with saying(say) as url, Poster([url]) as poster:
        taken = await poster.post(url, b"{}", {}, seconds=0.3)
    assert 200 == taken.status


async def test_a_host_that_takes_no_connection() -> None:
    """It cannot be reached: it has not kept anybody waiting for an answer."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        async with Poster(
            [url := f"http://127.0.0.1:{full.getsockname()[1]}"], connect=0.2
        ) as poster:
            waiting = [socket.socket() for _ in range(4)]
            for each in waiting:
                each.setblocking(False)
                each.connect_ex(full.getsockname())
            with pytest.raises(NotPosted, match="cannot be reached"):
                await poster.post(url, b"{}", {}, seconds=5)
            for each in waiting:
                each.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://me:secret@crm.internal:8080/", "user name"),
        ("http://:secret@crm.internal:8080/", "user name"),
        ("https://hooks.example.com:80/", "unusual port"),
        ("https://hooks.example.com:8080/", "unusual port"),
        ("http://CRM.internal:8080/x", None),
        ("https://hooks.example.com:8443/x", None),
    ],
)
def test_where_events_go(url: str, says: str | None) -> None:
    """No password is part of a URL, also where the operator named its origin, in whatever letters;
    elsewhere it is https, on a port of https."""
    with nullcontext() if says is None else pytest.raises(ForbiddenAddress, match=says):
        read(url, ["http://crm.internal:8080"])


async def test_an_answer_without_end() -> None:
    """It is an answer; what follows, even between the pieces of a body, breaks the connection."""
    said = 0

    async def say(writer: asyncio.StreamWriter) -> None:
        nonlocal said
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
        while said < 2**25:
            writer.write(b"x" * 10_000)
            await writer.drain()
            said += 10_000
        writer.close()

    async with saying(say) as url, Poster([url]) as poster:
        taken = await poster.post(url, b"{}", {}, seconds=5)
    assert 200 == taken.status
    assert said < 2**25
