"""The parts of a MIME message (RFC 2046), whatever it looks like, at a cost that its size bounds.

The standard library's parser takes every line through all boundaries that it stands within, and
goes into messages that are attached; here it reads heads alone. What would cost more than it is
worth stays in one piece, and none of it is lost. An attached message, or a report, is what came.
"""

from __future__ import annotations

import email.errors
import email.message
import email.parser
import email.policy
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

Part = email.message.Message

DEPTH: Final = 20
# Of a whole mail; candidates are places that look like a boundary's beginning.
CANDIDATES, PARTS = 20_000, 500
# Of the mail's own head, and of each of its parts'.
HEAD_LINES, PART_HEAD_LINES = 20_000, 250
_SAYING: Final = 6
PARAMETER_BYTES: Final = 2048
ERRORS: Final = (
    ValueError, LookupError, TypeError, AttributeError, RecursionError, AssertionError,
    email.errors.MessageError,
)  # fmt: skip
# The library ends lines at a lone CR, too, and takes lines that a mailbox file left for none.
_LINE = (
    rb"(?:From [^\r\n]*+(?:\r\n|\r|\n)(?=[!-9;-~]++:)"
    rb"|(?:[!-9;-~]*+:|[ \t])[^\r\n]*+(?:\r\n|\r|\n|\Z))"
)
_HEAD = re.compile(_LINE + rb"*+")
_FIRST = {most: re.compile(_LINE + rb"{0,%d}+" % most) for most in (HEAD_LINES, PART_HEAD_LINES)}
_LONG = re.compile(
    rb"(?<![^\r\n])content-(?:type|disposition|transfer-encoding)[ \t]*:"
    rb"[^\r\n]*(?:(?:\r\n|\r|\n)[ \t][^\r\n]*)*",
    re.IGNORECASE,
)
_LINE_END = re.compile(rb"\r\n|\r|\n")
_FOLD = re.compile(r"[\r\n]+")
_REST = re.compile(rb"(--)?[ \t]*+(?:\r\n|\r|\n|\Z)")
_WORD = r"[\w.+!#$&^-]++"
KIND = re.compile(rf"{_WORD}/{_WORD}", re.ASCII)
_PLAIN_KIND = re.compile(rf"\s*+{KIND.pattern}\s*+(?:;|\Z)", re.ASCII)
# One with comments (https://www.rfc-editor.org/rfc/rfc2045#section-5.1), or without its semicolon.
_COMMENT = r"\([^()]*+\)"
_ODD_KIND = re.compile(
    rf"(?:[\s\"]|{_COMMENT})*+({_WORD})\s*+/\s*+({_WORD})(?:[\s\",:;]|{_COMMENT})*+", re.ASCII
)
_ENCODING = re.compile(r"\s*([\w-]+)")
_READER: Final = email.parser.BytesHeaderParser(policy=email.policy.compat32)


@dataclass(slots=True)
class _Reading:
    """What may still be spent on a mail, and whether that was too little."""

    raw: bytes
    candidates: int = CANDIDATES
    parts: int = PARTS
    is_cut: bool = False


def tree(raw: bytes) -> tuple[Part, bool]:
    """A mail as its parts, and whether that are all of them; nothing raises.

    The payload of each is a list of parts, or text with its 8-bit bytes as surrogates.
    """
    reading = _Reading(raw)
    root = _part(reading, 0, len(raw), depth=0)
    return root, not reading.is_cut


def encoding_of(part: Part) -> str:
    """The transfer encoding of a part, whatever stands behind the word; "" for none."""
    named = _ENCODING.match(str(part.get("content-transfer-encoding", "")))
    return named[1].lower() if named else ""


