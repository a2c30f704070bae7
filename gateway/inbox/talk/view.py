"""A message as people read it: turns a row into words, files and reasons. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from channels.json_text import as_object
from gateway.inbox.talk.kinds import (
    File,
    attachments,
    details,
    file_count,
    file_of,
    files_not_shown,
)
from gateway.why import Reason, failure

Row = Mapping[str, Any]

# By status: the word, the kind of badge, and a sign that repeats the word.
_STATUS = {
    "pending": ("Waiting to be sent", "", "◷"),
    "sending": ("Being sent", "", "◷"),
    "unknown": ("Not known whether it was sent", "warn", "?"),
    "sent": ("Sent", "", "✓"),
    "canceled": ("Canceled", "", "⊘"),
    "failed": ("Not delivered", "bad", "!"),
    "delivered": ("Delivered", "good", "✓✓"),
    "read": ("Read", "good", "✓✓"),
    "received": ("Received", "", ""),
}
_CALL = {
    "sent": ("Calling", "", "◷"),
    "delivered": ("Call ended", "good", "✓"),
    "failed": ("Not reached", "bad", "!"),
}
_PREVIEW = 140
_FOLDED = 1500
# Characters. A page has forty messages, and each may have a million characters.
_SHOWN = 30_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """A status in a word, with the kind of badge and a sign."""

    word: str
    kind: str
    sign: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One message of a thread.

    `folded` is the part of a long text behind "Show all", `is_cut` says that even this is not all;
    `quoted` is what an e-mail quotes; `details` are further lines (a place, a digit pressed).
    `send_at` is set only until that time. `is_followed`: a fallback was sent instead; `is_test`: a
    test key sent it.
    """

    id: UUID
    is_ours: bool
    channel: str
    status: Status
    at: datetime
    from_address: str
    to_address: str
    subject: str | None
    body: str
    folded: str
    is_cut: bool
    quoted: str | None
    has_html: bool
    files: Sequence[File]
    details: Sequence[str]
    failure: Reason | None
    send_at: datetime | None
    is_retry: bool
    is_sent_again: bool
    is_followed: bool
    is_test: bool
    can_cancel: bool
    can_retry: bool


def shown(
    row: Row,
    now: datetime,
    media: Mapping[UUID, Row],
    *,
    retries: Sequence[str] = (),
    is_followed: bool = False,
    carried_by: str | None = None,
) -> Shown:
    """A message as it is shown; `media` has the states of its files by their ids.

    `retries` are the statuses of the messages that were sent in its place; `carried_by` is the
    provider, which decides what an error code means.
    """
    detail = provider_detail(row)
    is_test = detail.get("test") is True
    is_ours = row["direction"] == "outbound"
    state = row["status"] or "pending"
    send_at = row["send_at"] if state == "pending" and row["send_at"] else None
    whole = row["body"] or ""
    body, folded = _fold(whole[:_SHOWN])
    return Shown(
        id=row["id"],
        is_ours=is_ours,
        channel=row["channel"],
        status=status(row, now),
        at=row["created_at"] or row["updated_at"] or now,  # another program may have stored none
        from_address=row["from_address"],
        to_address=row["to_address"],
        subject=row["subject"],
        body=body,
        folded=folded,
        is_cut=len(whole) > _SHOWN,
        quoted=_text(detail.get("quoted_text")),
        has_html=bool(row["html_body"]),
        files=[file_of(each, media) for each in attachments(row)],
        details=[*details(row["channel"], detail, is_ours=is_ours), *files_not_shown(row)],
        failure=failure(row["channel"], carried_by, row["error_code"], row["error_message"])
        if state == "failed"
        else None,
        send_at=send_at if send_at and send_at > now else None,
        is_retry=row["retry_of"] is not None,
        is_sent_again=is_sent_again(retries),
        is_followed=is_followed,
        is_test=is_test,
        can_cancel=is_ours and state == "pending",
        can_retry=is_ours
        and state == "failed"
        and not (is_test or is_followed or is_sent_again(retries)),
    )


def is_sent_again(retries: Sequence[str]) -> bool:
    """Whether a failed message was sent again; a canceled retry does not count."""
    return any(status != "canceled" for status in retries)


def status(row: Row, now: datetime) -> Status:
    """The status of a message in words."""
    state = row["status"] or "pending"
    known = (_CALL if row["channel"] == "call" else {}).get(state) or _STATUS.get(state)
    word, kind, sign = known or (state.capitalize(), "", "")
    if state == "pending" and row["send_at"] and row["send_at"] > now:
        word, kind, sign = "Scheduled", "", "◷"
    if provider_detail(row).get("test") is True:
        to_nobody = " to nobody" if state in ("sent", "delivered") else ""
        return Status(word=f"Test: {word.lower()}{to_nobody}", kind="", sign="")
    return Status(word=word, kind=kind, sign=sign)


def snippet(row: Row | None) -> str:
    """The beginning of a message, on one line: for the list."""
    if row is None:
        return ""
    text = " ".join((row["body"] or "")[:_SHOWN].split())
    if row["subject"]:
        text = f"{row['subject']}: {text}" if text else row["subject"]
    if not text:
        files = file_count(row)
        lines = details(
            row["channel"], provider_detail(row), is_ours=row["direction"] == "outbound"
        )
        text = next(iter(lines), "") or (_files(files) if files else "")
    return text if len(text) <= _PREVIEW else f"{text[:_PREVIEW].rstrip()}…"


def provider_detail(row: Row) -> Mapping[str, Any]:
    """What the provider said about a message besides its status."""
    return as_object(as_object(row["metadata"]).get("provider"))


def _files(count: int) -> str:
    return "A file" if count == 1 else f"{count} files"


def _fold(body: str) -> tuple[str, str]:
    """A long text in two parts: what is shown at once, and the rest."""
    if len(body) <= _FOLDED + 300:
        return body, ""
    end = body.rfind(" ", _FOLDED - 200, _FOLDED)
    end = _FOLDED if end < 0 else end
    return body[:end], body[end:]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
