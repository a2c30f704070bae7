"""Bounces and complaints that arrive as mails: DSN (RFC 3464), ARF (RFC 5965), and older forms.

Anybody can write such a mail. So a report affects only the message whose Message-ID it names, and
only that message's address is suppressed, never one that the report itself names. `Action` decides,
not the class of the status: a failure with 4.4.1 is final.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from channels import email
from channels.http import parse_date
from channels.model import Attachment, Channel, Status
from webhooks.mail import text_bounce
from webhooks.mail.candidate import Candidate, head_of
from webhooks.mail.codes import ENHANCED, explanation, is_bad_address
from webhooks.model import ConsentChange, Reason, StatusReport, Unknown, WebhookEvent
from webhooks.values import DETAIL_CHARACTERS, our_id_in, stored

RECIPIENTS = 50
# The group of what mails say, which is on no list of the provider: no stream has this name.
GROUP: Final = "inbound mail"
# A block for each recipient, and one for the mail; some servers write empty blocks between them.
STATUSES, BLOCKS = 3, 200
BETWEEN_BLOCKS = re.compile(r"\n[ \t]*\n")

ACTIONS: Final = {
    "failed": ("bounced", Status.FAILED),
    "failure": ("bounced", Status.FAILED),  # Pigeon's
    "delayed": ("delayed", None),
    "delivered": ("delivered", Status.DELIVERED),
    "relayed": ("relayed", None),
    "expanded": ("expanded", None),
}
HEX = re.compile(r"\+([0-9A-F]{2})")
ID = re.compile(r"<([^<>\s]{1,500})>")

Fields = Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """What all reports in one mail have in common: the message that they are about, and a name."""

    provider: str
    external_id: str | None
    name: str
    mail: Candidate

    @property
    def message_id(self) -> UUID | None:
        """Our id of it."""
        return our_id_in(self.external_id)


def reports(mail: Candidate, *, provider: str) -> list[WebhookEvent]:
    """The reports in a mail; none if it is a letter."""
    if mail.is_microsofts_complaint:
        notice = Notice(
            provider=provider,
            external_id=_as_sent(mail.original),
            name=mail.name,
            mail=mail,
        )
        return _complaint(notice, {"feedback-type": "abuse"})
    if not (mail.is_report or mail.is_from_daemon):
        return _text_bounce(mail, provider=provider)
    # Of some mails a provider brings only URLs of the parts: then its text must do.
    statuses = [part for part in mail.of_kind("delivery-status") if (part.content or b"").strip()]
    complaints = [part for part in mail.of_kind("feedback-report") if part.content]
    if not (statuses or complaints):
        return _text_bounce(mail, provider=provider)
    blocks = [block for part in statuses[:STATUSES] for block in _blocks(part)]
    notice = Notice(
        provider=provider,
        external_id=_as_sent(mail.original or _named(mail, blocks)),
        name=mail.name,
        mail=mail,
    )
    if complaints:
        return _complaint(notice, _fields(complaints[0]))
    named = [each for each in blocks if "final-recipient" in each or "action" in each]
    found = [event for block in named[:RECIPIENTS] for event in _delivery(notice, block)]
    return found or [Unknown(word="bounced", detail=_evidence(notice, {}))]


def _as_sent(mail_id: str | None) -> str | None:
    """The id by which we know a mail. Amazon SES replaces the Message-ID by one with its own id
    before the @, and forwards bounces as mails, unless that is switched off.

    https://docs.aws.amazon.com/ses/latest/dg/monitor-sending-activity-using-notifications-email.html
    """
    local, _, domain = (mail_id or "").partition("@")
    return local if domain.lower().endswith(".amazonses.com") else mail_id


def _named(mail: Candidate, blocks: Sequence[Fields]) -> str | None:
    """The Message-ID of the mail that a report without a copy is about.

    It is in the report's In-Reply-To or References, or in a field of Google's servers.
    """
    given = [block.get("x-original-message-id", "") for block in blocks]
    given += [mail.first("in-reply-to") or "", mail.first("references") or ""]
    return next((stored(match[1]) for each in given if (match := ID.search(each))), None)


def _blocks(part: Attachment) -> Iterator[Fields]:
    """The groups of fields in a delivery-status, even without blank lines between them."""
    for block in BETWEEN_BLOCKS.split(head_of(part), BLOCKS)[:BLOCKS]:
        fields: dict[str, str] = {}
        for line in re.sub(r"\n[ \t]+", " ", block).split("\n"):
            name, colon, value = line.partition(":")
            name = name.strip().lower()
            if name == "final-recipient" and name in fields:
                yield fields  # no blank line stands between two recipients
                fields = {}
            if colon:
                fields.setdefault(name, stored(" ".join(value.split()))[:DETAIL_CHARACTERS])
        yield fields


def _fields(part: Attachment) -> Fields:
    return {name: value for block in _blocks(part) for name, value in block.items()}


def _delivery(notice: Notice, block: Fields) -> list[WebhookEvent]:
    """What a DSN says about one recipient."""
    action = re.sub(r"[^a-z].*", "", block.get("action", "").lower())
    given, diagnostic = block.get("status", ""), block.get("diagnostic-code", "")
    found = ENHANCED.search(given) or ENHANCED.search(diagnostic)
    code = found[1] if found else None
    # Some give the whole reply of the other server in place of a status.
    diagnostic = diagnostic or ("" if found else given)
    if action not in ACTIONS:  # it is required, but some leave it out: then the class decides
        action = {"5": "failed", "4": "delayed", "2": "delivered"}.get((code or given)[:1], action)
    word, status = ACTIONS.get(action, (action[:64] or "unreadable", None))
    facts = {
        "recipient": _address(block.get("final-recipient", "")),
        "original_recipient": _address(block.get("original-recipient", "")),
        "action": action,
        "status": code,
        "diagnostic": diagnostic,
        "remote_mta": block.get("remote-mta"),
    }
    return _events(notice, word, status, code, diagnostic, _evidence(notice, facts))


def _events(
    notice: Notice,
    word: str,
    status: Status | None,
    code: str | None,
    diagnostic: str,
    detail: Mapping[str, Any],
) -> list[WebhookEvent]:
    """The report about the named message, and a suppression of its address if that is bad."""
    if notice.external_id is None:
        return [Unknown(word=word, detail=detail)]
    key = f"{notice.provider}:{notice.external_id}:{word}:{detail.get('recipient', '')}"
    is_problem = word in {"bounced", "delayed"}
    report = StatusReport(
        external_id=notice.external_id,
        message_id=notice.message_id,
        status=status,
        word=word,
        key=f"{key}:{notice.name}",
        occurred_at=parse_date(notice.mail.first("date")),
        error_code=code if is_problem else None,
        error_message=explanation(code, diagnostic) if is_problem else None,
        detail=detail,
    )
    is_bad = is_bad_address(code, diagnostic) and not _was_sent_on(detail)
    if status is not Status.FAILED or not is_bad:
        return [report]
    return [report, _consent(notice, Reason.HARD_BOUNCE, word, key, detail)]


def _was_sent_on(facts: Mapping[str, Any]) -> bool:
    """Whether a mailbox failed that is certainly not the one we wrote to, such as a list's member.

    The original recipient is as its sender wrote it, perhaps partly in hex (RFC 3461 §4).
    """
    sent_to, failed = (facts.get(name, "") for name in ("original_recipient", "recipient"))
    plain = HEX.sub(lambda match: chr(int(match[1], 16)), sent_to)
    forms = {email.key(each) for each in (sent_to, plain)}
    return "@" in sent_to and "@" in failed and email.key(failed) not in forms


def _consent(
    notice: Notice, reason: Reason, word: str, key: str, detail: Mapping[str, Any]
) -> ConsentChange:
    return ConsentChange(
        channel=Channel.EMAIL,
        reason=reason,
        group=GROUP,
        is_accounts=True,
        message_id=notice.message_id,
        external_id=notice.external_id,
        word=word,
        key=f"{key}:{reason}",
        occurred_at=parse_date(notice.mail.first("date")),
        detail=detail,
    )


def _address(field: str) -> str:
    """The address of "rfc822; a@b.c"."""
    return field.rpartition(";")[2].strip().strip("<>")[:320]


def _evidence(notice: Notice, facts: Mapping[str, Any]) -> dict[str, Any]:
    more = {
        "subject": (notice.mail.first("subject") or "")[:200],
        "notice_id": (notice.mail.first("message-id") or "").strip("<> ")[:200],
    }
    return {name: value for name, value in {**facts, **more}.items() if value}


def _complaint(notice: Notice, fields: Fields) -> list[WebhookEvent]:
    """The events of an ARF report: a complaint, or something that changes nothing."""
    kind = fields.get("feedback-type", "").strip().lower()[:64] or "unreadable"
    facts = {
        "feedback_type": kind,
        "recipient": _address(fields.get("original-rcpt-to", "")),
        "reporter": fields.get("user-agent"),
        "source_ip": fields.get("source-ip"),
        "arrived": fields.get("arrival-date") or fields.get("received-date"),
    }
    reason = {"abuse": Reason.COMPLAINT, "fraud": Reason.COMPLAINT}.get(kind)
    if kind in {"opt-out", "opt-out-list"}:
        reason = Reason.UNSUBSCRIBE
    word = "complaint" if reason is Reason.COMPLAINT else kind
    detail = _evidence(notice, facts)
    found = _events(notice, word, None, None, "", detail)
    if reason is None or notice.external_id is None:
        return found
    key = f"{notice.provider}:{notice.external_id}:{word}"
    return [*found, _consent(notice, reason, word, key, detail)]


def _text_bounce(mail: Candidate, *, provider: str) -> list[WebhookEvent]:
    """The report in a bounce that has only text; none if it is a letter."""
    bounce = text_bounce.read(mail)
    if bounce is None:
        return []
    notice = Notice(
        provider=provider,
        external_id=_as_sent(bounce.copied or _named(mail, ())),
        name=mail.name,
        mail=mail,
    )
    word, status = ACTIONS[bounce.action]
    detail = {"recipient": bounce.recipient, "status": bounce.code, "diagnostic": bounce.diagnostic}
    return _events(notice, word, status, bounce.code, bounce.diagnostic, _evidence(notice, detail))
