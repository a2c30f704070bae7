"""Puts the pictures that come with a mail (RFC 2392) into its HTML.

The frame that shows a mail has no session, so it cannot load files that require signing in.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import unescape
from typing import Any, Final
from urllib.parse import unquote

from gateway.media import kinds
from gateway.media.store import MediaStore, MediaStoreError
from gateway.store.media import Media

_MOST, _MOST_BYTES = 30, 5 * 2**20
# In sanitised HTML, where every value is in double quotes.
_NAMED: Final = re.compile(r'(?<= src=")cid:([^"]{1,300})(?=")')


def has_pictures(html: str) -> bool:
    """Whether a mail's HTML shows files that came with it."""
    return _NAMED.search(html) is not None


async def with_pictures(
    html: str, detail: Mapping[str, Any], files: Sequence[Media], store: MediaStore
) -> str:
    """The HTML with the pictures in it; one that is missing or too large is left out.

    `detail` is what the provider said about the message, `files` are those of the message.
    """
    given = detail.get("content_ids")
    places = given if isinstance(given, Mapping) else {}
    by_place = {file.position: file for file in files}
    shown: dict[str, str] = {}
    room = _MOST_BYTES
    for name in list(dict.fromkeys(_NAMED.findall(html)))[:_MOST]:
        place = places.get(unquote(unescape(name)))
        file = by_place.get(place) if isinstance(place, int) else None
        if file is None or file.storage_key is None or not 0 < (file.size or 0) <= room:
            continue
        kind = kinds.plain_type(file.content_type)
        if not kind.startswith("image/") or kind not in kinds.INLINE:
            continue
        try:
            pieces = [piece async for piece in store.stream(file.storage_key, 0, file.size or 0)]
        except MediaStoreError:
            continue  # the list of files, below the text, says what is wrong
        shown[name] = f"data:{kind};base64,{b64encode(b''.join(pieces)).decode()}"
        room -= file.size or 0
    return _NAMED.sub(lambda found: shown.get(found[1], found[0]), html)
