"""A letter as values, from whoever read it, and the inbound message that it becomes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email import utils
from typing import Any, Final

from channels.email import to_mailbox
from channels.html import HTML_BYTES
from channels.http import parse_date
from channels.model import Attachment, Channel
from webhooks.mail.author import author
from webhooks.mail.headers import decoded, filename
from webhooks.mail.mime import Message
from webhooks.mail.quotations import new_text
from webhooks.mail.text import derived, sanitised
from webhooks.model import Inbound
from webhooks.values import stored

REFERENCES, RECIPIENTS, ATTACHMENTS = 50, 100, 100
MORE_FILES: Final = f"The mail has more than {ATTACHMENTS} files."
QUOTED_CHARACTERS = 64 * 2**10
TEXT_CHARACTERS = 2**20
SUBJECT_CHARACTERS = 998
HEADER_CHARACTERS = 64 * 2**10
# Of one header, and of all together.
ADDRESSES_CHARACTERS, ALL_ADDRESSES_CHARACTERS = 16 * 2**10, 32 * 2**10
# Newer Pythons would return nothing at all for a comma that they do not expect, be it in one header
# of many (https://docs.python.org/3/library/email.utils.html#email.utils.getaddresses).
LENIENT: Final[dict[str, Any]] = (
    {"strict": False} if getattr(utils, "supports_strict_parsing", False) else {}
)
ROUGH = re.compile(r"[\w.+-]{1,64}@[\w.-]{1,253}")
LINE_ENDS = re.compile(r"[\r\n\t]+")
# What our own mails can name again; other ids are kept as digests, or not at all.
ID = re.compile(r"<([!-;=?-~]{1,250})>")
BARE_ID = re.compile(r"[!-;=?-~]{1,250}")
RECIPIENT_HEADERS: Final = (
    "to", "cc", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to",
)  # fmt: skip
# For whom a server took the mail, where its `Received` says so: the one trace of a blind copy or of
# a mail that was passed on (https://www.rfc-editor.org/rfc/rfc5321#section-4.4).
RECEIVED_FOR = re.compile(
    r"(?<=\s)for\s{1,9}<?([^\s<>;,()]{1,64}@[^\s<>;,()]{1,255})", re.IGNORECASE
)
HOPS, HOP_CHARACTERS = 30, 2000

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """A mail that somebody wrote to us, as its provider or `webhooks.mail.mime` read it.

    `external_id` is the Message-ID ("" where it has none), addresses may still have names and
    <>; `sender` is that of the envelope, which counts where `from_address` holds no address;
    `headers` are all of its headers in order, decoded; `text` and `html` as they came.
    """

    external_id: str = ""
    from_address: str
    sender: str = ""
    to_address: str = ""
    recipients: tuple[str, ...] = ()
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    headers: Headers = ()
    attachments: tuple[Attachment, ...] = ()
    occurred_at: datetime | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def letter_of(
    message: Message,
    *,
    provider: str,
    recipients: Sequence[str],
    sender: str | None,
    detail: Mapping[str, Any],
) -> Letter:
    """A parsed message as a letter; the envelope's recipients come before those of the headers."""
    addressed = [*recipients, *message.all("to")]
    name, address = written_by(message)
    is_null = sender is not None and sender.strip() in {"", "<>"}
    told: dict[str, Any] = {"auto_submitted": True} if is_null else {}
    told |= {"from_name": name} if name else {}
    return Letter(
        external_id=message.first("message-id") or f"{provider}-{message.digest}",
        from_address=address,
        sender=sender or "",
        to_address=next(iter(mailboxes(addressed, most=1)), ""),
        recipients=tuple(recipients),
        subject=message.first("subject"),
        text=message.text,
        html=message.html,
        headers=message.headers,
        attachments=message.attachments,
        occurred_at=parse_date(message.first("date")),
        detail={**message.detail, **told, **detail},
    )