def _part(reading: _Reading, start: int, end: int, *, depth: int, kind: str = "text/plain") -> Part:
    """What stands between two places; `kind` is what it is if it does not say so."""
    part, start = _head(reading, start, end, HEAD_LINES if depth == 0 else PART_HEAD_LINES)
    part.set_default_type(kind)
    boundary = _boundary(part)
    found: list[Part | str] = []
    if boundary is not None and depth < DEPTH:
        is_digest = part.get_content_subtype() == "digest"
        inner = "message/rfc822" if is_digest else "text/plain"
        found = [
            _part(reading, begins, ends, depth=depth + 1, kind=inner)
            for begins, ends in _between(reading, start, end, b"--" + boundary)
        ]
    reading.is_cut |= boundary is not None and depth >= DEPTH
    if found:
        part.set_payload(found)
    else:
        body = reading.raw[start:end]
        if part.get_content_maintype() == "message":
            body = _unpacked(part, body)
        part.set_payload(body.decode("ascii", "surrogateescape"))
    return part


def _head(reading: _Reading, start: int, end: int, most: int) -> tuple[Part, int]:
    """The headers that begin there, and where the text after them begins."""
    first, whole = (each.match(reading.raw, start, end) for each in (_FIRST[most], _HEAD))
    assert first is not None and whole is not None  # noqa: PT018, S101 - they match nothing, too
    reading.is_cut |= first.end() < whole.end()
    # Of what is left out, those that say what the part is.
    rest = islice(_LONG.finditer(reading.raw, first.end(), whole.end()), _SAYING)
    kept = first[0] + b"".join(header[0] + b"\n" for header in rest)
    # What has very many parameters is read in quadratic time.
    given = _LONG.sub(lambda header: header[0][:PARAMETER_BYTES], kept)
    blank = _LINE_END.match(reading.raw, whole.end(), end)
    part = _READER.parsebytes(given)
    _mend_kind(part)
    return part, blank.end() if blank else whole.end()


def _mend_kind(part: Part) -> None:
    """Writes its type as the library reads one: up to the first semicolon."""
    named = (str(value) for name, value in part.raw_items() if str(name).lower() == "content-type")
    given = next(named, "")
    if _PLAIN_KIND.match(given) is None and (odd := _ODD_KIND.match(given)):
        part.replace_header("content-type", f"{odd[1]}/{odd[2]}; {given[odd.end() :]}")


def _boundary(part: Part) -> bytes | None:
    """The boundary between the parts of one that has any."""
    if part.get_content_maintype() != "multipart":
        return None
    try:
        named = part.get_boundary()
        return None if named is None else _FOLD.sub("", named).encode("ascii", "surrogateescape")
    except ERRORS:
        return None


def _between(
    reading: _Reading, start: int, end: int, delimiter: bytes
) -> Iterator[tuple[int, int]]:
    """Where the parts between delimiters begin and end; the line end before one is the one's."""
    raw, at = reading.raw, start
    begins: int | None = None
    while (place := raw.find(delimiter, at, end)) >= 0:
        if not (reading.candidates and reading.parts):
            reading.is_cut = True
            break
        reading.candidates -= 1
        at = place + len(delimiter)
        rest = _REST.match(raw, at, end)
        if rest is None or (place > start and raw[place - 1] not in b"\r\n"):
            continue
        if begins is not None and begins < place:
            reading.parts -= 1
            is_two = raw[place - 2 : place] == b"\r\n"
            yield begins, max(begins, place - (2 if is_two else 1))
        begins = at = rest.end()
        if rest[1]:
            return
    if begins is not None:
        yield begins, end


def _unpacked(part: Part, content: bytes) -> bytes:
    """A message without its transfer encoding: forbidden, written all the same.

    https://www.rfc-editor.org/rfc/rfc2046#section-5.2.1
    """
    encoding = encoding_of(part)
    if encoding:
        part.replace_header("content-transfer-encoding", "8bit")
    if encoding != "base64":
        return content
    try:
        return b64decode(b"".join(content.split()), validate=True)
    except Base64Error:
        return content  # it only says that it is
