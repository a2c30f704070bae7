"""A thousand streams of events on one web process: who hears what, and how it stops."""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import aiohttp
import pytest

from channels.model import Channel
from gateway.manage import setup
from gateway.store.database import Database
from gateway.vault import Vault
from tests.cli.shell import Shell, free_port, get, until

STREAMS = 1000
AT_ONCE = 50


class Listener:
    """One client of its own: it keeps the data of each event that it hears."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.heard: list[str] = []

    async def listen(self) -> None:
        """Hear everything until the server ends it."""
        while line := await self.reader.readline():
            if line.startswith(b"data: "):
                self.heard.append(json.loads(line[6:])["data"]["id"])
        self.writer.close()


async def connect(port: int, key: str, limit: asyncio.Semaphore) -> Listener:
    """A stream that is open."""
    async with limit:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
            + key.encode()
            + b"\r\n\r\n"
        )
        assert b"HTTP/1.1 200 OK\r\n" == await reader.readline()
        while not (await reader.readline()).startswith(b"id: "):
            pass
        return Listener(reader, writer)


@asynccontextmanager
async def many_files() -> AsyncIterator[None]:
    """As many open files as a thousand streams need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def keys(database: str) -> list[str]:
    """The keys of two organizations that can send."""
    opened = await Database.connect(database)
    vault = Vault((b"k" * 32,))
    made = []
    for n in (1, 2):
        organization: UUID = await setup.create_organization(opened, f"Org {n}")
        credentials = {"account_sid": "AC" + "a" * 32, "auth_token": "0" * 32}
        account = await setup.add_account(opened, vault, organization, "twilio", credentials)
        await setup.add_sender(
            opened, account, Channel.SMS, f"+1555123000{n}", is_default=True, rate=None
        )
        made.append((await setup.create_key(opened, organization, "key", is_test=False)).key)
    await opened.close()
    return made


async def test_a_thousand_streams(shell: Shell, keys: list[str]) -> None:
    """With 1,000 streams of two organizations open, each hears its own organization's events and no
    other, and the server stops within three seconds, ending each of them."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    async with many_files(), shell.start("web", "--host", "127.0.0.1", PORT=str(port)) as web:
        await web.says("web is ready")
        limit = asyncio.Semaphore(AT_ONCE)
        listeners = await asyncio.gather(
            *(connect(port, keys[n % 2], limit) for n in range(STREAMS))
        )
        listening = [asyncio.create_task(each.listen()) for each in listeners]
        sent: list[list[str]] = [[], []]
        async with aiohttp.ClientSession(base) as http:
            for n in range(6):
                body = {"channel": "sms", "to": "+447700900123", "body": f"number {n}"}
                headers = {"Authorization": f"Bearer {keys[n % 2]}"}
                async with http.post("/v1/messages", json=body, headers=headers) as response:
                    sent[n % 2].append((await response.json())["id"])
        await until(lambda: all(len(each.heard) == 3 for each in listeners))
        assert 200 == (await get(f"{base}/healthz"))[0]
        began = time.monotonic()
        assert 0 == await web.stop()
        stopped = time.monotonic() - began
        await asyncio.wait_for(asyncio.gather(*listening), 30)

    assert [sent[n % 2] for n in range(STREAMS)] == [each.heard for each in listeners]
    assert [] == [line for line in web.lines if "Traceback" in line or "error" in line]
    assert stopped < 3
