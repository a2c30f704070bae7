"""The names of a mail's files, from parameters of headers (RFC 2231, 6266), however malformed.

The library does not read 8-bit bytes there, which many programs write in a local charset.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from webhooks.mail.charsets import decode, unlabelled
from webhooks.mail.headers import decoded, filename
from webhooks.mail.parts import Part

PARAMETER: Final = re.compile(
    r";\s*+([^\s;=*]++)(?:\*([0-9]{1,3}))?(\*)?\s*+=\s*+"
    # Within ISO-2022-JP the bytes of quotation marks and backslashes are parts of characters.
    r'(?:"((?>\x1b\$[^\x1b]*+\x1b\([BJ]|\\.|[^"\\])*+)"?|([^;]*+))',
    re.DOTALL,
)
ESCAPED: Final = re.compile(r'\\(["\\])')
PLACES: Final = (("content-disposition", "filename"), ("content-type", "name"))


def name_of(part: Part, charset: str | None) -> str | None:
    """The name of a part, made harmless; `charset` is that of the mail's text."""
    for header, parameter in PLACES:
        given = (str(value) for name, value in part.raw_items() if str(name).lower() == header)
        if name := filename(_parameter(next(given, ""), parameter, charset)):
            return name
    return None


def _parameter(header: str, wanted: str, charset: str | None) -> str:
    """A parameter's text; its extended form (`name*`) is preferred to the plain one.

    https://www.rfc-editor.org/rfc/rfc6266#section-4.3
    """
    plain = ""
    pieces: dict[int, tuple[bool, str]] = {}
    for name, number, star, quoted, bare in PARAMETER.findall(f";{header}"):
        if name.lower() != wanted:
            continue
        value = ESCAPED.sub(r"\1", quoted) or bare.strip()
        if number or star:
            pieces.setdefault(int(number or 0), (bool(star), value))
        else:
            plain = plain or value
    named, data = _in_order(pieces)
    if named is None or not data:
        return decoded(unlabelled(data or _bytes(plain), charset))
    return decode(data, named) if named else unlabelled(data, charset)


def _in_order(pieces: dict[int, tuple[bool, str]]) -> tuple[str | None, bytes]:
    """The charset of a parameter, None if no piece is encoded; and its pieces joined."""
    named: str | None = None
    data = b""
    for _, (is_coded, value) in sorted(pieces.items()):
        if not is_coded:
            data += _bytes(value)
            continue
        told, coded = "", value
        if named is None and value.count("'") >= 2:
            told, _, coded = value.split("'", 2)
        named = named or told
        data += unquote_to_bytes(_bytes(coded))
    return named, data


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
