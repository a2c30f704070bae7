"""Large mails over slow lines: sent whole, or known not to be."""

from __future__ import annotations

import asyncio
import email
import email.policy
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import aiohttp
import pytest

from channels.errors import Refused, RefusedForNow
from channels.mime import as_bytes
from channels.model import Attachment, Outbound
from channels.providers.smtp import Smtp
from channels.smtp_pool import Connections
from tests.smtp.test_smtp_round_trip import certificate
from tests.smtp.values import Server, account, outbound, within


@pytest.fixture
async def half() -> AsyncIterator[Smtp]:
    """A send half of its own, with the patience that a busy machine needs."""
    one = Smtp(connections=Connections(limits=within(20, 40)))
    yield one
    await one.close()


LARGE = b"line\n" * (2 * 2**20)


@dataclass
class Stalling(Server):
    """A mail server that reads nothing of a mail before it is freed; `early` is what it says then.

    `read` is how much of the content came in the end.
    """

    extensions: tuple[str, ...] = ("SIZE 100000000",)
    early: str | None = None
    tls: ssl.SSLContext | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    read: list[int] = field(default_factory=list)

    async def __aenter__(self) -> Stalling:
        listening = socket.socket()
        # Little room on the way: what was not read waits with whoever sends it.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
        listening.bind(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self._server = await asyncio.start_server(
            self._serve, sock=listening, ssl=self.tls, limit=2**14
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        self.freed.set()
        await super().__aexit__(*error)

    async def _content(self, reader: asyncio.StreamReader) -> bytes:
        count, writer = 0, self._writers[-1]
        self.reached.set()
        if self.early is not None:
            # Not with its answer to DATA: before the content there is nothing to refuse.
            count += len(await reader.read(2**14))
            writer.write(self.early.encode() + b"\r\n")
            await writer.drain()
        try:
            await self.freed.wait()
            while piece := await reader.read(2**16):
                count += len(piece)
        finally:
            self.read.append(count)
        return b""

    async def until_over(self) -> int:
        """Wait until the content has ended; how many bytes came."""
        async with asyncio.timeout(10):
            while not self.read:  # noqa: ASYNC110 - a server's list
                await asyncio.sleep(0.01)
        return self.read[0]


def large() -> Outbound:
    """A mail that does not fit into what a system keeps for a connection."""
    return outbound(attachments=(Attachment(filename="a.bin", content=LARGE),))


@cache
def size() -> int:
    """How many bytes it is on its way."""
    return len(as_bytes(large()))


@pytest.mark.parametrize("tls", ["none", "tls"])
async def test_nothing_leaves_after_it_was_given_up(
    session: aiohttp.ClientSession, tmp_path: Path, tls: str
) -> None:
    """Of a mail that is given up while it leaves, the server never gets the end: it has no mail,
    and the worker that was told to stop gives it back."""
    served, trusted = certificate(tmp_path)
    half = Smtp(connections=Connections(tls_context=trusted))
    async with Stalling(tls=served if tls == "tls" else None) as server:
        sending = asyncio.create_task(
            half.send(account(server.port, tls=tls), large(), session, "")
        )
        await server.reached.wait()
        await asyncio.sleep(0.2)
        sending.cancel()
        with pytest.raises(RefusedForNow) as raised:
            await sending
        assert "cut" == raised.value.code
        server.freed.set()
        assert await server.until_over() < size()
    await half.close()


@pytest.mark.parametrize("tls", ["none", "tls"])
async def test_half_a_mail_is_taken_by_nobody(
    session: aiohttp.ClientSession, tmp_path: Path, tls: str
) -> None:
    """A connection that breaks before all of a mail has left leaves no doubt: it is sent again."""
    served, trusted = certificate(tmp_path)
    half = Smtp(connections=Connections(tls_context=trusted))
    async with Stalling(tls=served if tls == "tls" else None) as server:
        sending = asyncio.create_task(
            half.send(account(server.port, tls=tls), large(), session, "")
        )
        await server.reached.wait()
        await asyncio.sleep(0.2)
        server.hang_up()
        with pytest.raises(RefusedForNow) as raised:
            await sending
    assert "reset" == raised.value.code
    await half.close()


async def test_a_refusal_in_the_middle(half: Smtp, session: aiohttp.ClientSession) -> None:
    """A server that refuses a mail while it still comes is heard, and its connection not kept."""
    async with Stalling(early="552 5.3.4 too much") as server:
        with pytest.raises(Refused) as raised:
            await half.send(account(server.port), large(), session, "")
        server.freed.set()
        assert await server.until_over() < size()
        assert [[]] == [pool.idle for pool in half.connections.pools.values()]
    assert "5.3.4" == raised.value.code


async def test_a_large_mail_arrives(half: Smtp, session: aiohttp.ClientSession) -> None:
    """Its pieces are the mail, with every line that begins with a dot."""
    text = "..dots\n" * 40_000
    async with Server() as server:
        await half.send(account(server.port), outbound(body=text), session, "")
    [raw] = server.mails
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert text == message.get_content().replace("\r\n", "\n")
