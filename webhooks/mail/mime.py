"""A MIME message (RFC 5322, 2045-2049, 2231) as plain values, however malformed it is.

The library's older policy is used on purpose: its newer one parses headers by grammar, and fails or
takes very long on malformed ones. `parts` bounds the cost; nothing raises.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from channels.html import HTML_BYTES, TEXT_BYTES
from channels.model import Attachment
from webhooks.mail.charsets import decode, of_page, piece
from webhooks.mail.flowed import is_broken, unbroken
from webhooks.mail.headers import HEADER_BYTES, decoded, unfolded
from webhooks.mail.names import name_of
from webhooks.mail.parts import ERRORS, KIND, Part, encoding_of, tree
from webhooks.mail.pictures import taken_out
from webhooks.mail.written import Written
from webhooks.values import stored

PARTS, HEADERS = 200, 300
# Types of text for programs. Other unknown types of text are read as plain text if a letter begins
# with one (https://www.rfc-editor.org/rfc/rfc2046#section-4.1.4).
FOR_PROGRAMS: Final = frozenset(
    {"text/calendar", "text/csv", "text/directory", "text/rfc822-headers", "text/vcard",
     "text/x-vcard", "text/xml"}
)  # fmt: skip
CUT: Final = "The mail was too deep or too long to be read in whole."


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One mail: its headers decoded, its texts joined, its files; `root` is the tree of its parts,
    `charset` that of its text."""

    root: Part
    digest: str
    headers: tuple[tuple[str, str], ...]
    text: str | None = None
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)
    charset: str | None = None

    def all(self, name: str) -> list[str]:
        """Every value of a header, in order."""
        return [value for given, value in self.headers if given.lower() == name]

    def first(self, name: str) -> str | None:
        """The first value of a header, or None."""
        return next(iter(self.all(name)), None)

    def written(self, name: str) -> str:
        """The first value of a header with its encoded words as they are; "" for none."""
        return unfolded(self._raw(name))

    def named(self, name: str, header: str) -> str:
        """A name in a header, decoded from the header's 8-bit bytes."""
        data = self._raw(header).encode(errors="surrogateescape")
        return decoded(piece(name, data, self.charset))

    def _raw(self, name: str) -> str:
        found = (value for given, value in self.root.raw_items() if str(given).lower() == name)
        return str(next(found, ""))


def parse(raw: bytes) -> Message:
    """A mail as it came over the wire; what cannot be read is left out, and nothing is raised."""
    # Some programs begin with a BOM, with which no header would be read.
    raw = raw.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n")
    if raw.startswith((b"From ", b">From ")):  # an mbox's first line
        raw = raw.partition(b"\n")[2]
    digest = hashlib.sha256(raw).hexdigest()[:40]
    detail: dict[str, Any] = {}
    root, is_whole = tree(raw)
    if not is_whole:
        detail["left_out"] = CUT
    found = list(islice(leaves(root), PARTS + 1))
    if len(found) > PARTS:
        detail["left_out"] = f"The mail has more than {PARTS} parts."
    charset = next(filter(None, (charset_of(leaf.part) for leaf in found)), None)
    written = Written()
    files: list[Attachment] = []
    pictures: list[Attachment] = []
    for number, leaf in enumerate(found[:PARTS]):
        part, kind, name = leaf.part, _kind(leaf.part), name_of(leaf.part, charset)
        begins = number == 0 and leaf.form_of is None and name is None
        is_text = not _is_file(part) and (
            kind in {"text/plain", "text/html"} or (begins and _is_other_text(kind))
        )
        # Some programs give a name to the text itself, too, but not in its disposition.
        is_first = (
            number == 0 and "filename" not in str(part.get("content-disposition", "")).lower()
        )
        is_written = is_text and (leaf.is_all or is_first or name is None)
        is_page = kind == "text/html"
        # A text for which there is no room is not decoded: some charsets are slow.
        if is_written and written.has_room(is_page=is_page):
            content, within = taken_out(content_of(part)) if is_page else (content_of(part), [])
            written.add(text_of(part, content), leaf.form_of, is_page=is_page)
            pictures += within
        # A text with a file name that is too long to be kept whole is kept as a file, too.
        most = HTML_BYTES if is_page else TEXT_BYTES
        if not is_written or (name is not None and len(content_of(part)) > most):
            files.append(_attachment(part, kind, name))
    return Message(
        root=root,
        digest=digest,
        headers=tuple(headers(root, charset)),
        text=written.text(),
        html=written.html(),
        attachments=(*files, *pictures),  # of too many files the last are left out
        detail=detail,
        charset=charset,
    )


@dataclass(frozen=True, slots=True)
class Leaf:
    """A part without parts. `is_all`: it is the whole mail, or all of one alternative.

    `form_of` is the outermost multipart/alternative around it, if any.
    """

    part: Part
    is_all: bool = True
    form_of: Part | None = None


def leaves(part: Part, depth: int = 0) -> Iterator[Leaf]:
    """The parts without parts, in order; an attached message is one, too."""
    # Of any other part the library would read the text here, and raise where it cannot.
    children: Any = part.get_payload() if part.is_multipart() else depth == 0 and _packed(part)
    if not isinstance(children, list):
        yield Leaf(part)
        return
    is_form = part.get_content_subtype() == "alternative"
    for child in children:
        for leaf in leaves(child, depth + 1):
            yield Leaf(
                leaf.part,
                is_form if leaf.part is child else leaf.is_all,
                part if is_form else leaf.form_of,
            )


def _packed(part: Part) -> object:
    """The parts of a multipart mail that is in Base64 as a whole, as SAP's servers send them; None
    for any other (https://github.com/zbateson/mail-mime-parser/issues/202)."""
    if encoding_of(part) != "base64" or part.get_content_maintype() != "multipart":
        return None
    kind = f"Content-Type: {part.get('content-type')}\r\n\r\n".encode(errors="replace")
    inside, _ = tree(kind + content_of(part))
    return inside.get_payload() if inside.is_multipart() else None


def headers(part: Part, charset: str | None) -> Iterator[tuple[str, str]]:
    """The headers of a part in order, decoded, bounded in number and length.

    `charset` is that of its text, and used for the subject, which has no structure.
    """
    for name, value in list(part.raw_items())[:HEADERS]:
        named = charset if str(name).lower() == "subject" else None
        yield stored(str(name))[:200], decoded(str(value)[:HEADER_BYTES], named)


def text_of(part: Part, content: bytes) -> str:
    """The text of a part with this content, decoded in its charset."""
    content = content[: 2 * HTML_BYTES]
    charset = charset_of(part)
    if charset is None and part.get_content_subtype() == "html":
        charset = of_page(content)
    text = stored(decode(content, charset)).removeprefix("\ufeff")
    return unbroken(text) if is_broken(part) else text


def charset_of(part: Part) -> str | None:
    """The charset that a part names, or None."""
    try:
        return part.get_content_charset()
    except ERRORS:
        return None


def content_of(part: Part) -> bytes:
    """The bytes of a part without their transfer encoding."""
    if encoding := encoding_of(part):  # the library knows the bare word alone
        part.replace_header("content-transfer-encoding", encoding)
    try:
        content = part.get_payload(decode=True)
    except ERRORS:
        return b""
    return content if isinstance(content, bytes) else b""


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
        return "text/plain"  # its boundary is missing, so that it is only a text
    return kind if KIND.fullmatch(kind) else "application/octet-stream"


def _is_other_text(kind: str) -> bool:
    return kind.startswith("text/") and kind not in FOR_PROGRAMS


def _is_file(part: Part) -> bool:
    return part.get_content_disposition() == "attachment"