def written_by(message: Message) -> tuple[str, str]:
    """Name and mailbox of who wrote a message, by its From as it came, else by its Sender.

    Where that tells no author, "<>": nobody must read it in another way.
    """
    written = message.written("from") or message.written("sender")
    name, address = author(written, is_decoded=False)
    return " ".join(decoded(name).split())[:200], address or ("<>" if written else "")


def inbound(letter: Letter) -> Inbound:
    """The message that a letter is: new text apart from quoted, HTML made harmless."""
    named, _ = author(letter.from_address, is_decoded=True)
    whole = (letter.text or "")[:TEXT_CHARACTERS]
    if not whole.strip() and letter.html:
        whole = derived(letter.html)[:TEXT_CHARACTERS]
    whole = stored(whole).replace("\r\n", "\n")
    subject = letter.subject if letter.subject is not None else _first(letter.headers, "subject")
    subject = LINE_ENDS.sub(" ", stored(subject)).strip()[:SUBJECT_CHARACTERS]
    answered = tuple(references(letter.headers))
    new, quoted = new_text(whole, subject, is_answer=bool(answered))
    if is_receipt(letter.headers):  # what it says of the mail that was read is all that it says
        new, quoted = whole.strip(), ""
    told: dict[str, Any] = {
        "from_name": " ".join(decoded(named).split())[:200] or None,
        "quoted_text": quoted[:QUOTED_CHARACTERS] or None,
        "auto_submitted": is_automatic(letter.headers) or None,
    }
    told = {name: value for name, value in told.items() if value} | dict(letter.detail)
    if left_out := _left_out(letter):
        told["left_out"] = " ".join(filter(None, [told.get("left_out"), *left_out]))
    sender, recipients = _sender(letter), tuple(_recipients(letter))
    # Told, and nothing else: whom a stranger names there did not write, and is not answered.
    if (wanted := _answers_wanted_at(letter)) and wanted.lower() != sender.lower():
        told["reply_to"] = wanted
    to = mailboxes([letter.to_address]) or recipients[:1] or (stored(letter.to_address)[:254],)
    return Inbound(
        external_id=external_id(letter),
        channel=Channel.EMAIL,
        from_address=sender,
        to_address=to[0],
        body=new,
        subject=subject or None,
        html_body=sanitised(letter.html) if letter.html else None,
        attachments=tuple(map(_attachment, letter.attachments[:ATTACHMENTS])),
        references=answered,
        recipients=recipients,
        occurred_at=letter.occurred_at or parse_date(_first(letter.headers, "date")),
        detail=told,
    )


def _left_out(letter: Letter) -> list[str]:
    """What is not kept, in words: nobody would know of it."""
    is_long = len(letter.text or "") > TEXT_CHARACTERS
    is_large = len(letter.html or "") > HTML_BYTES
    return [
        *([f"Its text has more than {TEXT_CHARACTERS} characters."] if is_long else []),
        *([f"Its HTML has more than {HTML_BYTES} characters."] if is_large else []),
        *([MORE_FILES] if len(letter.attachments) > ATTACHMENTS else []),
    ]


def _sender(letter: Letter) -> str:
    """Who wrote it; without any author, the envelope's sender."""
    _, wrote = author(letter.from_address, is_decoded=True)
    return next(iter(mailboxes([wrote]) or mailboxes([letter.sender])), "")


def _answers_wanted_at(letter: Letter) -> str:
    """The mailboxes of Reply-To: who filled in a form on a web site, say, that sends it as its own.

    https://www.rfc-editor.org/rfc/rfc5322#section-3.6.2
    """
    named = [value for name, value in letter.headers if name.lower() == "reply-to"]
    return ", ".join(mailboxes(named, most=5))


