"""Where files are stored: a small interface for a folder (the default) or object storage.

A file is written whole or not at all, and before any row refers to it. Its key begins with the
organization, so that all files of one can be found, moved and removed together.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from uuid import UUID

_HEX = "[0-9a-f]"
_ID = f"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}"
_KEY = re.compile(f"{_ID}/{_HEX}{{2}}/{_ID}")


class MediaStoreError(Exception):
    """The store is not set up correctly, or does not answer; one line, without secrets."""


class MissingFileError(MediaStoreError):
    """The store has no file with that key."""


class MediaStore(Protocol):
    """Keeps files by their keys; every method raises `MediaStoreError`."""

    async def put(self, key: str, content: bytes, content_type: str) -> None:
        """Store a file, or replace it; when this returns, a power cut does not lose it."""
        ...

    async def get(self, key: str) -> bytes:
        """A whole file; raises `MissingFileError`."""
        ...

    def stream(self, key: str, start: int, end: int) -> AsyncGenerator[bytes]:
        """The bytes of a file from `start` up to, but not including, `end`, in pieces.

        Raises `MissingFileError`.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove a file, if there is one."""
        ...


def storage_key(organization_id: UUID, media_id: UUID) -> str:
    """The key of a file: the same file has the same key, however often it is stored."""
    # The last two digits of all our UUIDs are random, so that folders grow evenly.
    text = str(media_id)
    return f"{organization_id}/{text[-2:]}/{text}"


def check_key(key: str) -> str:
    """The key; raises `ValueError` for one that `storage_key` did not make, such as `../`."""
    if not _KEY.fullmatch(key):
        raise ValueError("this is no key of the media store")
    return key


def open_store(location: str | None, data: Path) -> MediaStore:
    """The store that the setting names: a folder, or the URL of object storage.

    Without the setting, the folder `media` in the data folder. Raises `MediaStoreError`.
    """
    from gateway.media.folder import FolderStore  # noqa: PLC0415 - it imports this

    if not location:
        return FolderStore.at(data / "media")
    if "://" not in location:
        try:
            return FolderStore.at(Path(location).expanduser().absolute())
        except RuntimeError:
            raise MediaStoreError(f"{location} has no home folder: give the whole path") from None
    if location.startswith("file://"):
        try:
            return FolderStore.at(Path(urlsplit(location).path))
        except ValueError as error:
            raise MediaStoreError(str(error)) from None
    try:
        from gateway.media.objects import ObjectStore  # noqa: PLC0415 - an extra
    except ImportError:
        raise MediaStoreError(
            "object storage needs an extra: pip install 'omnichannel-gateway[s3]'"
        ) from None
    return ObjectStore.at(location)
