"""Files in object storage (S3 and compatible, Google, Azure), through obstore.

Credentials and endpoints come from the usual variables of each store, such as AWS_ACCESS_KEY_ID and
AWS_ENDPOINT: https://developmentseed.org/obstore/latest/authentication/
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, from_url
from obstore.store import ObjectStore as Store

from gateway.media.store import MediaStoreError, MissingFileError, check_key

SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")

_PIECE = 2**18


class ObjectStore:
    """A `MediaStore` in a bucket, below the path of its URL."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @classmethod
    def at(cls, url: str) -> ObjectStore:
        """The store of a URL such as `s3://bucket/prefix`; raises `MediaStoreError`."""
        scheme = url.partition("://")[0].lower()
        if scheme == "memory":
            return cls(MemoryStore())
        if scheme not in SCHEMES:
            raise MediaStoreError(f"{scheme}:// is no media store: use a folder or s3://bucket")
        try:
            store = from_url(
                url,
                client_options={
                    "connect_timeout": timedelta(seconds=5),
                    "timeout": timedelta(seconds=60),
                },
                retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=30)},
            )
        except (BaseError, ValueError) as error:
            raise _away(error) from error
        return cls(store)

    async def put(self, key: str, content: bytes, content_type: str) -> None:
        """Store the file with one request, which is all or nothing."""
        typed = None if isinstance(self._store, LocalStore) else {"Content-Type": content_type}
        try:
            await obstore.put_async(
                self._store, check_key(key), content, attributes=typed, use_multipart=False
            )
        except (BaseError, OSError) as error:
            raise _away(error) from error

    async def get(self, key: str) -> bytes:
        """The whole file."""
        try:
            found = await obstore.get_async(self._store, check_key(key))
            return bytes(await found.bytes_async())
        except (BaseError, OSError) as error:
            raise _away(error) from error

    async def stream(self, key: str, start: int, end: int) -> AsyncGenerator[bytes]:
        """Pieces of a file, as they arrive."""
        check_key(key)
        if end <= start:
            return
        try:
            found = await obstore.get_async(self._store, key, options={"range": (start, end)})
            async for piece in found.stream(min_chunk_size=_PIECE):
                yield bytes(piece)
        except (BaseError, OSError) as error:
            raise _away(error) from error

    async def delete(self, key: str) -> None:
        """Remove the file."""
        try:
            await obstore.delete_async(self._store, check_key(key))
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise _away(error) from error


def _away(error: Exception) -> MediaStoreError:
    if isinstance(error, FileNotFoundError):
        return MissingFileError("the media store has no such file")
    # Further lines of the text contain the whole request.
    first = (str(error).splitlines() or [""])[0][:200]
    return MediaStoreError(f"the media store does not answer: {type(error).__name__}: {first}")
