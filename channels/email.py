"""E-mail: the normal form of mailboxes; text, HTML and files as the content of a mail."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from email_validator import EmailNotValidError, ValidatedEmail, validate_email

from channels import filenames
from channels.errors import ContentError, Refused, raise_all, tried
from channels.html import HTML_BYTES, TEXT_BYTES, from_text, looks_like_html, to_text
from channels.model import Attachment, Content, Mail
from channels.styles import TooComplex, inline_styles
from channels.text import is_control, is_sendable

__all__ = ["compose", "key", "looks_like_html", "spellings", "to_mailbox", "to_text", "topic"]

MAILBOX_CHARACTERS = 254
SUBJECT_CHARACTERS = 998
TOPIC_CHARACTERS = 200
ATTACHMENTS = 20
ATTACHMENT_BYTES = 20 * 2**20

CONTENT_TYPE = re.compile(
    r"[A-Za-z0-9][\w!#$&^.+-]{0,126}/[A-Za-z0-9][\w!#$&^.+-]{0,126}"
    r"(?:\s*;\s*[\w!#$&^.+-]+=(?:[\w!#$&^.+:/-]+|\"[^\"\\\r\n]*\"))*",
    re.ASCII,
)
# Mail providers refuse these files, and some of them the whole mail.
# https://support.google.com/mail/answer/6590
EXECUTABLES: Final = frozenset(
    {
        "ade", "adp", "apk", "appx", "bat", "cab", "chm", "cmd", "com", "cpl", "dll", "dmg", "exe",
        "hta", "ins", "isp", "jar", "js", "jse", "lib", "lnk", "mde", "msc", "msi", "msix", "msp",
        "mst", "pif", "ps1", "reg", "scr", "sct", "shb", "sys", "vb", "vbe", "vbs", "vxd", "wsc",
        "wsf", "wsh",
    }
)  # fmt: skip

SPECIAL = re.compile(r"[@.](?:localhost|invalid)$", re.IGNORECASE)

# "Re:", "AW:", "Fwd:" and the like, also with a number ("Re[2]:", "RE (3):").
PREFIX = re.compile(
    r"\s*(?:re|aw|antw|antwort|fwd?|wg|sv|vs|vb|vl|rv|tr|ref|res|rif|ri|odp|pd|ynt|i̇lt|ilt|enc|bls"
    r"|doorst|vá|továbbítás|回复|回覆|答复|转发|轉寄|σχετ|πρθ|отв)"
    r"\s*(?:\[\d{1,4}\]|\(\d{1,4}\)|\^\d{1,4})?\s*[:：]",
    re.IGNORECASE,
)


def to_mailbox(text: str) -> str | None:
    """A bare mailbox in its normal form; None if the text is not a mailbox.

    The domain is in lower case and in ASCII (IDNA). The local part stays as given; if it is not
    ASCII, it is in lower case, because which letters PostgreSQL folds depends on its locale.
    Display names, lists and line ends are refused; domains for tests (`.test`, `.example`,
    `.invalid`, `localhost`) are accepted.
    """
    if len(text) > MAILBOX_CHARACTERS or any(map(is_control, text)):
        return None
    # The library refuses these two as special-use domains, but accepts them below `.test`.
    is_local = SPECIAL.search(text) is not None
    found = _read(text + ".test" if is_local else text)
    if found is None:
        return None
    domain = found.ascii_domain.lower()
    domain = domain.removesuffix(".test") if is_local else domain
    if "." not in domain and domain != "localhost":
        return None
    local = found.local_part
    small = local if local.isascii() else unicodedata.normalize("NFC", local.lower())
    return f"{small}@{domain}"


def _read(text: str) -> ValidatedEmail | None:
    try:
        return validate_email(
            text,
            check_deliverability=False,
            globally_deliverable=False,
            test_environment=True,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
        )
    except EmailNotValidError:
        return None


def headers(mail: Mail, most_references: int | None = None) -> dict[str, str]:
    """The headers that place a mail in its thread and let its reader unsubscribe.

    Of the references, the first is kept, where the thread began, and the last `most_references`,
    where it is now.
    """
    named = {"Message-ID": f"<{mail.message_id}>"}
    if mail.in_reply_to:
        named["In-Reply-To"] = f"<{mail.in_reply_to}>"
    if kept := mail.references:
        if most_references is not None:
            kept = tuple(dict.fromkeys([*kept[:1], *kept[-most_references:]]))
        named["References"] = " ".join(f"<{each}>" for each in kept)
    if mail.unsubscribe_url:
        named["List-Unsubscribe"] = f"<{mail.unsubscribe_url}>"
        named["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    # The ids of received mails are untrusted: a line break in one must not add a header.
    return {name: " ".join(value.split()) for name, value in named.items()}


def bytes_of(attachment: Attachment) -> bytes:
    """The content of a mail's file; raises `Refused` if a worker has not fetched it."""
    if attachment.content is None:
        raise Refused("An attachment of this mail was not fetched.", code="attachment")
    return attachment.content


def key(mailbox: str) -> str:
    """The form in which mailboxes are compared: all in lower case."""
    return mailbox.strip().lower()


