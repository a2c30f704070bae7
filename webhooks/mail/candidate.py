"""A mail that may be a report, in one form, whether a provider parsed it or `mime`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from channels.model import Attachment
from webhooks.mail.author import author
from webhooks.mail.letter import Letter, external_id, written_by
from webhooks.mail.mime import Message
from webhooks.mail.parts import Part
from webhooks.values import stored

PARTS, SCANNED = 50, 64 * 2**10
ROBOT = re.compile(
    # MDaemon is a mail server; the last one is Exchange's, with an id for each server.
    r"(?:mailer-daemon|mail-daemon|mailerdaemon|mdaemon|microsoftexchange[0-9a-f]{32})@",
    re.IGNORECASE,
)
POSTMASTER = re.compile("postmaster@", re.IGNORECASE)
MESSAGE_ID = re.compile(  # some complaints leave its <> out
    r"^[> \t]*message-id:[ \t]*(?:\n[ \t]+)?"
    r"<?((?<=<)[^<>\s]{1,500}(?=>)|[^<>\s@]{1,250}@[^<>\s@]{1,250})",
    re.IGNORECASE | re.MULTILINE,
)
COPIES: Final = (
    "message/rfc822", "message/global", "text/rfc822-headers",
    "message/rfc822-headers",  # MailSite's
)  # fmt: skip
REPORT: Final = "multipart/report"
NO_KINDS: Final = ("", "application/octet-stream", "text/plain")
STATUS = re.compile(
    r"\s*(?:reporting-mta|final-recipient|original-envelope-id)[ \t]*:", re.IGNORECASE
)
COMPLAINT = re.compile(r"^feedback-type[ \t]*:", re.IGNORECASE | re.MULTILINE)
FIELD = re.compile(r"\s*[\w-]+[ \t]*:", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A mail that may be a report. `name` identifies it, also if it comes again; `parts` are those
    that are no text.

    `is_report`: it says that it is one; `sender` is that of the envelope ("" is the empty one of
    bounces), or None; `author` is the mailbox in its From.
    """

    name: str
    author: str
    headers: Sequence[tuple[str, str]]
    text: str | None = None
    html: str | None = None
    parts: Sequence[Attachment] = field(default=(), repr=False)
    is_report: bool = False
    sender: str | None = None

    def first(self, name: str) -> str | None:
        """The first value of a header, or None."""
        return next((value for given, value in self.headers if given.lower() == name), None)

    def of_kind(self, ending: str) -> list[Attachment]:
        """The parts whose type has this ending."""
        return [part for part in self.parts[:PARTS] if _kind(part).endswith(ending)]

    @property
    def is_from_daemon(self) -> bool:
        """Whether a mail server wrote it: it has the empty sender, or a well-known author."""
        return self.is_by_daemon or self.is_without_sender

    @property
    def is_by_daemon(self) -> bool:
        """Whether its author is a well-known name of mail servers."""
        return any(each.match(self.author) for each in (ROBOT, POSTMASTER))

    @property
    def is_without_sender(self) -> bool:
        """Whether its sender is empty, so that no bounce is sent to it."""
        is_null = self.sender is not None and self.sender.strip() in {"", "<>"}
        return is_null or self.first("return-path") == "<>"

    @property
    def is_no_persons(self) -> bool:
        """Whether no person wrote it; a postmaster may be one."""
        submitted = (self.first("auto-submitted") or "").partition(";")[0].strip().lower()
        is_robots = ROBOT.match(self.author) is not None
        return is_robots or self.is_without_sender or submitted not in {"", "no"}

    @property
    def is_microsofts_complaint(self) -> bool:
        """Whether it is of Outlook.com's feedback loop, which forwards the mail without a report
        (https://github.com/sisimai/p5-sisimai/blob/master/lib/Sisimai/ARF.pm)."""
        is_theirs = self.author.strip("<>").lower() == "staff@hotmail.com"
        is_one = (self.first("subject") or "").startswith("complaint about message from ")
        return is_theirs and is_one and self.original is not None

    @property
    def original(self) -> str | None:
        """The Message-ID of the mail that a report is about, from its copy in the report."""
        for part in self.parts[:PARTS]:
            kind = _kind(part)
            is_copy = kind in COPIES or kind.endswith(("global-headers", "partial"))
            if is_copy and (match := MESSAGE_ID.search(head_of(part))):
                return stored(match[1])
        return None


def of_message(message: Message, sender: str | None) -> Candidate:
    """From a MIME message that `mime` parsed."""
    return Candidate(
        name=(message.first("message-id") or message.digest).strip("<> ")[:200],
        author=written_by(message)[1],
        headers=message.headers,
        text=message.text,
        html=message.html,
        parts=message.attachments,
        is_report=_has_report(message.root),
        sender=sender,
    )


def of_letter(letter: Letter, sender: str | None) -> Candidate:
    """From a mail that its provider parsed."""
    kinds = [value for name, value in letter.headers if name.lower() == "content-type"]
    return Candidate(
        name=external_id(letter)[:200],
        author=author(letter.from_address, is_decoded=True)[1],
        headers=[
            *_header("From", letter.from_address),
            *_header("Subject", letter.subject),
            *letter.headers,
        ],
        text=letter.text,
        html=letter.html,
        parts=letter.attachments,
        is_report=any(kind.strip().lower().startswith(REPORT) for kind in kinds),
        sender=sender,
    )


def _header(name: str, text: str | None) -> list[tuple[str, str]]:
    return [(name, text)] if text else []


def _has_report(root: Part) -> bool:
    """Whether it is a report, or one to which a server on the way has added its own text."""
    # If it has no parts, the library would read the text here, and raise if it cannot.
    is_of_parts = root.get_content_maintype() == "multipart" and root.is_multipart()
    inside: object = root.get_payload() if is_of_parts else []
    within = [each for each in inside if isinstance(each, Part)] if isinstance(inside, list) else []
    return any(each.get_content_type() == REPORT for each in [root, *within])


def head_of(part: Attachment) -> str:
    """The beginning of a part as text."""
    text = (part.content or b"")[:SCANNED].decode(errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _kind(part: Attachment) -> str:
    """The type of a part; if its provider gave no specific one, by its text."""
    kind = (part.content_type or "").partition(";")[0].strip().lower()
    if kind not in NO_KINDS:
        return kind
    head = head_of(part)
    if STATUS.match(head):
        return "message/delivery-status"
    if FIELD.match(head) is None:
        return kind
    if COMPLAINT.search(head):
        return "message/feedback-report"
    return "message/rfc822" if MESSAGE_ID.search(head) else kind
