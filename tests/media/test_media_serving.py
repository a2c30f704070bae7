"""Files are handed to those who may have them, in parts where asked, and never run anywhere."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway import app as gateway_app
from gateway.api import media as api
from gateway.api.auth import Callers
from gateway.api.keyring import Keyring
from gateway.config import Settings
from gateway.media.files import Files
from gateway.media.folder import FolderStore
from gateway.media.serving import answer
from gateway.outside.download import Downloader
from gateway.store import media
from gateway.store.listener import Listener
from gateway.store.media import Media, NewMedia
from gateway.web.services import SERVICES
from tests.media.stage import BASE, LINKS, Stage, make_stage

SECRET = "a secret of thirty-two characters or more"
MP3 = b"ID3\x04" + bytes(range(256)) * 4000


@dataclass
class Page:
    """An answer."""

    status: int
    body: bytes = field(repr=False)
    headers: dict[str, str]


@dataclass
class Site:
    """The gateway's paths for files."""

    stage: Stage
    files: Files
    http: aiohttp.ClientSession

    async def ask(
        self, path: str, key: str | None = None, method: str = "GET", **headers: str
    ) -> Page:
        """One request, as the stage's organization unless another key is named."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        token = self.stage.key if key is None else key
        if token:
            named["Authorization"] = f"Bearer {token}"
        async with self.http.request(method, path, headers=named) as response:
            return Page(response.status, await response.read(), dict(response.headers))

    async def add(self, content: bytes, kind: str | None = None, name: str | None = None) -> UUID:
        """A file that is stored."""
        new = NewMedia(
            organization_id=self.stage.organization_id,
            id=uuid4(),
            message_id=self.stage.message_id,
            position=0,
            filename=name,
            content_type=kind,
        )
        async with self.stage.database.as_service() as db:
            await media.insert(db, [await self.files.keep(new, content)])
        return new.id

    def link(self, media_id: UUID, organization_id: UUID | None = None, **more: Any) -> str:
        """The path of a public link."""
        url = LINKS.public(organization_id or self.stage.organization_id, media_id, **more)
        return url.removeprefix(BASE)


@pytest.fixture
async def site(
    stage: Stage, folder: FolderStore, downloader: Downloader, database: str
) -> AsyncIterator[Site]:
    """A server with the paths of files alone."""
    settings = Settings(database_url=database, supabase_jwt_secret=SECRET, public_url=BASE)
    app = web.Application(middlewares=[gateway_app._as_problems])
    async with aiohttp.ClientSession() as session:
        keyring = Keyring(stage.database, Listener(stage.database, database))
        callers = Callers(settings, stage.database, keyring, session)
        services: Any = SimpleNamespace(
            callers=callers, database=stage.database, media_store=folder, media_links=LINKS
        )
        app[SERVICES] = services
        for endpoint in api.ENDPOINTS:
            app.router.add_get(endpoint.path, endpoint.handle)
        for start in settings.starts:
            api.add_routes(app, start)
        async with (
            TestServer(app) as server,
            aiohttp.ClientSession(str(server.make_url("/")), auto_decompress=False) as http,
        ):
            yield Site(stage, Files(stage.database, folder, LINKS, downloader), http)


SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private",
    "Accept-Ranges": "bytes",
}


@pytest.mark.parametrize(
    ("content", "said", "kind", "shown"),
    [
        (b"\xff\xd8\xff", "image/jpeg", "image/jpeg", "inline"),
        (b"\x89PNG\r\n\x1a\n", None, "image/png", "inline"),
        (b"ID3", "audio/mpeg", "audio/mpeg", "inline"),
        (b"%PDF-", "application/pdf", "application/pdf", "attachment"),
        (b"<html>", "text/html", "application/octet-stream", "attachment"),
        (b"<svg>", "image/svg+xml", "application/octet-stream", "attachment"),
        (b"<x/>", "application/xhtml+xml", "application/octet-stream", "attachment"),
        (b"a", "text/plain", "text/plain", "attachment"),
        (b"", "image/x; q=\r\nX: y", "application/octet-stream", "attachment"),
    ],
)
async def test_types(site: Site, content: bytes, said: str | None, kind: str, shown: str) -> None:
    """A file comes as what it is, and nothing that runs comes as what it is."""
    media_id = await site.add(content, said, 'Grü"ße\r\n.png')
    page = await site.ask(f"/v1/media/{media_id}")

    assert (200, content) == (page.status, page.body)
    assert SAFE | {
        "Content-Type": kind,
        "Content-Disposition": (
            f"{shown}; filename=\"Gr___e .png\"; filename*=UTF-8''Gr%C3%BC_%C3%9Fe%20.png"
        ),
        "Cross-Origin-Resource-Policy": "same-origin",
        "Content-Length": str(len(content)),
        "Etag": f'"{media_id.hex}"',
    } == {k: v for k, v in page.headers.items() if k not in ("Date", "Server")}


async def test_a_file_without_a_name(site: Site) -> None:
    """A file that has no name gets none."""
    page = await site.ask(f"/v1/media/{await site.add(b'x')}")

    assert "attachment" == page.headers["Content-Disposition"]


async def test_whose_files(site: Site) -> None:
    """Keys and staff see the files of their organization; others' are as if they were not."""
    other = await make_stage(site.stage.database, "Beta")
    path = f"/v1/media/{await site.add(b'x')}"
    owner, stranger = (
        jwt.encode(
            {"sub": str(one.owner), "aud": "authenticated", "exp": int(time.time()) + 60},
            SECRET,
            algorithm="HS256",
        )
        for one in (site.stage, other)
    )

    assert [200, 200, 404, 404, 401, 404, 404] == [
        (await site.ask(path)).status,
        (await site.ask(path, owner)).status,
        (await site.ask(path, other.key)).status,
        (await site.ask(path, stranger)).status,
        (await site.ask(path, "")).status,
        (await site.ask(f"/v1/media/{uuid4()}")).status,
        (await site.ask("/v1/media/nonsense")).status,
    ]


