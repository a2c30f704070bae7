"""Pictures that stand within HTML itself (RFC 2397), as some programs write what is pasted.

They would be lost with all that HTML may not hold, and leave no room for what is written.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Final

from channels.model import Attachment

# What is smaller is a spacer.
_DATA: Final = re.compile(
    rb"(\ssrc\s{0,9}=\s{0,9}[\"'])data:(image/[\w.+-]{1,40})(?:;[\w=.-]{1,60}){0,4};base64,"
    rb"([A-Za-z0-9+/=%\s]{200,}+)(?=[\"'])",
    re.IGNORECASE,
)
# What a URL may write so, of Base64 and the blanks within it. All else that is written so is none;
# to read any such character takes the library a hundred times the memory.
_ESCAPED: Final = {b"2B": b"+", b"2F": b"/", b"3D": b"=", b"0D": b"", b"0A": b"", b"20": b""}


def taken_out(page: bytes) -> tuple[bytes, list[Attachment]]:
    """HTML that names such pictures as it does a mail's files, and those, each once."""
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
    """What Base64 within a URL holds, be it on several lines; None where it is none."""
    for written, character in _ESCAPED.items() if b"%" in text else ():
        text = text.replace(b"%" + written, character).replace(b"%" + written.lower(), character)
    try:
        return None if b"%" in text else b64decode(text)
    except Base64Error:
        return None
