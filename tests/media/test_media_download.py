"""A download ends with the file, or with one of two refusals; never elsewhere, never too large."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import zlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from channels.http import Limits
from gateway.outside.download import Downloader, DownloadError, DownloadLater, DownloadRefused, File
from gateway.outside.public import PublicResolver
from tests.media.conftest import FileServer, Names

PATIENT = Limits(connect=20.0, total=40.0)
CDN = "http://cdn.example.com"
API = "http://api.example.com"
SECRET = {"Authorization": "Basic c2VjcmV0"}

Serve = Callable[[], Awaitable[FileServer]]


async def get(downloader: Downloader, url: str, **more: Any) -> File:
    """Download at most a thousand bytes."""
    options: dict[str, Any] = {"max_bytes": 1000, "limits": PATIENT} | more
    return await downloader.get(url, **options)


def authorize(url: str) -> Mapping[str, str]:
    """Credentials for one origin, and nothing for others."""
    return SECRET if url.startswith(API) else {}


async def refused(downloader: Downloader, url: str, **more: Any) -> tuple[type, str]:
    """What kind of failure a download ends with, and its words."""
    with pytest.raises(DownloadError) as caught:
        await get(downloader, url, **more)
    return type(caught.value), caught.value.message


async def test_a_file(downloader: Downloader, files: FileServer, names: Names) -> None:
    """The file comes with its type, its name and where it was."""
    names.to("cdn.example.com", files)
    files.has(
        "/a b",
        b"content",
        headers={
            "Content-Type": "Image/JPEG; charset=x",
            "Content-Disposition": "attachment; filename*=UTF-8''gr%C3%BCn.jpg",
        },
    )
    found = await get(downloader, f"{CDN}/a%20b?sig=%2B%2f", authorize=lambda _: SECRET)
    asked = files.asked[0]

    assert (b"content", "image/jpeg", "grün.jpg", f"{CDN}/a%20b?sig=%2B%2f") == (
        found.content,
        found.content_type,
        found.filename,
        found.url,
    )
    assert "7" == found.headers["content-length"]
    assert ("GET", "/a%20b?sig=%2B%2f", "Basic c2VjcmV0", "identity") == (
        asked.method,
        asked.raw_path,
        asked.headers["Authorization"],
        asked.headers["Accept-Encoding"],
    )
    assert ["cdn.example.com"] == names.asked


async def test_a_url_that_is_not_encoded(
    downloader: Downloader, files: FileServer, names: Names
) -> None:
    """Spaces and letters beyond ASCII are encoded, so that they reach no header."""
    names.to("cdn.example.com", files)
    files.has("/grün bild", b"content")

    assert b"content" == (await get(downloader, f"{CDN}/grün bild")).content


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (None, None),
        ("inline", None),
        ('attachment; filename="a.txt"', "a.txt"),
        ("attachment; filename=../../etc/passwd", "../../etc/passwd"),
        ("attachment; filename=", ""),
        ("attachment; filename*=nonsense''%ff", "ÿ"),
        (";;;=", None),
        (f"attachment; filename*{'9' * 4301}=a", None),
        ("attachment; filename*=a; filename*0=b", None),
        ("attachment; filename*=a%00b''c", None),
        ("attachment; filename*=idna''%ff", None),
    ],
)
async def test_names(
    downloader: Downloader,
    files: FileServer,
    names: Names,
    disposition: str | None,
    name: str | None,
) -> None:
    """What the server calls its file is read as it came, whatever it says."""
    names.to("cdn.example.com", files)
    files.has("/a", headers={"Content-Disposition": disposition} if disposition else None)

    assert name == (await get(downloader, f"{CDN}/a")).filename


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, DownloadRefused),
        (401, DownloadRefused),
        (404, DownloadRefused),
        (410, DownloadRefused),
        (304, DownloadRefused),
        (408, DownloadLater),
        (429, DownloadLater),
        (500, DownloadLater),
        (503, DownloadLater),
    ],
)
async def test_statuses(
    downloader: Downloader, files: FileServer, names: Names, status: int, kind: type[DownloadError]
) -> None:
    """An answer that stays so is refused; one that may pass is for later."""
    names.to("cdn.example.com", files)
    files.has("/a", status=status, headers={"Retry-After": "7"})
    with pytest.raises(kind) as caught:
        await get(downloader, f"{CDN}/a")

    assert (f"Its server answered {status}.", status, 7.0 if kind is DownloadLater else None) == (
        str(caught.value),
        caught.value.status,
        getattr(caught.value, "retry_after", None),
    )


async def test_redirects(downloader: Downloader, serve: Serve, names: Names) -> None:
    """Three redirects are followed; each URL on the way gets what `authorize` gives for it."""
    api, cdn = await serve(), await serve()
    names.to("api.example.com", api)
    names.to("cdn.example.com", cdn)
    api.sends_to("/1", "/2", 301)
    api.sends_to("/2", f"{CDN}/3", 307)
    cdn.sends_to("/3", "4?x=y", 308)
    cdn.has("/4", b"content")

    assert f"{CDN}/4?x=y" == (await get(downloader, f"{API}/1", authorize=authorize)).url
    assert [True, True] == ["Authorization" in one.headers for one in api.asked]
    assert [False, False] == ["Authorization" in one.headers for one in cdn.asked]


async def test_authorize(downloader: Downloader, serve: Serve, names: Names) -> None:
    """Also where the way leads back."""
    api, cdn = await serve(), await serve()
    names.to("api.example.com", api)
    names.to("cdn.example.com", cdn)
    api.sends_to("/1", f"{CDN}/2")
    cdn.sends_to("/2", f"{API}/3")
    api.has("/3")

    await get(downloader, f"{API}/1", authorize=authorize)

    assert [True, True] == ["Authorization" in one.headers for one in api.asked]
    assert [False] == ["Authorization" in one.headers for one in cdn.asked]


async def test_endless_redirects(downloader: Downloader, files: FileServer, names: Names) -> None:
    """The fourth redirect is not followed."""
    names.to("cdn.example.com", files)
    files.sends_to("/a", "/a")

    assert (DownloadRefused, "Its server sends from one address to the next.") == await refused(
        downloader, f"{CDN}/a"
    )
    assert 4 == len(files.asked)


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("http://127.0.0.1/x", "It is not fetched: its URL leads to an internal address."),
        ("//[::1]/x", "It is not fetched: its URL leads to an internal address."),
        ("http://localhost:8080/x", "It is not fetched: its URL names no public host."),
        ("http://inside.example.com/", "It is not fetched: its host has an internal address."),
        ("file:///etc/passwd", "Its URL is not valid."),
        ("ftp://cdn.example.com/", "It is not fetched: its URL is neither http nor https."),
        (
            "http://a:b@cdn.example.com/",
            "It is not fetched: its URL holds a user name or a password.",
        ),
        ("http://[", "Its server redirects to an address that is not valid."),
        ("", "Its server sends to another address and does not say which."),
    ],
)
async def test_redirects_to_forbidden_places(
    files: FileServer, names: Names, to: str, why: str
) -> None:
    """A redirect is judged like a first URL, its host's addresses too."""
    names.lead("inside.example.com", "10.0.0.1")
    files.sends_to("/a", to)
    async with Downloader(PublicResolver(names)) as downloader:
        found = await refused(downloader, f"{files.url}/a", allowed_origin=files.url)

    assert (DownloadRefused, why) == found
    assert ["/a"] == files.paths()