def spellings(mailbox: str) -> tuple[str, ...]:
    """The keys under which a mailbox may be recorded: as given, with its domain in ASCII (our
    normal form), and with its domain in Unicode."""
    given = key(mailbox)
    found = None if given.isascii() and "xn--" not in given else _read(given)
    domains = (found.ascii_domain, found.domain) if found and found.ascii_domain else ()
    local = given.rpartition("@")[0]
    return tuple(dict.fromkeys([given, *(f"{local}@{key(domain)}" for domain in domains)]))


def topic(subject: str) -> str:
    """A subject without Re: and the like, case-folded, for finding the conversation."""
    text = " ".join(subject[: 4 * SUBJECT_CHARACTERS].split())
    while match := PREFIX.match(text):
        text = text[match.end() :]
    return " ".join(text.casefold().split())[:TOPIC_CHARACTERS].rstrip()


def compose(
    *,
    subject: str | None,
    body: str | None,
    html_body: str | None = None,
    attachments: Sequence[Attachment] = (),
    is_html: bool = False,
    is_inlined: bool = False,
    most: int | None = None,
) -> Content:
    """The content of a mail, as text and HTML; raises `ContentError` with everything that is wrong.

    `is_html` says that `body` is HTML (a template's content may be either). If one of the two is
    missing, it is derived from the other; a derived text is cut to what may be sent. Styles are
    inlined into the elements, unless `is_inlined` says that they already are. `most` is how many
    bytes the whole mail may have at its provider, with its files in base64.
    """
    wrong: list[ContentError] = []
    line = tried(wrong, _subject, subject) or ""
    text, markup = tried(wrong, _halves, body, html_body, is_html, is_inlined) or (None, None)
    files = tried(wrong, _attachments, attachments) or ()
    raise_all(wrong)
    content = Content(
        subject=line,
        body=text if text is not None else to_text(markup or ""),
        html_body=markup if markup is not None else from_text(text or ""),
        attachments=tuple(files),
    )
    # Without files it is smaller: texts have limits of their own.
    if most is not None and files and _least_size(content) > most:
        says = f"The mail is larger than the {most // 2**20} MB that its provider takes, in which "
        raise ContentError("attachments", says + "files count a third more than they have.")
    return content


def _halves(
    body: str | None,
    html_body: str | None,
    is_html: bool,  # noqa: FBT001 - passed on from `compose`
    is_inlined: bool,  # noqa: FBT001
) -> tuple[str | None, str | None]:
    if is_html:
        body, html_body = None, html_body or body
    field = "body" if is_html else "html_body"
    text = _text(body, "body", TEXT_BYTES) if body and body.strip() else None
    markup = _text(html_body, field, HTML_BYTES) if html_body and html_body.strip() else None
    if text is None and markup is None:
        raise ContentError("body", "A mail needs a text.")
    if markup is not None and not is_inlined:
        try:
            markup = inline_styles(markup)
        except TooComplex as error:
            raise ContentError(field, f"The HTML cannot be used: {error}.") from error
    return text, markup


def _subject(subject: str | None) -> str:
    line = (subject or "").strip(" ")
    if not line:
        raise ContentError("subject", "A mail needs a subject.")
    if len(line) > SUBJECT_CHARACTERS:
        raise ContentError(
            "subject", f"The subject is longer than {SUBJECT_CHARACTERS} characters."
        )
    if any(map(is_control, line)):
        raise ContentError("subject", "The subject has line breaks or control characters.")
    return line


def _text(text: str, field: str, limit: int) -> str:
    """The text with LF as line ends; raises `ContentError` if it is too large or cannot be sent."""
    if len(text) > limit or len(text.encode(errors="replace")) > limit:
        raise ContentError(field, f"It is larger than {limit // 2**20} MiB.")
    if not is_sendable(text):
        raise ContentError(field, "It has characters that cannot be sent (NUL, lone surrogates).")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _attachments(attachments: Sequence[Attachment]) -> Sequence[Attachment]:
    if len(attachments) > ATTACHMENTS:
        raise ContentError("attachments", f"A mail takes at most {ATTACHMENTS} attachments.")
    for each in attachments:
        _check_attachment(each)
    if sum(_size(each) for each in attachments) > ATTACHMENT_BYTES:
        raise ContentError(
            "attachments",
            f"The attachments together are larger than {ATTACHMENT_BYTES // 2**20} MiB.",
        )
    return attachments


def _size(attachment: Attachment) -> int:
    return len(attachment.content) if attachment.content is not None else attachment.size or 0


def _least_size(content: Content) -> int:
    """Bytes that a mail has at least when it is transferred."""
    texts = len(content.body.encode()) + len((content.html_body or "").encode())
    return texts + sum(4 * ((_size(each) + 2) // 3) for each in content.attachments)


def _check_attachment(attachment: Attachment) -> None:
    name = attachment.filename
    filenames.check(name)
    if name is not None:
        ending = name.rstrip(" .").rpartition(".")[2].lower()
        if "." in name and ending in EXECUTABLES:
            raise ContentError(
                "attachments", f"Files that are programs (.{ending}) are refused by mail providers."
            )
    if attachment.content_type is not None and not CONTENT_TYPE.fullmatch(attachment.content_type):
        raise ContentError("attachments", "A content type has the form image/png.")
    if attachment.content_id is not None and not re.fullmatch(
        r"[!#-;=?-~]{1,200}", attachment.content_id
    ):
        raise ContentError("attachments", "A content id is a word without spaces and brackets.")
