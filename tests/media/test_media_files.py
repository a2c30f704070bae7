"""Files that come with a message are kept first; those that go with one are brought."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote
from uuid import UUID, uuid4

import pytest

from channels.errors import Refused, RefusedForNow, SendError
from channels.model import Attachment
from gateway.media.files import Files
from gateway.media.folder import FolderStore
from gateway.outside.download import Downloader, DownloadRefused
from gateway.store import media
from gateway.store.media import NewMedia
from tests.media.conftest import FileServer, Names
from tests.media.stage import BASE, LINKS, Stage, make_stage

CDN = "http://cdn.example.com"
PNG = b"\x89PNG\r\n\x1a\n a picture"


@pytest.fixture
def kept(stage: Stage, folder: FolderStore, downloader: Downloader) -> Files:
    """The files of a gateway."""
    return Files(stage.database, folder, LINKS, downloader)


def new(stage: Stage, **more: object) -> NewMedia:
    """A file that comes with the stage's message."""
    one = NewMedia(
        organization_id=stage.organization_id,
        id=UUID(int=7),
        message_id=stage.message_id,
        position=0,
        filename="../a.png",
        account_id=stage.account_id,
    )
    return replace(one, **more)  # type: ignore[arg-type]


async def stored(stage: Stage, kept: Files, content: bytes = PNG) -> Attachment:
    """A file of ours, as a message shows it."""
    async with stage.database.as_service() as db:
        await media.insert(db, [await kept.keep(new(stage), content)])
    return Attachment(url=kept.url(UUID(int=7)), filename="a.png", content_type="image/png")


async def failure(
    kept: Files, organization_id: UUID, *files: Attachment, limit: int = 1000
) -> tuple[type[SendError], str]:
    """How bringing files ends."""
    with pytest.raises(SendError) as caught:
        await kept.load(organization_id, files, max_bytes=limit)
    assert "attachment" == caught.value.code
    return type(caught.value), caught.value.message


async def test_keep(stage: Stage, kept: Files, folder: FolderStore) -> None:
    """Bytes at hand are kept under the file's own id before its row is made; twice is once."""
    first = await kept.keep(new(stage), PNG)
    second = await kept.keep(new(stage, content_type="image/x-own"), PNG)
    async with stage.database.as_service() as db:
        await media.insert(db, [first])
    (row,) = await stage.rows()

    assert (first, "image/x-own") == (
        replace(second, content_type="image/png"),
        second.content_type,
    )
    assert ("stored", "a.png", "image/png", len(PNG)) == (
        row.state,
        row.filename,
        row.content_type,
        row.size,
    )
    assert PNG == await folder.get(str(row.storage_key))
    assert 0 == await stage.open_errands()


async def test_load(stage: Stage, kept: Files, files: FileServer, names: Names) -> None:
    """A mail gets the bytes of its files, wherever they are."""
    names.to("cdn.example.com", files)
    files.has("/b.pdf", b"%PDF-1", headers={"Content-Type": "application/pdf", "Set-Cookie": "a=b"})
    files.has("/c", PNG, headers={"Content-Disposition": "inline; filename=../c.png"})
    own = await stored(stage, kept)
    inline = Attachment(content=b"inline", filename="x")
    given = (
        own,
        inline,
        Attachment(url=f"{CDN}/b.pdf?x"),
        Attachment(url=f"{CDN}/c", filename="d"),
    )

    assert (
        replace(own, content=PNG),
        inline,
        Attachment(
            url=f"{CDN}/b.pdf?x",
            filename="b.pdf",
            content_type="application/pdf",
            size=6,
            content=b"%PDF-1",
        ),
        Attachment(
            url=f"{CDN}/c",
            filename="d",
            content_type="application/octet-stream",
            size=len(PNG),
            content=PNG,
        ),
    ) == await kept.load(stage.organization_id, given)
    assert () == await kept.load(stage.organization_id, ())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/Rechnung%20M%C3%A4rz.pdf?x=/y", "Rechnung März.pdf"),
        ("/a%2F..%2Fb.pdf", "b.pdf"),
        ("/a%01%0Db%22.pdf", "a b_.pdf"),
        ("/100%.pdf", "100%.pdf"),
    ],
)
async def test_names_by_url(
    stage: Stage, kept: Files, files: FileServer, names: Names, path: str, name: str
) -> None:
    """A file that has its name from its URL alone has it as it reads, and harmless."""
    names.to("cdn.example.com", files)
    files.has(unquote(path.partition("?")[0]), b"%PDF-1")

    (loaded,) = await kept.load(stage.organization_id, [Attachment(url=f"{CDN}{path}")])
    assert name == loaded.filename


