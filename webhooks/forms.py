"""The form in the body of a webhook, with its raw bytes and files.

multipart/form-data (RFC 7578) through the parser of https://multipart.readthedocs.io/, and
application/x-www-form-urlencoded. Field values stay bytes: only the provider's half knows their
charset. Everything is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from multipart import (
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from webhooks.model import Unreadable, WebhookRequest
from webhooks.values import DETAIL_CHARACTERS, decoded, read_json

MULTIPART: Final = "multipart/form-data"
URLENCODED: Final = "application/x-www-form-urlencoded"
MOST_PARTS: Final = 2000
MOST_HEADERS: Final = 16
MOST_FOLDED: Final = 2000
LONGEST_HEADER: Final = 64 * 1024

# A file name in the form of RFC 5987, which is not allowed here, but used.
_EXTENDED_NAME = re.compile(
    r"""\bfilename\*\s*=\s*"?([\w.-]{0,40})'[^';]{0,40}'([^";\s]*)""", re.IGNORECASE
)
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*:")


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file of a form; `name` is that of its field; `content_type` is as it came, or None."""

    name: str
    filename: str
    content_type: str | None = None
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """The fields and files of a form, in the order in which they came.

    `kinds` are the content types of the fields that have one.
    """

    fields: tuple[tuple[str, bytes], ...] = ()
    files: tuple[File, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)

    def first(self, name: str) -> bytes | None:
        """The first value of a field, or None."""
        return next((value for given, value in self.fields if given == name), None)

    def last(self, name: str) -> bytes | None:
        """The last value of a field, or None."""
        return next((value for given, value in reversed(self.fields) if given == name), None)

    def text(self, name: str) -> str:
        """The first value of a field as UTF-8 text, or an empty text."""
        return decoded(self.first(name) or b"")

    def unnamed_files(self, names: re.Pattern[str]) -> tuple[File, ...]:
        """The files that came as fields with these names, and without a file name."""
        return tuple(
            File(name=name, filename="", content_type=self.kinds.get(name), content=value)
            for name, value in self.fields
            if names.fullmatch(name)
        )

    def json(self, name: str) -> object:
        """The JSON in a field; None if there is none that can be read."""
        try:
            return read_json(self.first(name) or b"null")
        except Unreadable:
            return None


class _Parser(PushMultipartParser):  # type: ignore[misc] # the library has no types
    """The library's parser, with bounded and malformed headers.

    The library copies a folded header for each of its lines, and takes a line that is no header for
    the end of the request.
    """

    _folded = 0

    def _on_segment_headerline(self, line: bytes) -> None:
        if line[:1] not in b" \t" and _HEADER.match(line) is None:
            # The rest of a file name with a line end in it: the mail must not be lost for that.
            line = b" " + line
        if line.isspace() or (line[:1] == b" " and not self._segment_headerlist):
            return
        self._folded += line[:1] in b" \t"
        if self._folded > MOST_FOLDED:
            raise ParserLimitReached("Maximum count of folded lines exceeded")
        super()._on_segment_headerline(line)


def read_form(request: WebhookRequest, *, only: Collection[bytes] | None = None) -> Form:
    """The form in a request's body; raises `Unreadable`.

    `only`: of a form without files, only the beginnings of these fields, because decoding all of a
    stranger's form may take seconds.
    """
    header = request.headers.get("content-type", "")
    kind, options = parse_options_header(header)
    if kind == MULTIPART:
        return _multipart(request.body, options.get("boundary", ""))
    if kind == URLENCODED:
        return _urlencoded(request.body, only)
    raise Unreadable("The body is not a form.")


def _multipart(body: bytes, boundary: str) -> Form:
    parts: list[tuple[MultipartSegment, list[bytes]]] = []
    try:
        # Headers as Latin-1, which can read every byte: file names come in any charset.
        parser = _Parser(
            boundary,
            max_segment_count=MOST_PARTS,
            max_header_count=MOST_HEADERS,
            max_header_size=LONGEST_HEADER,
            header_charset="latin1",
        )
        with parser:
            for event in parser.parse(body):
                if isinstance(event, MultipartSegment):
                    parts.append((event, []))
                elif event is not None:
                    parts[-1][1].append(bytes(event))
    except ValueError as error:
        raise Unreadable("The multipart form cannot be read.") from error
    fields: list[tuple[str, bytes]] = []
    files: list[File] = []
    kinds: dict[str, str] = {}
    for part, chunks in parts:
        name, filename = _header_text(part.name or ""), _filename(part)
        kind, content = _header_text(part.content_type or ""), b"".join(chunks)
        if filename is not None:
            files.append(
                File(name=name, filename=filename, content_type=kind or None, content=content)
            )
            continue
        fields.append((name, content))
        if kind:
            kinds[name] = kind
    return Form(fields=tuple(fields), files=tuple(files), kinds=kinds)


def _filename(part: MultipartSegment) -> str | None:
    """The name of a part that is a file, in its most complete form; None for a field."""
    if extended := _EXTENDED_NAME.search(part.header("Content-Disposition", "")):
        return decoded(unquote_to_bytes(extended[2]), extended[1] or "utf-8")[:1000]
    return None if part.filename is None else _header_text(part.filename)


def _header_text(text: str) -> str:
    return decoded(text.encode("latin-1", errors="replace"), fallback="latin-1")[:1000]


def _urlencoded(body: bytes, only: Collection[bytes] | None) -> Form:
    if body.count(b"&") >= MOST_PARTS:
        raise Unreadable("The form has too many fields.")
    fields = []
    parts = body.split(b"&")
    if only is not None:
        parts = [part[:DETAIL_CHARACTERS] for part in parts if part.partition(b"=")[0] in only]
    for part in parts:
        if part:
            name, _, value = part.replace(b"+", b" ").partition(b"=")
            fields.append((decoded(unquote_to_bytes(name)), unquote_to_bytes(value)))
    return Form(fields=tuple(fields))
