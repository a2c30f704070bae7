"""Content types under their usual names."""

from __future__ import annotations

from typing import Final

_ALIASES: Final = {
    "image/jpg": "image/jpeg",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-m4a": "audio/mp4",
    "audio/opus": "audio/ogg",
    "application/ogg": "audio/ogg",
    "text/x-vcard": "text/vcard",
    "text/directory": "text/vcard",
    "application/vcard": "text/vcard",
    "application/rtf": "text/rtf",
    "image/x-ms-bmp": "image/bmp",
    "audio/amr-nb": "audio/amr",
}


def bare_type(said: str | None) -> str:
    """A content type without parameters, under its usual name; "" if there is none."""
    bare = (said or "").partition(";")[0].strip().lower()
    return _ALIASES.get(bare, bare)