def test_no_way_down() -> None:
    """From https it does not go on to http."""
    from gateway.outside.download import _next, _read

    with pytest.raises(DownloadRefused, match="from https to http"):
        _next(_read("https://api.example.com/a"), f"{CDN}/b")


async def test_allowed_origin(serve: Serve) -> None:
    """The origin that the operator named is called whatever its address, and no other near it."""
    named, other = await serve(), await serve()
    named.has("/a", b"content")
    named.sends_to("/b", "/a")
    named.sends_to("/c", f"{other.url}/a")
    async with Downloader() as downloader:
        found = await get(downloader, f"{named.url}/b", allowed_origin=f"{named.url}/base?x")
        elsewhere = await refused(downloader, f"{named.url}/c", allowed_origin=named.url)
        unnamed = await refused(downloader, f"{other.url}/a", allowed_origin=named.url)
        none = await refused(downloader, f"{other.url}/a", allowed_origin="nonsense")

    assert b"content" == found.content
    assert {DownloadRefused} == {elsewhere[0], unnamed[0], none[0]}
    assert [] == other.asked


async def test_no_way_in_from_outside(downloader: Downloader, serve: Serve, names: Names) -> None:
    """A foreign server cannot redirect to the origin that the operator named."""
    named, foreign = await serve(), await serve()
    names.to("cdn.example.com", foreign)
    foreign.sends_to("/a", f"{named.url}/a")

    assert DownloadRefused is (await refused(downloader, f"{CDN}/a", allowed_origin=named.url))[0]
    assert [] == named.asked


@pytest.mark.parametrize(
    "url", ["", "/a", "http://", "http://[/", "nonsense", "http://a:99999999/"]
)
async def test_no_url(downloader: Downloader, url: str) -> None:
    """What is no URL is refused."""
    assert (DownloadRefused, "Its URL is not valid.") == await refused(downloader, url)


async def test_unknown_name(downloader: Downloader) -> None:
    """A name that is not known now may be known later."""
    assert (DownloadLater, "Its server cannot be reached.") == await refused(
        downloader, "http://nowhere.example.com/"
    )


