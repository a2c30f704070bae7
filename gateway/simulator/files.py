"""Files that come with inbound messages: fetched if only a URL is given."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from gateway.simulator.callbacks import UnreachableError
from gateway.simulator.provider import InboundMedia, UnfitError
from gateway.simulator.state import State


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One file; `content_id` (without <>) is for a picture inside an HTML text."""

    content: bytes
    content_type: str
    filename: str | None = None
    content_id: str | None = None


async def file_of(state: State, media: InboundMedia) -> File:
    """The file itself, fetched if only its URL was given; raises `UnfitError`."""
    if media.content is not None:
        try:
            content = base64.b64decode(media.content, validate=True)
        except binascii.Error:
            raise UnfitError("media.content is not base64", status=422) from None
    else:
        try:
            content = await state.fetch(media.url or "")
        except UnreachableError as error:
            raise UnfitError(f"cannot fetch {media.url}: {error}", status=409) from None
    return File(
        content=content,
        content_type=media.content_type,
        filename=media.filename,
        content_id=media.content_id,
    )
