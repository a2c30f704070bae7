"""Files in a folder of this machine, or of one that web and worker share."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from gateway.folders import make_folder, own, sync
from gateway.media.store import MediaStoreError, MissingFileError, check_key

_PIECE = 2**18


class FolderStore:
    """A `MediaStore` in a folder that only this user can read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def at(cls, path: Path) -> FolderStore:
        """The store in a folder, which is created if it does not exist.

        Raises `MediaStoreError` if it cannot be written to, except for a full disk, which may have
        room later.
        """
        store = cls(path)
        try:
            make_folder(path)
            with tempfile.TemporaryFile(dir=path):
                return store
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return store
            text = f"{path} cannot be written: {error.strerror}; name a folder that can be"
            raise MediaStoreError(text) from error

    async def put(self, key: str, content: bytes, content_type: str) -> None:  # noqa: ARG002
        """Write the file under another name, sync it to the disk, then rename it."""
        try:
            await asyncio.to_thread(self._put, self._path / check_key(key), content)
        except OSError as error:
            raise _away(error) from error

    async def get(self, key: str) -> bytes:
        """The whole file."""
        try:
            return await asyncio.to_thread((self._path / check_key(key)).read_bytes)
        except OSError as error:
            raise _away(error) from error

    async def stream(self, key: str, start: int, end: int) -> AsyncGenerator[bytes]:
        """Pieces of a file, each read when it is needed."""
        try:
            file = await asyncio.to_thread((self._path / check_key(key)).open, "rb")
            with file:
                file.seek(start)
                left = end - start
                while left > 0:
                    piece = await asyncio.to_thread(file.read, min(_PIECE, left))
                    if not piece:
                        raise MediaStoreError("a file of the media store is shorter than it was")
                    left -= len(piece)
                    yield piece
        except OSError as error:
            raise _away(error) from error

    async def delete(self, key: str) -> None:
        """Remove the file."""
        try:
            await asyncio.to_thread((self._path / check_key(key)).unlink, missing_ok=True)
        except OSError as error:
            raise _away(error) from error

    def _put(self, path: Path, content: bytes) -> None:
        make_folder(path.parent)
        beside = path.with_name(f".{uuid4().hex}")
        try:
            number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(number, "wb") as file:
                own(beside, path.parent)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
        sync(path.parent)


def _away(error: OSError) -> MediaStoreError:
    if isinstance(error, FileNotFoundError):
        return MissingFileError("the media store has no such file")
    return MediaStoreError(f"the folder of the media store cannot be used: {error.strerror}")
