"""Twilio's answers as values: taken, refused, refused for now, or lost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from twilio.http.response import Response

from channels.errors import AnswerLost, OptedOut, Refused, RefusedForNow
from channels.http import parse_date, retry_after, words_of
from channels.json_text import load
from channels.model import AnswerReport, Sent
from channels.providers.twilio.reasons import OPT_OUTS, RETRYABLE, explain

Record = Mapping[str, object]

# The members of an answer that are kept, of messages and calls.
TOLD = (
    "status", "num_segments", "num_media", "price", "price_unit", "from",
    "messaging_service_sid", "error_code", "error_message", "date_created",
)  # fmt: skip
TOLD_CHARACTERS = 200
# The statuses that say more than that Twilio has it. No callback follows for the status that the
# first answer has; if that answer was lost, callbacks may have been lost as well.
# https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks
OUTCOMES: Final = {
    "messages": frozenset(
        {"delivered", "partially_delivered", "read", "undelivered", "failed", "canceled"}
    ),
    "calls": frozenset({"completed", "busy", "no-answer", "failed", "canceled"}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page of Twilio's list, newest first, and where the next one is."""

    records: list[Record]
    next_uri: str | None

    def ends_before(self, moment: datetime) -> bool:
        """Whether every record of this page is older than that."""
        dates = [parse_date(each.get("date_created")) for each in self.records]
        return all(date is not None and date < moment for date in dates)


def read(answer: Response, name: str) -> Sent:
    """Twilio's answer to a message or call; raises a `SendError` if it did not take it.

    `name` is that of the list: "messages" or "calls".
    """
    payload = _payload(answer)
    if 200 <= answer.status_code < 300:
        sent = read_record(payload, name)
        if sent is None:
            raise AnswerLost("Twilio's answer names no message.", code="unreadable")
        return sent
    raise _refusal(answer, payload)


def read_record(payload: object, name: str) -> Sent | None:
    """A record of the list `name`; None if this is not one."""
    if not isinstance(payload, Mapping):
        return None
    sid = payload.get("sid")
    if not isinstance(sid, str) or not re.fullmatch(r"[!-~]{1,64}", sid):
        return None
    detail = {each: value for each in TOLD if (value := _plain(payload.get(each))) is not None}
    if detail.get("status") not in OUTCOMES[name]:
        return Sent(external_id=sid, detail=detail)
    return Sent(external_id=sid, detail=detail, reports=(_outcome(payload, sid, name),))


def listed(record: Record, name: str) -> Sent:
    """A record of a list; one whose SID cannot be read has no id: it was taken all the same."""
    return read_record(record, name) or Sent(external_id="")


def _plain(value: object) -> str | int | None:
    """A value if it is worth keeping: a text, or a number that every program can read."""
    if isinstance(value, str):
        return value[:TOLD_CHARACTERS]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return value
    return None


def _outcome(record: Record, sid: str, name: str) -> AnswerReport:
    """A record's status in the form of a callback."""
    if name == "calls":
        body = {
            "CallSid": sid,
            "CallStatus": record["status"],
            "CallDuration": _plain(record.get("duration")),
        }
        return AnswerReport(event="call-status", body=body)
    code = _plain(record.get("error_code"))
    body = {
        "MessageSid": sid,
        "MessageStatus": record["status"],
        "To": _plain(record.get("to")),
        "ErrorCode": code,
        # Callbacks hardly ever have this text, and with it the same failure would look like two.
        "ErrorMessage": None if explain(str(code)) else _plain(record.get("error_message")),
    }
    return AnswerReport(event="status", body=body, at=parse_date(record.get("date_updated")))


def read_page(answer: Response, name: str = "messages") -> Page:
    """One page of the list of that name; raises a `SendError`."""
    payload = _payload(answer)
    if not 200 <= answer.status_code < 300:
        raise _refusal(answer, payload)
    payload = payload if isinstance(payload, dict) else {}
    records = payload.get(name)
    if not isinstance(records, list):
        raise AnswerLost(f"Twilio's list of {name} cannot be read.", code="unreadable")
    following = payload.get("next_page_uri") or None
    # Only a path: the credentials must not go to another host. What is on a page that cannot be
    # read must not seem to be missing: it would be sent again.
    if following is not None and not re.fullmatch(r"/[!-~]*", str(following)):
        raise AnswerLost(f"The next page of Twilio's {name} cannot be read.", code="unreadable")
    return Page(records=[each for each in records if isinstance(each, dict)], next_uri=following)


def _refusal(answer: Response, payload: object) -> Refused | RefusedForNow | AnswerLost:
    status = answer.status_code
    code, words = _error(payload)
    message = words or explain(code) or f"Twilio answered with HTTP status {status}."
    own = code is not None and words is not None
    later = code in RETRYABLE and status < 500
    if status == 429 or later or (status in {500, 503} and own):
        return RefusedForNow(message, code=code, retry_after=retry_after(answer.headers or {}))
    if status >= 500 or status == 408:
        return AnswerLost(message, code=code or f"http-{status}")
    if code in OPT_OUTS:
        return OptedOut(message, code=code)
    return Refused(message, code=code)


def _payload(answer: Response) -> object:
    try:
        return load(answer.text)
    except ValueError:
        return None


def _error(payload: object) -> tuple[str | None, str | None]:
    """Code and words of an error body, each only if it has the form that Twilio documents."""
    if not isinstance(payload, dict):
        return None, None
    code, words = payload.get("code"), payload.get("message", payload.get("title"))
    if isinstance(code, bool) or not re.fullmatch(r"\d{3,6}", str(code)):
        code = None
    return (None if code is None else str(code)), words_of(words) or None
