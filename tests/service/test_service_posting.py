"""POSTs to a URL that others gave: where they never lead, and what is said of those that fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.outside.posting import NotPosted, Poster
from gateway.outside.public import PublicResolver
from tests.media.conftest import Names
from tests.servers import serving
from tests.service.receiving import Receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A service that subscribes."""
    async with serving(Receiver()) as receiver:
        yield receiver


async def test_internal_addresses_are_refused(receiver: Receiver) -> None:
    """By address, by name, by http; not connected to, whatever was believed of it before."""
    names = Names()
    names.lead("rebound.example.com", "10.0.0.1")
    async with Poster(resolver=PublicResolver(names)) as poster:
        for url, says in (
            (receiver.url, "not https"),
            ("https://127.0.0.1/", "internal address"),
            ("https://rebound.example.com/", "internal address"),
            ("https://hooks.example.com:5432/", "unusual port"),
            ("https://localhost/", "no public host"),
            ("https://a:b@hooks.example.com/", "user name"),
            ("https://hooks.example.com/#a", "fragment"),
            ("https://", "not valid"),
        ):
            with pytest.raises(NotPosted, match=says):
                await poster.post(url, b"{}", {}, seconds=1)
        names.lead("away.example.com", "192.0.2.1")
        with pytest.raises(NotPosted, match="internal address"):
            await poster.post("https://away.example.com/", b"{}", {}, seconds=1)
    assert [] == receiver.told


async def test_what_does_not_answer(receiver: Receiver) -> None:
    """Silence, a port that nobody listens on, and a connection that breaks are said in words; an
    answer whose body never ends is an answer."""
    receiver.hanging.add("/slow")
    async with Poster([receiver.url, "http://127.0.0.1:9"]) as poster:
        with pytest.raises(NotPosted, match=r"did not answer within 0\.1 seconds"):
            await poster.post(f"{receiver.url}/slow", b"{}", {}, seconds=0.1)
        with pytest.raises(NotPosted, match="cannot be reached"):
            await poster.post("http://127.0.0.1:9/", b"{}", {}, seconds=1)
    server = await asyncio.start_server(_say_half, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Poster([url]) as poster:
        taken = await poster.post(f"{url}/drip", b"{}", {}, seconds=4)
        with pytest.raises(NotPosted, match="broke"):
            await poster.post(f"{url}/cut", b"{}", {}, seconds=4)
    assert 200 == taken.status


async def _say_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if b"/drip" in head:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
        await writer.drain()
        await reader.read()
    writer.close()
