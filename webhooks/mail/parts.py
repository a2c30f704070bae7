"""The parts of a MIME message (RFC 2046), however malformed, at a cost bounded by its size.

The standard library's parser compares every line with all boundaries around it, and parses attached
messages, too; here it only reads the headers. A part whose parsing would cost too much stays whole,
so that nothing is lost. An attached message, or a report, is kept as it came.
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
# Limits for a whole mail; candidates are places that look like the beginning of a boundary.
CANDIDATES, PARTS = 20_000, 500
# Lines of the mail's own headers, and of those of each part.
HEAD_LINES, PART_HEAD_LINES = 20_000, 250
_SAYING: Final = 6
PARAMETER_BYTES: Final = 2048
ERRORS: Final = (
    ValueError, LookupError, TypeError, AttributeError, RecursionError, AssertionError,
    email.errors.MessageError,
)  # fmt: skip
# Like the library, which also ends lines at a lone CR, and ignores the "From " line of a mailbox.
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
    """The rest of a mail's limits, and whether they were exceeded."""

    raw: bytes
    candidates: int = CANDIDATES
    parts: int = PARTS
    is_cut: bool = False


def tree(raw: bytes) -> tuple[Part, bool]:
    """The tree of a mail's parts, and whether it is complete; nothing is raised.

    The payload of each is a list of parts, or text with its 8-bit bytes as surrogates.
    """
    reading = _Reading(raw)
    root = _part(reading, 0, len(raw), depth=0)
    return root, not reading.is_cut


def encoding_of(part: Part) -> str:
    """The transfer encoding of a part, without anything after the word; "" for none."""
    named = _ENCODING.match(str(part.get("content-transfer-encoding", "")))
    return named[1].lower() if named else ""


def _part(reading: _Reading, start: int, end: int, *, depth: int, kind: str = "text/plain") -> Part:
    """The part between two places; `kind` is its type if it names none."""
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
    """The headers at a place, and where the content after them begins."""
    first, whole = (each.match(reading.raw, start, end) for each in (_FIRST[most], _HEAD))
    assert first is not None and whole is not None  # noqa: PT018, S101 - they match nothing, too
    reading.is_cut |= first.end() < whole.end()
    # Of the headers beyond the limit only those that describe the part.
    rest = islice(_LONG.finditer(reading.raw, first.end(), whole.end()), _SAYING)
    kept = first[0] + b"".join(header[0] + b"\n" for header in rest)
    # A header with very many parameters would be read in quadratic time.
    given = _LONG.sub(lambda header: header[0][:PARAMETER_BYTES], kept)
    blank = _LINE_END.match(reading.raw, whole.end(), end)
    part = _READER.parsebytes(given)
    _mend_kind(part)
    return part, blank.end() if blank else whole.end()


def _mend_kind(part: Part) -> None:
    """Rewrite a malformed content type so that the library can read it."""
    named = (str(value) for name, value in part.raw_items() if str(name).lower() == "content-type")
    given = next(named, "")
    if _PLAIN_KIND.match(given) is None and (odd := _ODD_KIND.match(given)):
        part.replace_header("content-type", f"{odd[1]}/{odd[2]}; {given[odd.end() :]}")


def _boundary(part: Part) -> bytes | None:
    """The boundary of a multipart, or None."""
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
    """Where the parts between delimiters begin and end; the line end before a delimiter is part of
    the delimiter."""
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
    """An attached message without its transfer encoding, which is forbidden there, but used.

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
        return content  # it is not Base64, though it says so
