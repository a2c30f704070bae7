"""A MIME message (RFC 5322, 2045-2049, 2231) as plain values, however broken it is.

The library's older policy is used on purpose: its newer one parses headers by grammar, and fails
or lingers on those that no grammar allows. Bounded in lines, depth, parts; nothing raises.
"""

from __future__ import annotations

import email.errors
import email.message
import email.parser
import email.policy
import hashlib
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from channels.html import HTML_BYTES, TEXT_BYTES
from channels.model import Attachment
from webhooks.mail_charsets import decode, of_page
from webhooks.mail_headers import HEADER_BYTES, decoded, filename, unfolded
from webhooks.values import stored

Part = email.message.Message

PARTS, DEPTH, HEADERS, WRITTEN_HEADERS = 200, 20, 300, 500
# Lines that may part it, which are parts to the library, and lines of its own headers.
MARKED_LINES, HEAD_LINES = 20_000, 20_000
LINES, LINES_TIMES_BOUNDARIES = 1_000_000, 20_000_000
PARAMETER_BYTES, BOUNDARIES = 2048, 60
LONG = re.compile(
    # The library ends lines at a lone CR, too.
    rb"(?<![^\r\n])content-(?:type|disposition|transfer-encoding)[ \t]*:"
    rb"[^\r\n]*(?:(?:\r\n|\r|\n)[ \t][^\r\n]*)*",
    re.IGNORECASE,
)
HEAD_END = re.compile(rb"\r?\n\r?\n")
REPORT = re.compile(rb"message/delivery-status", re.IGNORECASE)
BLANK, BLANKS = re.compile(rb"(?>\r\n|\r|\n)[ \t]*+(?=[\r\n])"), 10_000
BOUNDARY = re.compile(rb"boundary\s*+\*?\d?\s*+=|message/(?:rfc822|global)", re.IGNORECASE)
ENCODING = re.compile(r"\s*([\w-]+)")
ERRORS = (
    ValueError, LookupError, TypeError, AttributeError, RecursionError, AssertionError,
    email.errors.MessageError,
)  # fmt: skip


class _AsTheyCame(email.policy.Compat32):
    """Headers written as they were read: the library folds them, and takes \x1c for a new line."""

    def fold_binary(self, name: str, value: str) -> bytes:
        return f"{name}: {value}{self.linesep}".encode("ascii", "surrogateescape")