def mailboxes(texts: Iterable[str], *, most: int = RECIPIENTS) -> tuple[str, ...]:
    """The bare mailboxes of address headers, in order, each once."""
    found: dict[str, None] = {}
    for address in _addresses(texts):
        text = stored(address).strip()
        if "@" in text and len(text) <= 320:
            # An odd address is kept as it is: somebody wrote from it.
            found.setdefault(to_mailbox(text) or "".join(text.split()))
        if len(found) >= most:
            break
    return tuple(found)


def _addresses(texts: Iterable[str]) -> Iterator[str]:
    """The addresses of one header after the other, as they are slow to read, within a bound.

    Those of a header that is built to break the library are read roughly.
    """
    left = ALL_ADDRESSES_CHARACTERS
    for text in texts:
        given = text[: min(left, ADDRESSES_CHARACTERS)]
        left -= len(given)
        try:
            found = [address for _, address in utils.getaddresses([given], **LENIENT)]
        except (RecursionError, ValueError, IndexError):
            found = ROUGH.findall(given)
        yield from found


def references(headers: Headers) -> list[str]:
    """The Message-IDs that a mail answers, without <>, the nearest first."""
    nearest = [each for name, v in headers if name.lower() == "in-reply-to" for each in _ids(v)]
    chain = [each for name, v in headers if name.lower() == "references" for each in _ids(v)]
    return list(dict.fromkeys([*nearest, *reversed(chain)]))[:REFERENCES]


def is_automatic(headers: Headers) -> bool:
    """Whether a robot wrote it, by RFC 3834 and by what robots say that do not know it."""
    given = {name.lower(): value.strip().lower() for name, value in reversed(headers)}
    submitted = given.get("auto-submitted", "no").partition(";")[0].strip()
    return (
        submitted not in {"", "no"}
        or is_receipt(headers)
        or given.get("precedence", "") in {"bulk", "junk", "auto_reply"}
        or given.get("return-path") == "<>"
        or any(
            name in given for name in ("x-autoreply", "x-autorespond", "x-auto-response-suppress")
        )
    )


def is_receipt(headers: Headers) -> bool:
    """Whether it is a program's word that a mail was read, or was not (RFC 8098)."""
    kind = _first(headers, "content-type").strip().lower()
    return kind.startswith("multipart/report") and "disposition-notification" in kind


def _ids(value: str) -> list[str]:
    return ID.findall(stored(value[:HEADER_CHARACTERS]))


def _first(headers: Headers, wanted: str) -> str:
    return next((value for name, value in headers if name.lower() == wanted), "")


def external_id(letter: Letter) -> str:
    """Its Message-ID, else one made of what it says: the same when it comes again."""
    given = letter.external_id or _first(letter.headers, "message-id")
    found = _ids(given)
    bare = found[0] if found else "".join(stored(given).split()).strip("<>")
    if BARE_ID.fullmatch(bare):
        return bare
    parts = (given, letter.from_address, letter.subject, letter.text, letter.html)
    told = "\0".join(part or "" for part in parts).encode(errors="replace")
    return "mail-" + hashlib.sha256(told).hexdigest()[:40]


def _recipients(letter: Letter) -> list[str]:
    headers = [value for name, value in letter.headers if name.lower() in RECIPIENT_HEADERS]
    hops = [value for name, value in letter.headers if name.lower() == "received"][:HOPS]
    taken_for = [each for hop in hops for each in RECEIVED_FOR.findall(hop[:HOP_CHARACTERS])]
    return list(mailboxes([*letter.recipients, letter.to_address, *taken_for, *headers]))


def _attachment(given: Attachment) -> Attachment:
    content_id = stored(given.content_id or "").strip().strip("<>")[:200]
    return Attachment(
        url=given.url,
        # Encoded words are for other headers, and some providers leave them in a name.
        filename=filename(decoded(given.filename or "")),
        content_type=stored(given.content_type or "")[:200] or None,
        size=len(given.content) if given.content is not None else given.size,
        content=given.content,
        content_id=content_id or None,
    )