async def test_load_refused(
    stage: Stage, kept: Files, files: FileServer, names: Names, tmp_path: Path
) -> None:
    """A file that cannot be had says which it is, and whether another time is better."""
    names.to("cdn.example.com", files)
    files.has("/away", status=503)
    files.has("/large", bytes(600))
    own = await stored(stage, kept)
    organization_id = stage.organization_id
    named = Attachment(url=f"{CDN}/away", filename="b.pdf")

    assert (RefusedForNow, "b.pdf: Its server answered 503.") == await failure(
        kept, organization_id, named
    )
    assert (Refused, "Attachment 2: Its server answered 404.") == await failure(
        kept, organization_id, own, Attachment(url=f"{CDN}/gone")
    )
    assert (
        Refused,
        "Attachment 1: It is not fetched: its URL leads to an internal address.",
    ) == await failure(kept, organization_id, Attachment(url="http://127.0.0.1/"))
    large = Attachment(url=f"{CDN}/large")
    assert (Refused, "Attachment 2: It is larger than 400 bytes.") == await failure(
        kept, organization_id, large, large
    )
    assert (Refused, "All files together are larger than 1 MiB.") == await failure(
        kept, organization_id, replace(large, content=bytes(2**20 + 1)), limit=2**20
    )
    for path in (tmp_path / "media").rglob("*-*-*-*-*"):
        if path.is_file():
            path.unlink()
    assert (Refused, "a.png: the gateway has lost it.") == await failure(kept, organization_id, own)
    async with stage.database.as_service() as db:
        await media.insert(db, [new(stage, id=UUID(int=8), source_url=f"{CDN}/x")])
    assert (Refused, "Attachment 1: the gateway has lost it.") == await failure(
        kept, organization_id, Attachment(url=kept.url(UUID(int=8)))
    )
    (tmp_path / "media" / str(organization_id) / "07").rmdir()
    (tmp_path / "media" / str(organization_id) / "07").write_text("in the way")
    assert (RefusedForNow, "a.png: the gateway cannot read it now.") == await failure(
        kept, organization_id, own
    )


async def test_files_of_another_organization(stage: Stage, kept: Files) -> None:
    """The URL of another tenant's file is not its file: the same is said as of none."""
    own = await stored(stage, kept)
    other = await make_stage(stage.database, "Beta")
    says = "a.png: it was deleted from the gateway."
    assert (Refused, says) == await failure(kept, other.organization_id, own)
    with pytest.raises(Refused, match="it was deleted from the gateway"):
        await kept.linked(other.organization_id, [own])


async def test_linked(stage: Stage, kept: Files) -> None:
    """A provider gets a link that opens our file, and other servers' URLs as they are."""
    own = await stored(stage, kept)
    foreign = Attachment(url=f"{CDN}/a")
    first, second = await kept.linked(stage.organization_id, [own, foreign])
    base, _, token = first.url.rpartition("/")

    assert (f"{BASE}/media", replace(own, url=first.url), foreign) == (base, first, second)
    assert (stage.organization_id, UUID(int=7)) == LINKS.read(token)


async def test_own_file_by_its_url_alone(stage: Stage, kept: Files) -> None:
    """A file of ours that is named by nothing but its URL leaves with the name and type that it was
    stored with; others that the message gives it win."""
    own = await stored(stage, kept)
    bare = replace(own, filename=None, content_type=None)
    for given, expected in (
        (bare, ("a.png", "image/png")),
        (replace(bare, filename="b.png", content_type="image/x"), ("b.png", "image/x")),
    ):
        (link,) = await kept.linked(stage.organization_id, [given])
        (loaded,) = await kept.load(stage.organization_id, [given], max_bytes=1000)
        assert [expected] * 2 == [(each.filename, each.content_type) for each in (link, loaded)]


async def test_certificate(kept: Files, files: FileServer, names: Names) -> None:
    """A certificate is fetched like a file, and is small."""
    names.to("cdn.example.com", files)
    files.has("/a.pem", b"certificate")
    files.has("/b.pem", bytes(2**17))

    assert b"certificate" == await kept.certificate(f"{CDN}/a.pem")
    with pytest.raises(DownloadRefused):
        await kept.certificate(f"{CDN}/b.pem")


async def test_what_callers_see(stage: Stage, kept: Files) -> None:
    """One file, or None."""
    await stored(stage, kept)
    async with stage.database.as_service() as db:
        found = await media.get(db, stage.organization_id, UUID(int=7))
        none = await media.get(db, stage.organization_id, uuid4())

    assert (UUID(int=7), None) == (found and found.id, none)