CRLF: Final = _AsTheyCame(linesep="\r\n")


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One mail: its headers decoded, its bodies joined, its files; `root` is the parsed tree."""

    root: Part
    digest: str
    headers: tuple[tuple[str, str], ...]
    text: str | None = None
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)

    def all(self, name: str) -> list[str]:
        """Every value of a header, in order."""
        return [value for given, value in self.headers if given.lower() == name]

    def first(self, name: str) -> str | None:
        """The first value of a header, None where there is none."""
        return next(iter(self.all(name)), None)

    def written(self, name: str) -> str:
        """The first value of a header with its encoded words as they are; "" for none."""
        found = (value for given, value in self.root.raw_items() if str(given).lower() == name)
        return unfolded(str(next(found, "")))


def parse(raw: bytes) -> Message:
    """A mail as it came over the wire; what cannot be read of it is left out, never raised."""
    raw = raw.lstrip(b"\r\n")
    if raw.startswith((b"From ", b">From ")):  # an mbox's first line
        raw = raw.partition(b"\n")[2]
    digest = hashlib.sha256(raw).hexdigest()[:40]
    detail: dict[str, Any] = {}
    root = _tree(raw)
    if root is None:
        detail["left_out"] = "The mail was too deep or too long to be read in whole."
        root = _tree(raw[:TEXT_BYTES]) or _headers_only(raw[:HEADER_BYTES])
    texts: list[str] = []
    pages: list[str] = []
    files: list[Attachment] = []
    for number, (part, is_all) in enumerate(leaves(root)):
        if number >= PARTS:
            detail["left_out"] = f"The mail has more than {PARTS} parts."
            break
        kind, name = _kind(part), filename(_filename(part))
        is_text = kind in {"text/plain", "text/html"} and not _is_file(part)
        # Some programs give the text itself a name, too, though not in its disposition.
        is_first = (
            number == 0 and "filename" not in str(part.get("content-disposition", "")).lower()
        )
        is_written = is_text and (is_all or is_first or name is None)
        written, most = (pages, HTML_BYTES) if kind == "text/html" else (texts, TEXT_BYTES)
        # Text that would not be kept is not decoded: some charsets are slow.
        if is_written and sum(map(len, written)) <= most:
            written.append(text_of(part))
        # What has a file's name, and would not be kept in whole, is both.
        if not is_written or (name is not None and len(content_of(part)) > most):
            files.append(_attachment(part, kind, name))
    return Message(
        root=root,
        digest=digest,
        headers=tuple(headers(root)),
        # One more than is kept, so that it can be told that there was more.
        text=_joined(texts, "\n", TEXT_BYTES + 1),
        html=_joined(pages, "\n", HTML_BYTES + 1),
        attachments=tuple(files),
        detail=detail,
    )


def _tree(raw: bytes) -> Part | None:
    """The tree of parts; None for a mail that is built to be slow."""
    raw = LONG.sub(_shortened, raw)
    lines = raw.count(b"\n") + raw.count(b"\r")
    if lines > 2 * LINES or raw.count(b"\n--") > MARKED_LINES:
        return None
    end = HEAD_END.search(raw)
    if raw.count(b"\n", 0, end.start() if end else len(raw)) > HEAD_LINES:
        return None
    if REPORT.search(raw) and len(BLANK.findall(raw)) > BLANKS:
        return None  # each block of a report is a message to the library
    boundaries = len(BOUNDARY.findall(raw))
    if boundaries > BOUNDARIES or lines * (1 + boundaries) > LINES_TIMES_BOUNDARIES:
        return None
    try:
        return email.parser.BytesParser(policy=email.policy.compat32).parsebytes(raw)
    except ERRORS:
        return None


def _shortened(header: re.Match[bytes]) -> bytes:
    """A header whose parameters the library reads in quadratic time, cut to what mails need."""
    return header[0][:PARAMETER_BYTES]


def _headers_only(raw: bytes) -> Part:
    head = re.split(rb"\r?\n\r?\n", raw, maxsplit=1)[0]
    return email.parser.BytesHeaderParser(policy=email.policy.compat32).parsebytes(head)


def leaves(part: Part, depth: int = 0, *, is_all: bool = True) -> Iterator[tuple[Part, bool]]:
    """The parts that hold something, in order; an attached message is one, and not looked into.

    With each whether it is the whole mail, or one form of what is written.
    """
    # Of any other part the library would read the text here, and raise where it cannot.
    children: Any = part.get_payload() if part.is_multipart() else depth == 0 and _packed(part)
    is_message = part.get_content_maintype() == "message"
    if not isinstance(children, list) or is_message or depth >= DEPTH:
        yield part, is_all
        return
    for child in children:
        is_form = part.get_content_subtype() == "alternative"
        yield from leaves(child, depth + 1, is_all=is_form)


def _packed(part: Part) -> object:
    """The parts of a mail that came as Base64 as a whole, as SAP's servers send it; None if it is
    no such thing (https://github.com/zbateson/mail-mime-parser/issues/202)."""
    named = ENCODING.match(str(part.get("content-transfer-encoding", "")))
    is_packed = named is not None and named[1].lower() == "base64"
    if not is_packed or part.get_content_maintype() != "multipart":
        return None
    kind = f"Content-Type: {part.get('content-type')}\r\n\r\n".encode(errors="replace")
    inside = _tree(kind + content_of(part))
    return inside.get_payload() if inside is not None and inside.is_multipart() else None


def headers(part: Part) -> Iterator[tuple[str, str]]:
    """The headers of a part in order, decoded, bounded in number and length."""
    for name, value in list(part.raw_items())[:HEADERS]:
        yield stored(str(name))[:200], decoded(str(value)[:HEADER_BYTES])


def text_of(part: Part) -> str:
    """The text of a part, in its charset."""
    content = content_of(part)[: 2 * HTML_BYTES]
    try:
        charset = part.get_content_charset()
    except ERRORS:
        charset = None
    if charset is None and part.get_content_subtype() == "html":
        charset = of_page(content)
    return stored(decode(content, charset))


def content_of(part: Part) -> bytes:
    """The bytes of a part without their transfer encoding; an attached message as it was.

    Of the blocks of a report the first ones, and none with more fields than anybody writes.
    """
    # Whatever stands behind the word: the library knows the bare one alone.
    named = ENCODING.match(str(part.get("content-transfer-encoding", "")))
    if named:
        part.replace_header("content-transfer-encoding", named[1])
    try:
        if part.is_multipart():
            whole: Any = part.get_payload()
            joined = b"\r\n".join(
                each.as_bytes(policy=CRLF)
                for each in whole[:PARTS]
                if isinstance(each, Part) and len(each) <= WRITTEN_HEADERS
            )
            return _unpacked(joined) if named and named[1].lower() == "base64" else joined
        content = part.get_payload(decode=True)
    except ERRORS:
        return b""
    return content if isinstance(content, bytes) else b""


def _unpacked(content: bytes) -> bytes:
    """A message that came as Base64: forbidden, written all the same, and read past by the library.

    https://www.rfc-editor.org/rfc/rfc2046#section-5.2.1
    """
    try:
        return b64decode(b"".join(content.split()), validate=True)
    except Base64Error:
        return content  # it only says that it is


def _attachment(part: Part, kind: str, name: str | None) -> Attachment:
    content = content_of(part)
    content_id = decoded(str(part.get("content-id") or ""))
    return Attachment(
        filename=name or ("message.eml" if kind == "message/rfc822" else None),
        content_type=kind,
        size=len(content),
        content=content,
        content_id=content_id.strip("<> ")[:200] or None,
    )


def _kind(part: Part) -> str:
    kind = part.get_content_type()
    if part.get_content_maintype() == "multipart":
        return "text/plain"  # one whose boundary is missing: all that is left of it is text
    is_kind = re.fullmatch(r"[\w.+!#$&^-]+/[\w.+!#$&^-]+", kind, re.ASCII)
    return kind if is_kind else "application/octet-stream"


def _is_file(part: Part) -> bool:
    return part.get_content_disposition() == "attachment"


def _filename(part: Part) -> str | None:
    try:
        name = part.get_filename()
    except ERRORS:
        return None
    return decoded(name) if name else None


def _joined(texts: list[str], between: str, limit: int) -> str | None:
    return between.join(texts)[:limit] if texts else None
