"""A stored file as an HTTP answer: nothing that a browser would run, and in ranges if asked."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from urllib.parse import quote

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from gateway.media import kinds
from gateway.media.store import MediaStore
from gateway.problems import Problem
from gateway.store.media import Media

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class _Stream(Payload):
    """A body in pieces, with a known total size; the first piece is already read."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes], size: int, kind: str) -> None:
        super().__init__(rest, content_type=kind)
        self._first = first
        self._rest = rest
        self._size = size

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002
        """Never called: a file has no text."""
        raise AssertionError("a file has no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send every piece."""
        await writer.write(self._first)
        async for piece in self._rest:
            await writer.write(piece)

    async def close(self) -> None:
        """Close the file, even if not all of it was sent."""
        await self._rest.aclose()


async def answer(
    store: MediaStore, file: Media, headers: Mapping[str, str], *, is_head: bool, any_origin: bool
) -> web.Response:
    """A stored file, or the part of it that `Range` asks for.

    `headers` are those of the request; with `any_origin`, as for signed links, pages of any site
    may embed the file. Before anything is sent, raises `Problem` 416 if the file has no such part,
    `MissingFileError` or `MediaStoreError`.
    """
    if file.size is None or file.storage_key is None:
        raise ValueError("only a stored file can be answered")
    kind = kinds.plain_type(file.content_type)
    named = safety(kind, file.filename, any_origin=any_origin)
    named["ETag"] = f'"{file.id.hex}"'
    part = _part(headers, file.size, named["ETag"])
    start, end = part or (0, file.size)
    if part and start >= end:
        there = f"The file has {file.size} bytes: the part that Range asks for is not among them."
        raise Problem(416, there, headers={"Content-Range": f"bytes */{file.size}"})
    if part:
        named["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    pieces = store.stream(file.storage_key, start, end)
    # Read the first piece now: while nothing is sent, a missing file can still be a 404.
    body = _Stream(await anext(pieces, b""), pieces, end - start, kind)
    if is_head:
        await body.close()
    return web.Response(status=206 if part else 200, headers=named, body=body)


def safety(kind: str, filename: str | None, *, any_origin: bool) -> dict[str, str]:
    """The headers that keep a browser from running the file."""
    shown = "inline" if kind in kinds.INLINE else "attachment"
    return {
        "Content-Type": kind,
        "Content-Disposition": f"{shown}{_filename(filename)}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "cross-origin" if any_origin else "same-origin",
        "Cache-Control": "private",
        "Accept-Ranges": "bytes",
    }


def _filename(name: str | None) -> str:
    """The name twice (RFC 6266): in ASCII for old programs, and as it is (RFC 5987)."""
    clean = kinds.clean_name(name)
    if clean is None:
        return ""
    plain = clean.encode("ascii", "replace").decode().replace("?", "_").replace("%", "_")
    return f"; filename=\"{plain}\"; filename*=UTF-8''{quote(clean, safe='')}"


def _part(headers: Mapping[str, str], size: int, etag: str) -> tuple[int, int] | None:
    """(start, end) of the requested range, which may be empty (RFC 9110 §14).

    None if there is none, or several, or a malformed one: then the whole file is sent.
    """
    asked = _RANGE.fullmatch(headers.get("Range", "").strip())
    if asked is None or asked[1] == asked[2] == "" or headers.get("If-Range", etag) != etag:
        return None
    if asked[1] == "":
        return max(size - int(asked[2]), 0), size
    start = int(asked[1])
    if asked[2] and int(asked[2]) < start:
        return None
    return start, min(int(asked[2]) + 1, size) if asked[2] else size
