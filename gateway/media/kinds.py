"""The type of a file, checked by its first bytes, and a harmless name for it."""

from __future__ import annotations

import re
import unicodedata

from channels import filenames
from channels.kinds import bare_type

UNKNOWN = "application/octet-stream"

# Types that browsers show or play without running anything in them.
INLINE = frozenset(
    {
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/webp",
        "video/mp4",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
    }
)

# (offset, bytes, the types that have these bytes there, the likeliest first)
_SIGNS: tuple[tuple[int, bytes, tuple[str, ...]], ...] = (
    (0, b"\xff\xd8\xff", ("image/jpeg",)),
    (0, b"\x89PNG\r\n\x1a\n", ("image/png",)),
    (0, b"GIF87a", ("image/gif",)),
    (0, b"GIF89a", ("image/gif",)),
    (8, b"WEBP", ("image/webp",)),
    (8, b"WAVE", ("audio/wav",)),
    (0, b"II*\x00", ("image/tiff",)),
    (0, b"MM\x00*", ("image/tiff",)),
    (0, b"%PDF-", ("application/pdf",)),
    (0, b"OggS", ("audio/ogg", "video/ogg")),
    (0, b"ID3", ("audio/mpeg",)),
    (0, b"#!AMR", ("audio/amr",)),
    (0, b"fLaC", ("audio/flac",)),
    (0, b"\x1aE\xdf\xa3", ("video/webm", "audio/webm")),
    (4, b"ftypM4A", ("audio/mp4",)),
    (4, b"ftyp3g2", ("video/3gpp2", "audio/3gpp2")),
    (4, b"ftyp3g", ("video/3gpp", "audio/3gpp")),
    (4, b"ftypqt", ("video/quicktime",)),
    # https://www.iana.org/assignments/media-types/image/heic-sequence: by the file's brand
    (4, b"ftyphei", ("image/heic", "image/heif")),
    (4, b"ftyphev", ("image/heic-sequence", "image/heif-sequence", "image/heic", "image/heif")),
    (4, b"ftypmif1", ("image/heif", "image/heic", "image/avif")),
    (4, b"ftypmsf1", ("image/heif-sequence", "image/heic-sequence", "image/heif", "image/avif")),
    (4, b"ftypavi", ("image/avif",)),
    (4, b"ftyp", ("video/mp4", "audio/mp4")),
    (0, b"\x00\x00\x01\xba", ("video/mpeg",)),
    (0, b"\x00\x00\x01\xb3", ("video/mpeg",)),
    (0, b".snd", ("audio/basic",)),
    (0, b"{\\rtf", ("text/rtf",)),
    (
        0,
        b"PK\x03\x04",
        (
            "application/zip",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            "application/vnd.oasis.opendocument.text",
            "application/vnd.oasis.opendocument.spreadsheet",
            "application/vnd.apple.pkpass",
        ),
    ),
    (
        0,
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        ("application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"),
    ),
)
# Types without a signature of their own; none of them can run.
_PLAIN = frozenset({"text/plain", "text/csv", "text/vcard", "text/calendar", "audio/aac"})
_BITMAP = "image/bmp"  # a text may begin with the same two letters, so more is checked
_ALLOWED = _PLAIN.union({_BITMAP}, *(types for _, _, types in _SIGNS))
_HARMFUL = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\u0080-\u009f]')
_LONGEST_NAME = 150


def plain_type(declared: str | None) -> str:
    """A type without parameters under its usual name; `UNKNOWN` if it is not allowed here."""
    bare = bare_type(declared)
    return bare if bare in _ALLOWED else UNKNOWN


def type_of(content: bytes, declared: str | None) -> str:
    """The declared type if the first bytes agree, else the type that they show.

    If they show none, a declared type without a signature (such as text/plain) counts, unless there
    are NUL bytes. Anything else is `UNKNOWN`, including HTML, SVG and scripts.
    """
    plain = plain_type(declared)
    begins = _begins(content)
    if begins:
        return plain if plain in begins else begins[0]
    return plain if plain in _PLAIN and b"\x00" not in content[:1024] else UNKNOWN


def _begins(content: bytes) -> tuple[str, ...]:
    for offset, sign, types in _SIGNS:
        if content.startswith(sign, offset):
            return types
    if content.startswith(b"BM") and content[6:10] == bytes(4):
        return (_BITMAP,)
    # Audio frames without an ID3 tag: eleven bits set (twelve for AAC), and the layer.
    if content[:1] == b"\xff" and len(content) > 1:
        if content[1] & 0xE6 == 0xE2:
            return ("audio/mpeg",)
        if content[1] & 0xF6 == 0xF0:
            return ("audio/aac",)
    return ()


def clean_name(name: str | None) -> str | None:
    """A file's name without folders, control and invisible characters; None if nothing is left."""
    text = (name or "").replace("\\", "/").rpartition("/")[2]
    text = text.encode("utf-8", "ignore").decode()
    text = "".join(" " if unicodedata.category(c) == "Cc" else c for c in text)
    text = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cs", "Zl", "Zp"))
    text = " ".join(_HARMFUL.sub("_", text).split()).strip(". ")
    return filenames.cut(text, _LONGEST_NAME) or None
