"""A mail as reports are read from it, whoever took it apart: a provider, or `mail_mime`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from channels.model import Attachment
from webhooks.mail_letter import Letter, external_id
from webhooks.mail_mime import Message, Part
from webhooks.values import stored

PARTS, SCANNED = 50, 64 * 2**10
DAEMON = re.compile(
    # The last is Exchange's, on every server of its own.
    r"(?:mailer-daemon|postmaster|mail-daemon|mailerdaemon|microsoftexchange[0-9a-f]{32})@",
    re.IGNORECASE,
)
MESSAGE_ID = re.compile(
    r"^[> \t]*message-id:[ \t]*(?:\n[ \t]+)?<([^<>\s]{1,500})>", re.IGNORECASE | re.MULTILINE
)
COPIES: Final = ("message/rfc822", "message/global", "text/rfc822-headers")
REPORT: Final = "multipart/report"
NO_KINDS: Final = ("", "application/octet-stream", "text/plain")
STATUS = re.compile(
    r"\s*(?:reporting-mta|final-recipient|original-envelope-id)[ \t]*:", re.IGNORECASE
)
COMPLAINT = re.compile(r"^feedback-type[ \t]*:", re.IGNORECASE | re.MULTILINE)
FIELD = re.compile(r"\s*[\w-]+[ \t]*:", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """`name` is the mail's own, the same when it comes again; `parts` are those that are no text.

    `is_report` is whether it says that it is one; `sender` is that of the envelope, "" the empty
    one of bounces, None where nobody tells it.
    """

    name: str
    headers: Sequence[tuple[str, str]]
    text: str | None = None
    parts: Sequence[Attachment] = field(default=(), repr=False)
    is_report: bool = False
    sender: str | None = None

    def first(self, name: str) -> str | None:
        """The first value of a header, None where there is none."""
        return next((value for given, value in self.headers if given.lower() == name), None)

    def of_kind(self, ending: str) -> list[Attachment]:
        """The parts whose type ends so."""
        return [part for part in self.parts[:PARTS] if _kind(part).endswith(ending)]

    @property
    def is_from_daemon(self) -> bool:
        """Whether a mail server wrote it: those have no sender, or a well-known one."""
        is_null = self.sender is not None and self.sender.strip() in {"", "<>"}
        wrote = self.first("from") or ""
        return DAEMON.search(wrote) is not None or is_null or self.first("return-path") == "<>"

    @property
    def is_microsofts_complaint(self) -> bool:
        """Whether it is of Outlook.com's feedback loop, which sends on the mail itself, in no
        report (https://github.com/sisimai/p5-sisimai/blob/master/lib/Sisimai/ARF.pm)."""
        wrote, subject = self.first("from") or "", self.first("subject") or ""
        is_theirs = "staff@hotmail.com" in wrote
        return is_theirs and subject.startswith("complaint about message from ")

    @property
    def original(self) -> str | None:
        """The Message-ID of the mail that a report is about, from the copy that it brings."""
        for part in self.parts[:PARTS]:
            kind = _kind(part)
            is_copy = kind in COPIES or kind.endswith(("global-headers", "partial"))
            if is_copy and (match := MESSAGE_ID.search(head_of(part))):
                return stored(match[1])
        return None


def of_message(message: Message, sender: str | None) -> Told:
    """A MIME message that was parsed here."""
    return Told(
        name=(message.first("message-id") or message.digest).strip("<> ")[:200],
        headers=message.headers,
        text=message.text,
        parts=message.attachments,
        is_report=_has_report(message.root),
        sender=sender,
    )


def of_letter(letter: Letter, sender: str | None) -> Told:
    """A mail that its provider took apart."""
    kinds = [value for name, value in letter.headers if name.lower() == "content-type"]
    return Told(
        name=external_id(letter)[:200],
        headers=[
            *_said("From", letter.from_address),
            *_said("Subject", letter.subject),
            *letter.headers,
        ],
        text=letter.text,
        parts=letter.attachments,
        is_report=any(kind.strip().lower().startswith(REPORT) for kind in kinds),
        sender=sender,
    )


def _said(name: str, text: str | None) -> list[tuple[str, str]]:
    return [(name, text)] if text else []


def _has_report(root: Part) -> bool:
    """Whether it is one, or a server on the way has added its own words to one."""
    inside: object = root.get_payload() if root.get_content_maintype() == "multipart" else []
    within = [each for each in inside if isinstance(each, Part)] if isinstance(inside, list) else []
    return any(each.get_content_type() == REPORT for each in [root, *within])


def head_of(part: Attachment) -> str:
    """The beginning of a part as text."""
    return (part.content or b"")[:SCANNED].decode(errors="replace").replace("\r\n", "\n")


def _kind(part: Attachment) -> str:
    """The type of a part; of one that its provider gave none that says anything, by its text."""
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
