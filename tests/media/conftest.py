"""For the media tests: file servers on this machine, and host names that resolve to them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from yarl import URL

from channels.model import Account
from gateway.media.folder import FolderStore
from gateway.media.store import MediaStore
from gateway.outside.download import Downloader
from gateway.receive.errands import Errands, Patience
from gateway.registry import Provider
from gateway.store.database import Database
from gateway.vault import Vault
from tests.media.stage import HURRIED, LINKS, PROVIDER, VAULT, Stage, make_stage
from webhooks.model import WebhookRequest

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FileServer:
    """Keeps its requests in order, and answers as told, by path."""

    url: str = ""
    asked: list[web.Request] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Keep the request, and answer it."""
        self.asked.append(request)
        if request.path not in self.answers:
            return web.Response(status=404)
        return await self.answers[request.path](request)

    def has(
        self,
        path: str,
        body: bytes = b"",
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> str:
        """Answer this at a path from now on; returns its URL."""

        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=status, body=body, headers=headers)

        self.answers[path] = answer
        return self.url + path

    def sends_to(self, path: str, to: str, status: int = 302) -> str:
        """Redirect from a path; returns its URL."""
        return self.has(path, status=status, headers={"Location": to})

    def paths(self) -> list[str]:
        """The requested paths."""
        return [request.path for request in self.asked]


@dataclass
class Names(AbstractResolver):
    """A DNS of our own: names and their addresses."""

    known: dict[str, list[tuple[str, int | None]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def lead(self, name: str, *addresses: str) -> None:
        """Let a name have these addresses."""
        self.known[name] = [(address, None) for address in addresses]

    def to(self, name: str, server: FileServer) -> None:
        """Let a name resolve to a server, whatever the port."""
        self.known[name] = [("127.0.0.1", URL(server.url).port)]

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name."""
        self.asked.append(host)
        await asyncio.sleep(0)
        if host not in self.known:
            raise OSError("no such name")
        return [
            ResolveResult(
                hostname=host, host=address, port=at or port, family=family, proto=0, flags=0
            )
            for address, at in self.known[host]
        ]

    async def close(self) -> None:
        """Nothing to release."""


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[], Awaitable[FileServer]]]:
    """Starts file servers."""
    servers: list[TestServer] = []

    async def start() -> FileServer:
        files = FileServer()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", files.handle)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        files.url = str(server.make_url("")).rstrip("/")
        return files

    yield start
    for server in servers:
        await server.close()


@pytest.fixture
async def files(serve: Callable[[], Awaitable[FileServer]]) -> FileServer:
    """A file server."""
    return await serve()


@pytest.fixture
def names() -> Names:
    """Names for the downloader."""
    return Names()


@pytest.fixture
async def downloader(names: Names) -> AsyncIterator[Downloader]:
    """A downloader that resolves names with `names`, which count as public."""
    async with Downloader(names) as downloader:
        yield downloader


@pytest.fixture
async def stage(database: str) -> AsyncIterator[Stage]:
    """An organization with a message."""
    opened = await Database.connect(database)
    yield await make_stage(opened, "Alpha")
    await opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    """A media store."""
    return FolderStore(tmp_path / "media")


MakeErrands = Callable[..., Errands]


@pytest.fixture
def make_errands(stage: Stage, folder: FolderStore, downloader: Downloader) -> MakeErrands:
    """A function that makes the errands of a worker."""

    def make(
        api_url: str | None = None,
        patience: Patience = HURRIED,
        store: MediaStore = folder,
        vault: Vault = VAULT,
        providers: Mapping[str, Provider] = PROVIDER,
    ) -> Errands:
        async def received(account: Account, request: WebhookRequest) -> None:
            stage.received.append((account, request))

        return Errands(
            stage.database,
            vault,
            store,
            LINKS,
            downloader,
            received,
            api_urls={"twilio": api_url},
            patience=patience,
            providers=providers,
        )

    return make


@pytest.fixture
def errands(make_errands: MakeErrands) -> Errands:
    """The errands of a worker."""
    return make_errands()
