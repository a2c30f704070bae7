"""A mail as MIME (RFC 5322, 2045-2047, 2231, 8058), for SMTP and providers that take raw messages.

The library folds long words into encoded words, which destroys List-Unsubscribe URLs and breaks
threads. So headers with ids and URLs are folded here, only at spaces; so is Subject, to keep every
character. All content is 7-bit: no server has to rewrite it, and DKIM signatures stay valid.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64encode
from datetime import UTC, datetime
from email.message import EmailMessage, MIMEPart
from email.policy import EmailPolicy
from email.utils import format_datetime
from typing import Final

from channels.email import bytes_of
from channels.errors import Refused
from channels.model import Attachment, Outbound

UNFOLDED: Final = frozenset(
    {
        "message-id", "in-reply-to", "references", "list-unsubscribe", "list-unsubscribe-post",
        "content-id",
    }
)  # fmt: skip
ADDRESSES = frozenset({"from", "to", "reply-to"})
MAILBOX = re.compile(r"[^\s<>,;:\"()\[\]\\@]{1,128}@[A-Za-z0-9.-]{1,253}")
LINE = 998
REFERENCES = 20
# A line with encoded words has at most 76 characters (RFC 2047 §2): 45 bytes are 60 characters of
# base64, and 39 are 52, which leaves room for "Subject: ".
WORD_BYTES, FIRST_WORD_BYTES = 45, 39
PLAIN_SUBJECT = re.compile(r"(?!.*=\?)(?!.*  )[!-~](?:[ -~]{0,64}[!-~])?")


class Policy(EmailPolicy):
    """The policy for SMTP, except for the headers that we fold ourselves."""

    def header_store_parse(self, name: str, value: str) -> tuple[str, str]:
        """The header as it is stored: in those that we fold ourselves the library would decode what
        looks like an encoded word, which changes the text or fails."""
        is_ours = name.lower() in ADDRESSES | UNFOLDED | {"subject"}
        return (name, value) if is_ours else super().header_store_parse(name, value)

    def fold(self, name: str, value: str) -> str:
        """One header, as text."""
        return self._own(name, value) or super().fold(name, value)

    def fold_binary(self, name: str, value: str) -> bytes:
        """One header, as bytes."""
        own = self._own(name, value)
        return own.encode() if own else super().fold_binary(name, value)

    def _own(self, name: str, value: str) -> str | None:
        if name.lower() in ADDRESSES:
            return f"{name}: {value}{self.linesep}"
        if name.lower() in UNFOLDED:
            return f"{name}: " + f"{self.linesep} ".join(str(value).split()) + self.linesep
        if name.lower() == "subject":
            return f"{name}: " + f"{self.linesep} ".join(_words(str(value))) + self.linesep
        return None


POLICY: Final = Policy(linesep="\r\n", cte_type="7bit", raise_on_defect=False)


def _words(text: str) -> list[str]:
    """A subject as it is if that is safe, else as encoded words of whole characters."""
    if PLAIN_SUBJECT.fullmatch(text):
        return [text]
    chunks: list[bytes] = []
    chunk = b""
    for character in text:
        data = character.encode()
        if len(chunk) + len(data) > (WORD_BYTES if chunks else FIRST_WORD_BYTES):
            chunks.append(chunk)
            chunk = b""
        chunk += data
    return [f"=?utf-8?b?{b64encode(each).decode()}?=" for each in [*chunks, chunk]]


def build(outbound: Outbound, *, date: datetime | None = None) -> EmailMessage:
    """The mail of a message, dated `date` or now; raises `Refused` for an impossible header."""
    content, mail = outbound.content, outbound.mail
    if mail is None:
        raise Refused("An e-mail has no Message-ID.", code="content")
    message = EmailMessage(POLICY)
    message["From"] = _address(outbound.from_address)
    message["To"] = _address(outbound.to_address)
    if mail.reply_to:
        message["Reply-To"] = _address(mail.reply_to)
    message["Subject"] = _line(content.subject or "")
    message["Date"] = format_datetime(date or datetime.now(UTC))
    message["Message-ID"] = _id(mail.message_id)
    if mail.in_reply_to:
        message["In-Reply-To"] = _id(mail.in_reply_to)
    if mail.references:
        # The first is where the thread began, the last ones are where it is now.
        kept = dict.fromkeys([*mail.references[:1], *mail.references[-REFERENCES:]])
        message["References"] = " ".join(map(_id, kept))
    if mail.unsubscribe_url:
        message["List-Unsubscribe"] = _id(mail.unsubscribe_url)
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(content.body)
    if content.html_body:
        _add_html(message, content.html_body, content.attachments)
    for attachment in content.attachments:
        if not _is_inline(attachment, content.html_body):
            _attach(message, attachment)
    return message


def as_bytes(outbound: Outbound, *, date: datetime | None = None) -> bytes:
    """The mail of a message as it is transferred, with CRLF; raises `Refused`."""
    return build(outbound, date=date).as_bytes(policy=POLICY)


def needs_smtputf8(outbound: Outbound) -> bool:
    """Whether an address needs the extension of RFC 6531; domains are already in ASCII."""
    reply_to = outbound.mail.reply_to or "" if outbound.mail else ""
    return not (outbound.from_address + outbound.to_address + reply_to).isascii()


def _add_html(message: EmailMessage, html: str, attachments: tuple[Attachment, ...]) -> None:
    message.add_alternative(html, subtype="html")
    page = next(part for part in message.iter_parts() if part.get_content_subtype() == "html")
    for attachment in attachments:
        if _is_inline(attachment, html):
            _attach(page, attachment, is_inline=True)


def _is_inline(attachment: Attachment, html: str | None) -> bool:
    return bool(attachment.content_id and f"cid:{attachment.content_id}" in (html or ""))


def _attach(message: MIMEPart, attachment: Attachment, *, is_inline: bool = False) -> None:
    base, _, rest = (attachment.content_type or "").partition(";")
    kind, _, subtype = base.strip().lower().partition("/")
    if not re.fullmatch(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", f"{kind}/{subtype}", re.ASCII) or kind in {
        "message",  # may not be in base64 (RFC 2046 §5.2.1), so it could be changed on the way
        "multipart",
    }:
        kind, subtype = "application", "octet-stream"
    charset = re.search(r"charset\s*=\s*\"?([\w.:-]{1,40})", rest, re.ASCII | re.IGNORECASE)
    add = message.add_related if is_inline else message.add_attachment
    add(
        bytes_of(attachment),
        maintype=kind,
        subtype=subtype,
        disposition="inline" if is_inline else "attachment",
        filename=_name(attachment.filename) if attachment.filename else None,
        cid=_id(attachment.content_id) if attachment.content_id else None,
        params={"charset": charset[1]} if charset and kind == "text" else None,
    )


def _address(mailbox: str) -> str:
    if MAILBOX.fullmatch(mailbox) is None:
        raise Refused("An address of the mail is not a mailbox.", code="address")
    return _line(mailbox)


def _id(text: str) -> str:
    """An id or URL in <>; must be one word that fits into a line."""
    if re.search(r"[\s<>]", text) or not text.isprintable() or not 0 < len(text) < LINE - 2:
        raise Refused("An id or URL of the mail's headers has characters it cannot have.")
    return f"<{text}>"


def _name(filename: str) -> str | tuple[str, str, str]:
    """A file's name, in a form in which the library decodes no encoded word."""
    name = _line(filename)
    return ("utf-8", "", name) if "=?" in name else name


def _line(text: str) -> str:
    """A header's text, without anything that ends a line."""
    if any(unicodedata.category(each) in {"Cc", "Cs", "Zl", "Zp"} for each in text):
        raise Refused("A header of the mail has line breaks or control characters.", code="header")
    return text
