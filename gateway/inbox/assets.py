"""The inbox's style sheets and scripts: read once, named by a hash of their content, and cached by
browsers for a year."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aiohttp import web

from gateway.problems import Problem

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOLDER = Path(__file__).resolve().parent / "static"
_YEAR = "public, max-age=31536000, immutable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asset:
    """One file, with the start of the SHA-256 of its content."""

    content: bytes
    content_type: str
    digest: str


@cache
def assets() -> dict[str, Asset]:
    """All files that are served, by name."""
    found = {}
    for path in sorted(_FOLDER.rglob("*")):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            found[path.relative_to(_FOLDER).as_posix()] = Asset(
                content=content,
                content_type=_TYPES[path.suffix],
                digest=hashlib.sha256(content).hexdigest()[:16],
            )
    return found


def path_of(name: str) -> str:
    """The path of a file below /inbox: it changes with the content."""
    return f"/static/{assets()[name].digest}/{name}"


async def serve(request: web.Request) -> web.StreamResponse:
    """A file; browsers may cache it for a year if the path has the hash of its present content."""
    asset = assets().get(request.match_info["name"])
    if asset is None:
        raise Problem(404, "There is no such file.")
    is_current = request.match_info["digest"] == asset.digest
    response = web.Response(
        body=asset.content,
        content_type=asset.content_type,
        charset="utf-8",
        headers={"Cache-Control": _YEAR if is_current else "no-cache"},
    )
    response.etag = asset.digest
    if any(tag.value == asset.digest for tag in request.if_none_match or ()):
        return web.Response(status=304, headers={"ETag": f'"{asset.digest}"'})
    return response
