"""Headers of mails (RFC 5322, 2047) and names of files as text, however malformed they are."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from binascii import a2b_qp

from channels import filenames
from webhooks.mail.charsets import decode, unlabelled
from webhooks.values import stored

HEADER_BYTES = 64 * 2**10
FILENAME_CHARACTERS = 150
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202f\u2066-\u2069\ufeff]")
WORD = re.compile(r"=\?([^?\s]{1,60})\?([bq])\?([^?]*)\?=", re.IGNORECASE)


def decoded(raw: str, charset: str | None = None) -> str:
    """A header's text: lines unfolded, encoded words (RFC 2047) and plain 8-bit bytes decoded.

    Adjacent words with the same charset are decoded together: some programs cut characters in two.
    `charset` is that of the mail's text, for a header without structure.
    """
    text = shifted(unfolded(raw, charset))
    done: list[str] = []
    charset, pending, at = "", b"", 0
    for match in WORD.finditer(text):
        between = text[at : match.start()]
        if pending and (between.strip() or match[1].lower() != charset):
            done.append(decode(pending, charset))
            pending = b""
        if between.strip() or not at:
            done.append(between)
        charset, at = match[1].lower(), match.end()
        pending += _word(match[2].lower(), match[3])
    return stored("".join([*done, decode(pending, charset), text[at:]]))


def unfolded(raw: str, charset: str | None = None) -> str:
    """A header's text on one line, its 8-bit bytes decoded, which the parser keeps as surrogates.

    Without a charset all ASCII characters stay what they are, because they are the structure.
    """
    text = re.sub(r"[\r\n]+[ \t]*", " ", raw[:HEADER_BYTES]).strip()
    return text if text.isascii() else unlabelled(text.encode(errors="surrogateescape"), charset)


def shifted(text: str) -> str:
    """A header's text with ISO-2022-JP decoded, which is written in ASCII and escapes."""
    return decode(text.encode(), None) if "\x1b" in text and text.isascii() else text


def _word(encoding: str, text: str) -> bytes:
    """The bytes of one encoded word; those of its text if that is malformed."""
    data = text.encode()
    try:
        if encoding == "b":
            return b64decode(data + b"=" * (-len(data) % 4))
        return a2b_qp(data, header=True)
    except Base64Error:
        return data


def filename(given: str | None) -> str | None:
    """A file's name without path and invisible characters; None if nothing is left."""
    name = UNSEEN.sub("", re.split(r"[/\\]", stored(given or ""))[-1])
    name = " ".join(name.replace('"', "").split()).strip(". ")
    return filenames.cut(name, FILENAME_CHARACTERS) or None