async def test_size_as_said(downloader: Downloader, files: FileServer, names: Names) -> None:
    """A file that says that it is too large is not read."""
    names.to("cdn.example.com", files)
    files.has("/a", b"x" * 1001)
    files.has("/b", b"x" * 1000)

    assert (DownloadRefused, "It is larger than 1000 bytes.") == await refused(
        downloader, f"{CDN}/a"
    )
    assert 1000 == len((await get(downloader, f"{CDN}/b")).content)


async def test_size_as_it_is(downloader: Downloader, files: FileServer, names: Names) -> None:
    """A file that does not say its size is read up to the limit."""
    names.to("cdn.example.com", files)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 2**16)

    files.answers["/a"] = endless

    assert (DownloadRefused, "It is larger than 1 MiB.") == await refused(
        downloader, f"{CDN}/a", max_bytes=2**20
    )


@pytest.mark.parametrize(
    ("coding", "pack"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)],
)
async def test_packed(
    downloader: Downloader,
    files: FileServer,
    names: Names,
    coding: str,
    pack: Callable[[bytes], bytes],
) -> None:
    """A file that comes packed all the same is unpacked, a bomb only up to the limit."""
    names.to("cdn.example.com", files)
    headers = {"Content-Encoding": coding}
    files.has("/a", pack(b"content"), headers=headers)
    files.has("/bomb", pack(bytes(2**26)), headers=headers)
    files.has("/part", pack(b"content")[:-6], headers=headers)
    files.has("/nonsense", b"nonsense", headers=headers)
    files.has("/large", pack(bytes(2**18)), headers=headers)

    assert b"content" == (await get(downloader, f"{CDN}/a")).content
    assert bytes(2**18) == (await get(downloader, f"{CDN}/large", max_bytes=2**18)).content
    assert DownloadRefused is (await refused(downloader, f"{CDN}/bomb", max_bytes=2**20))[0]
    assert DownloadLater is (await refused(downloader, f"{CDN}/part"))[0]
    assert DownloadRefused is (await refused(downloader, f"{CDN}/nonsense"))[0]


async def test_packed_in_an_unknown_way(
    downloader: Downloader, files: FileServer, names: Names
) -> None:
    """A coding that is not known here is refused."""
    names.to("cdn.example.com", files)
    files.has("/a", b"content", headers={"Content-Encoding": "br"})

    assert DownloadRefused is (await refused(downloader, f"{CDN}/a"))[0]


async def test_slow_server(downloader: Downloader, files: FileServer, names: Names) -> None:
    """A server that takes its time, byte by byte, is left."""
    names.to("cdn.example.com", files)

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x")
            await asyncio.sleep(0.05)
        return response

    files.answers["/a"] = drip

    assert (DownloadLater, "Its server did not answer in time.") == await refused(
        downloader, f"{CDN}/a", limits=Limits(connect=20, total=0.5)
    )


async def test_broken_connection(downloader: Downloader, files: FileServer, names: Names) -> None:
    """A file that ends in its middle is not taken for whole."""
    names.to("cdn.example.com", files)

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"x")
        assert request.transport is not None
        request.transport.abort()
        return response

    files.answers["/a"] = cut

    assert (DownloadLater, "The connection to its server broke.") == await refused(
        downloader, f"{CDN}/a"
    )


async def test_no_certificate(downloader: Downloader, names: Names, tmp_path: Path) -> None:
    """A server that cannot prove its name gets no request, whether it speaks TLS or not."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path / "server.pem", "cdn.example.com"))
    found = []
    for secure in (context, None):
        app = web.Application()
        app.router.add_get("/a", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=secure)
        await site.start()
        names.known["cdn.example.com"] = [("127.0.0.1", runner.addresses[0][1])]
        found.append(await refused(downloader, "https://cdn.example.com/a"))
        await runner.cleanup()

    assert [
        (DownloadLater, "Its server has no valid certificate."),
        (DownloadLater, "Its server cannot be reached."),
    ] == found
    assert [] == asked


def self_signed(path: Path, name: str) -> Path:
    """A key and a certificate that nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    return path


async def test_a_named_origin_that_is_none(downloader: Downloader) -> None:
    """An operator's own address is no way around the rules of how an address is written."""
    assert (DownloadRefused, "Its URL is not valid.") == await refused(
        downloader, "http://127.1:8080/a", allowed_origin="http://127.1:8080"
    )


async def test_no_cookies(downloader: Downloader, files: FileServer, names: Names) -> None:
    """A cookie of one answer does not go with the next request."""
    names.to("cdn.example.com", files)
    files.has("/a", headers={"Set-Cookie": "a=b; Path=/"})
    await get(downloader, f"{CDN}/a")
    await get(downloader, f"{CDN}/a")

    assert [False, False] == ["Cookie" in one.headers for one in files.asked]
