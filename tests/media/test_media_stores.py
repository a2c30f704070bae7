"""Every store keeps a file whole, gives it back in parts, and takes no key but ours."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import LocalStore, MemoryStore

from gateway.media.folder import FolderStore
from gateway.media.objects import ObjectStore
from gateway.media.store import (
    MediaStore,
    MediaStoreError,
    MissingFileError,
    check_key,
    open_store,
    storage_key,
)

ORGANIZATION = UUID("00000000-0000-4000-8000-00000000000a")
MEDIA = UUID("00000000-0000-8000-8000-0000000000c7")
KEY = storage_key(ORGANIZATION, MEDIA)

MAKERS: dict[str, Callable[[Path], MediaStore]] = {
    "folder": lambda path: FolderStore(path / "new" / "media"),
    "local": lambda path: ObjectStore(LocalStore(path, mkdir=True)),
    "memory": lambda _: ObjectStore(MemoryStore()),
}


@pytest.fixture(params=MAKERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MediaStore:
    """Each store in turn."""
    return MAKERS[request.param](tmp_path)


async def read(store: MediaStore, start: int, end: int) -> bytes:
    """A part of the file."""
    return b"".join([piece async for piece in store.stream(KEY, start, end)])


def test_keys() -> None:
    """A key names the organization, and spreads files over folders."""
    assert "00000000-0000-4000-8000-00000000000a/c7/00000000-0000-8000-8000-0000000000c7" == KEY


@given(st.text() | st.text("0123456789abcdef-/."))
def test_other_keys(text: str) -> None:
    """Nothing else is a key, so that no path leads out of the store."""
    with pytest.raises(ValueError, match="no key"):
        check_key(text)
    with pytest.raises(ValueError, match="no key"):
        check_key(f"{KEY}{text or '/'}")


async def test_a_file(store: MediaStore) -> None:
    """What is kept comes back, whole and in parts; a second time replaces it; then it is gone."""
    content = bytes(range(256)) * 3000
    await store.put(KEY, b"first", "text/plain")
    await store.put(KEY, content, "image/png")
    size = len(content)

    assert content == await store.get(KEY)
    assert [content, content[1000:400_000], content[-1:], b""] == [
        await read(store, 0, size),
        await read(store, 1000, 400_000),
        await read(store, size - 1, size),
        await read(store, 5, 5),
    ]
    await store.delete(KEY)
    await store.delete(KEY)
    with pytest.raises(MissingFileError):
        await store.get(KEY)
    with pytest.raises(MissingFileError):
        await read(store, 0, 1)


async def test_foreign_keys(store: MediaStore) -> None:
    """A key that is a path is refused by every method."""
    for key in ("../../etc/passwd", "/etc/passwd", f"{ORGANIZATION}/../x"):
        with pytest.raises(ValueError, match="no key"):
            await store.put(key, b"", "text/plain")
        with pytest.raises(ValueError, match="no key"):
            await store.get(key)
        with pytest.raises(ValueError, match="no key"):
            await anext(store.stream(key, 0, 1))
        with pytest.raises(ValueError, match="no key"):
            await store.delete(key)


async def test_folder_is_private(tmp_path: Path) -> None:
    """Files and folders are for this user alone, and nothing half-written is left."""
    root = tmp_path / "media"
    await FolderStore(root).put(KEY, b"content", "text/plain")
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
        for path in [root, *root.rglob("*")]
    }
    organization, folder, name = KEY.split("/")

    assert {
        "media": 0o700,
        f"media/{organization}": 0o700,
        f"media/{organization}/{folder}": 0o700,
        f"media/{organization}/{folder}/{name}": 0o600,
    } == modes


async def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder that is none is an error of the store, in one line, and leaves nothing behind."""
    (tmp_path / "media").write_text("a file")
    store = FolderStore(tmp_path / "media")
    with pytest.raises(MediaStoreError, match="cannot be used"):
        await store.put(KEY, b"content", "text/plain")
    with pytest.raises(MediaStoreError, match="cannot be used"):
        await store.get(KEY)
    with pytest.raises(MediaStoreError, match="cannot be used"):
        await read(store, 0, 1)
    with pytest.raises(MediaStoreError, match="cannot be used"):
        await store.delete(KEY)


async def test_folder_with_something_in_the_way(tmp_path: Path) -> None:
    """A file that cannot take its place leaves no other behind."""
    (tmp_path / KEY).mkdir(parents=True)
    with pytest.raises(MediaStoreError, match="cannot be used"):
        await FolderStore(tmp_path).put(KEY, b"content", "text/plain")

    assert [(tmp_path / KEY)] == list((tmp_path / KEY).parent.iterdir())


async def test_folder_with_a_short_file(tmp_path: Path) -> None:
    """A file that is shorter than its row says is an error, not an end."""
    store = FolderStore(tmp_path)
    await store.put(KEY, b"content", "text/plain")
    with pytest.raises(MediaStoreError, match="shorter"):
        await read(store, 0, 100)


async def test_object_storage_that_is_away() -> None:
    """An endpoint that does not answer is an error of the store, in one line."""
    from obstore.store import S3Store

    store = ObjectStore(
        S3Store(
            "bucket",
            endpoint="http://127.0.0.1:9",
            access_key_id="key",
            secret_access_key="a secret that is not told",
            region="us-east-1",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
    )
    texts = []
    for work in (
        store.put(KEY, b"content", "text/plain"),
        store.get(KEY),
        anext(store.stream(KEY, 0, 1)),
        store.delete(KEY),
    ):
        with pytest.raises(MediaStoreError) as caught:
            await work
        texts.append(str(caught.value))

    assert all("does not answer" in text and "\n" not in text for text in texts)
    assert not any("secret" in text for text in texts)


def test_open_store(tmp_path: Path) -> None:
    """The setting names a folder or a URL; without one it is a folder beside the other data."""
    opened = [
        open_store(where, tmp_path)
        for where in (None, "", "/srv/media", "file:///srv/media", "s3://bucket/pre", "memory://")
    ]

    assert [
        (FolderStore, tmp_path / "media"),
        (FolderStore, tmp_path / "media"),
        (FolderStore, Path("/srv/media")),
        (FolderStore, Path("/srv/media")),
        (ObjectStore, "pre"),
        (ObjectStore, None),
    ] == [
        (type(one), getattr(one, "_path", None) or getattr(one._store, "prefix", None))  # type: ignore[attr-defined]
        for one in opened
    ]


@pytest.mark.parametrize("where", ["ftp://host/a", "https://host/a", "s3://"])
def test_stores_that_are_none(where: str, tmp_path: Path) -> None:
    """Another scheme, or a URL without a bucket, is said in one line."""
    with pytest.raises(MediaStoreError) as caught:
        open_store(where, tmp_path)

    assert "\n" not in str(caught.value)


def test_without_the_extra(tmp_path: Path) -> None:
    """Object storage without obstore is said with what to install."""
    program = (
        "import sys; sys.modules['obstore'] = None\n"
        "from pathlib import Path\n"
        "from gateway.media.store import MediaStoreError, open_store\n"
        "try: open_store('s3://bucket', Path())\n"
        "except MediaStoreError as error: print(error)\n"
        f"print(open_store({str(tmp_path)!r}, Path())._path)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert (
        "object storage needs an extra: pip install 'omnichannel-gateway[s3]'\n"
        f"{tmp_path}\n" == done.stdout.decode()
    )
