"""Bounces that have only text (qmail, old gateways): from a mail server, with known phrases.

A mail in any language is one, too, if it returns a mail of ours and says that it was refused for
good. As a person's letter may do that, it must be from a robot: people write as postmaster, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from channels import email
from webhooks.mail.candidate import MESSAGE_ID, SCANNED, Candidate
from webhooks.mail.codes import ENHANCED, REFUSED
from webhooks.mail.text import derived
from webhooks.values import our_id_in, stored

BOUNCE_SUBJECT = re.compile(
    r"undeliver(?:able|ed)|delivery (?:status notification|failure|(?:has )?failed|report)"
    r"|failure (?:notice|delivery)|returned (?:mail|to sender)|mail (?:delivery system|failure)"
    r"|(?:mail|message) (?:could )?not (?:be )?delivered"
    r"|unzustellbar|退信|邮件传输失败|配信できません"
    r"|non[- ]?remis|no se (?:ha )?(?:podido|pudo) entregar"
    r"|warning: (?:could not send|message (?:\S+ )?(?:delayed|has not yet been delivered))",
    re.IGNORECASE,
)
BOUNCE_TEXT = re.compile(
    r"qmail-send program|(?:could|was|has) not (?:be(?:en)? )?delivered"
    r"|delivery to the following|(?:wasn'?t |un|not )able to deliver"
    r"|permanent (?:fatal )?error|address(?:es)? failed|undeliverable|delivery has failed"
    r"|konnte nicht zugestellt",
    re.IGNORECASE,
)
DELAY = re.compile(
    r"\(delay\)|delayed|will (?:be )?(?:retr(?:y|ied)|tr(?:y|ied) again)|attempts will continue"
    r"|(?:keep|continue) (?:trying|to try)|not yet been delivered|delivered (?:yet|so far|pending)"
    r"|warning message only",
    re.IGNORECASE,
)
# Phrases of a server that has given up, whatever the last reply was.
GIVEN_UP = re.compile(
    r"not going to try again|retry timeout exceeded|is a permanent error", re.IGNORECASE
)
SUBJECT_LINE = re.compile(r"^[ \t>]*subject[ \t]*:[^\n]*", re.IGNORECASE | re.MULTILINE)
# Strict, because the subject may end with that of the returned mail.
DELAY_SUBJECT = re.compile(
    r"\(delay\)|^(?:delayed|warning\b)|delayed(?: \d+ hours)?$", re.IGNORECASE
)
# Where the copy of the returned mail begins, perhaps with its headers: the text before counts.
COPY = re.compile(
    r"^[ \t]*(?:-{2,40}[^\n]{0,40}\b(?:below this line|original message|unsent message"
    r"|copy of the message|message (?:header )?follows)\b"
    r"|original message headers|(?:return-path|received|message-id)[ \t]*:)",
    re.IGNORECASE | re.MULTILINE,
)
FAILED_TO = re.compile(r"^[ \t]*<([^<>\s@]{1,128}@[^<>\s@]{1,253})>[^\n]{0,40}:", re.MULTILINE)
# The reply of the other server, if the address has no <> (Exim, GMX): on a line of its own, or
# after the name of that server.
REPLY = re.compile(
    r"^(?:[^\n]{0,200}?:)?[ \t]*(?:[45]\d\d[ -]|[45]\.\d{1,3}\.\d{1,3}[ :])", re.MULTILINE
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextBounce:
    """What a bounce says; `copied` is the Message-ID of the returned mail, if it is there."""

    action: str
    code: str | None
    recipient: str
    diagnostic: str
    copied: str | None


def read(mail: Candidate) -> TextBounce | None:
    """What a bounce with only text says; None if it is a letter."""
    text = (mail.text or "")[:SCANNED].replace("\r\n", "\n")
    subject = mail.first("subject") or ""
    # Not in an answer, whose subject is somebody else's: people use such words in letters, too.
    is_in_subject = BOUNCE_SUBJECT.search(subject) and not email.PREFIX.match(subject)
    is_by_server = mail.is_by_daemon or ("qmail-send program" in text and mail.is_from_daemon)
    match = MESSAGE_ID.search(text)
    copied = mail.original or (stored(match[1]) if match else None)
    is_sent_back = is_in_subject and mail.is_no_persons and our_id_in(copied)
    if not (is_by_server or is_sent_back):
        return None
    if not text.strip() and mail.html:  # Yahoo's
        text = derived(mail.html)[:SCANNED]
    head = SUBJECT_LINE.sub("", COPY.split(text, maxsplit=1)[0][:4000])
    # An automatic reply of a person may return our mail, too, with its subject.
    if not (is_by_server or REFUSED.search(head)):
        return None
    recipient = FAILED_TO.search(head)
    begins = recipient or REPLY.search(head)
    diagnostic = " ".join(head[begins.start() :].split())[:300] if begins else ""
    is_known = is_in_subject or (mail.is_no_persons and BOUNCE_TEXT.search(head))
    codes = ENHANCED.search(head)
    if not is_known:
        codes = REFUSED.search(head) or (ENHANCED.search(diagnostic) if recipient else None)
    is_final = codes is not None and codes[1].startswith("5")
    if not is_known and not (is_final and our_id_in(copied) and mail.is_no_persons):
        return None
    # A server that still tries was not refused for good.
    is_over = is_final or GIVEN_UP.search(head)
    is_delay = not is_over and (DELAY_SUBJECT.search(subject) or DELAY.search(head))
    return TextBounce(
        action="delayed" if is_delay else "failed",
        code=codes[1] if codes else None,
        recipient=recipient[1] if recipient else "",
        diagnostic=diagnostic,
        copied=copied,
    )
