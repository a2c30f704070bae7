"""Pictures within HTML itself (data URLs, RFC 2397), as some programs write pasted pictures.

Sanitising would remove them, and they would leave no room for the text.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Final

from channels.model import Attachment

# Smaller pictures are spacers.
_DATA: Final = re.compile(
    rb"(\ssrc\s{0,9}=\s{0,9}[\"'])data:(image/[\w.+-]{1,40})(?:;[\w=.-]{1,60}){0,4};base64,"
    rb"([A-Za-z0-9+/=%\s]{200,}+)(?=[\"'])",
    re.IGNORECASE,
)
# The characters of Base64, and blanks in it, that a URL may escape. Any other escape is no Base64.
# To unescape everything would take the library a hundred times the memory.
_ESCAPED: Final = {b"2B": b"+", b"2F": b"/", b"3D": b"=", b"0D": b"", b"0A": b"", b"20": b""}


def taken_out(page: bytes) -> tuple[bytes, list[Attachment]]:
    """HTML that refers to such pictures as to a mail's files (cid:), and those files, each once."""
    found: dict[str, Attachment] = {}

    def named(match: re.Match[bytes]) -> bytes:
        content = _read(match[3])
        if not content:
            return match[0]
        name = f"{hashlib.sha256(content).hexdigest()[:32]}@picture"
        found[name] = Attachment(
            content_type=match[2].decode().lower(),
            size=len(content),
            content=content,
            content_id=name,
        )
        return match[1] + f"cid:{name}".encode()

    return _DATA.sub(named, page), list(found.values())


def _read(text: bytes) -> bytes | None:
    """The content of Base64 in a URL, perhaps on several lines; None if it is malformed."""
    for written, character in _ESCAPED.items() if b"%" in text else ():
        text = text.replace(b"%" + written, character).replace(b"%" + written.lower(), character)
    try:
        return None if b"%" in text else b64decode(text)
    except Base64Error:
        return None