async def test_files_that_are_not_there(site: Site, tmp_path: Path) -> None:
    """A file that waits, that was given up, or that is lost: each says so."""
    (waiting,) = await site.stage.add("http://cdn.example.com/a")
    page = await site.ask(f"/v1/media/{waiting}")
    assert (409, "5") == (page.status, page.headers["Retry-After"])

    await site.stage.run("UPDATE gateway.media SET state = 'failed', reason = 'It is too large.'")
    page = await site.ask(f"/v1/media/{waiting}")
    assert 404 == page.status
    assert b"could not be fetched from the provider. It is too large." in page.body

    lost = await site.add(b"x")
    (path,) = (path for path in (tmp_path / "media").rglob(str(lost)))
    path.unlink()
    page = await site.ask(f"/v1/media/{lost}")
    assert (404, True) == (page.status, b"no longer in the gateway" in page.body)

    path.parent.rmdir()
    path.parent.write_text("in the way")
    page = await site.ask(f"/v1/media/{lost}")
    assert (503, "5") == (page.status, page.headers["Retry-After"])


async def test_links(site: Site) -> None:
    """A provider needs no key: the link opens its file, in its time, and pages may show it."""
    other = await make_stage(site.stage.database, "Beta")
    media_id = await site.add(MP3, "audio/mpeg", "a.mp3")
    page = await site.ask(site.link(media_id), "")
    prefixed = await site.ask("/gw" + site.link(media_id), "")

    assert (200, MP3, "cross-origin") == (
        page.status,
        page.body,
        page.headers["Cross-Origin-Resource-Policy"],
    )
    assert [200, 404, 404, 404, 404] == [
        prefixed.status,
        (await site.ask(site.link(media_id, seconds=-5), "")).status,
        (await site.ask(site.link(media_id, other.organization_id), "")).status,
        (await site.ask(site.link(uuid4()), "")).status,
        (await site.ask(f"/media/{'x' * 71}", "")).status,
    ]


SIZE = len(MP3)


RANGES: list[tuple[str, int, int]] = [
    ("bytes=0-0", 0, 1),
    ("bytes=0-", 0, SIZE),
    (f"bytes=0-{SIZE - 1}", 0, SIZE),
    ("bytes=100-199", 100, 200),
    ("bytes=300000-700000", 300_000, 700_001),
    ("bytes=5-99999999999", 5, SIZE),
    ("bytes=-10", SIZE - 10, SIZE),
    ("bytes=-99999999999", 0, SIZE),
]
NO_RANGES = ["bytes=-", "bytes=9-5", "bytes=0-1,5-6", "lines=1-2", "nonsense"]


async def test_ranges(site: Site) -> None:
    """A player gets the part that it asks for, which may be all, and hears that it is that."""
    media_id = await site.add(MP3)
    for asked, start, end in RANGES:
        page = await site.ask(f"/v1/media/{media_id}", Range=asked)
        assert (206, str(end - start)) == (
            page.status,
            page.headers["Content-Length"],
        ), asked
        assert MP3[start:end] == page.body, asked
        assert f"bytes {start}-{end - 1}/{SIZE}" == page.headers["Content-Range"], asked
    for asked in NO_RANGES:
        page = await site.ask(f"/v1/media/{media_id}", Range=asked)
        assert (200, MP3) == (page.status, page.body), asked
        assert "Content-Range" not in page.headers, asked


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=-0"])
async def test_ranges_beyond_the_end(site: Site, asked: str) -> None:
    """What is not there is a problem, as other errors are, and the size is said."""
    page = await site.ask(f"/v1/media/{await site.add(MP3)}", Range=asked)

    assert (416, f"bytes */{SIZE}") == (page.status, page.headers["Content-Range"])
    assert "application/problem+json" == page.headers["Content-Type"]
    there = f"The file has {SIZE} bytes: the part that Range asks for is not among them."
    assert there == json.loads(page.body)["detail"]


async def test_ranges_of_what_was_there(site: Site) -> None:
    """A part is only sent of the very file that the player has begun with."""
    path = f"/v1/media/{await site.add(MP3)}"
    etag = (await site.ask(path)).headers["Etag"]

    assert [206, 200] == [
        (await site.ask(path, Range="bytes=0-9", If_Range=one)).status for one in (etag, '"x"')
    ]


async def test_head(site: Site) -> None:
    """HEAD says the same, without the file."""
    path = f"/v1/media/{await site.add(MP3)}"
    whole = await site.ask(path, method="HEAD")
    part = await site.ask(path, method="HEAD", Range="bytes=0-9")

    assert [(200, str(SIZE), b""), (206, "10", b"")] == [
        (one.status, one.headers["Content-Length"], one.body) for one in (whole, part)
    ]


async def test_a_reader_that_goes_away(site: Site) -> None:
    """A reader that leaves in the middle leaves no file open."""
    path = f"/v1/media/{await site.add(MP3 * 20)}"
    headers = {"Authorization": f"Bearer {site.stage.key}"}
    async with site.http.get(path, headers=headers) as response:
        await response.content.readany()
        response.close()

    assert 200 == (await site.ask(path)).status


async def test_only_stored_files(stage: Stage, folder: FolderStore) -> None:
    """A file that is not stored cannot be answered."""
    await stage.add("http://cdn.example.com/a")
    (waiting,) = await stage.rows()
    assert isinstance(waiting, Media)
    with pytest.raises(ValueError, match="only a stored file"):
        await answer(folder, waiting, {}, is_head=False, any_origin=False)
