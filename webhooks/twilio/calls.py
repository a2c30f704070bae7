"""Phone calls: inbound ones, reports about ours, and what is reported about both later.

Docs: https://www.twilio.com/docs/voice/twiml#request-parameters, for statuses
/docs/voice/api/call-resource#statuscallback, for the rest /docs/voice/twiml/record and /gather.
Oddities: the event `answered` has CallStatus in-progress; callbacks come out of order, as
SequenceNumber tells.
"""

from __future__ import annotations

from typing import Any, Final

from channels import phone
from channels.call import goodbye, greeting
from channels.http import parse_date
from channels.model import Account, Attachment, Channel, Status
from channels.providers.twilio import PREFIX, RETRIES, explain, sibling
from webhooks.model import (
    UNNAMED,
    Addition,
    Inbound,
    StatusReport,
    Unknown,
    Unreadable,
    WebhookEvent,
    WebhookRequest,
)
from webhooks.twilio import callers
from webhooks.twilio.parameters import (
    IDS,
    Given,
    bare,
    detail,
    first,
    message_id,
    sid,
)
from webhooks.twilio.prices import price_question
from webhooks.values import DETAIL_CHARACTERS, in_query

# WhatsApp's users call, too (https://www.twilio.com/docs/voice/twiml/whatsapp).
WHATSAPP: Final = PREFIX[Channel.WHATSAPP]

STATUSES: Final = {
    "queued": Status.SENT,
    "initiated": Status.SENT,
    "ringing": Status.SENT,
    "in-progress": Status.SENT,
    "completed": Status.DELIVERED,
    "busy": Status.FAILED,
    "no-answer": Status.FAILED,
    "failed": Status.FAILED,
    "canceled": Status.CANCELED,
}

CALL_READ = IDS | {"From", "To", "Caller", "Called", "CallStatus", "Direction"}
STATUS_READ = IDS | {
    "CallStatus", "CallDuration", "AnsweredBy", "SipResponseCode", "ErrorCode", "ErrorMessage",
    "Timestamp",
}  # fmt: skip
MORE_READ = IDS | {
    "RecordingSid", "RecordingUrl", "RecordingStatus", "RecordingDuration", "TranscriptionSid",
    "TranscriptionText", "TranscriptionStatus", "Digits", "AnsweredBy", "MachineDetectionDuration",
}  # fmt: skip
RECORDED: Final = ("CallSid", "RecordingSid", "RecordingUrl", "RecordingDuration")
TOLD: Final = {
    "CallDuration": "duration",
    "AnsweredBy": "answered_by",
    "SipResponseCode": "sip_response_code",
    "RecordingSid": "recording_sid",
    "RecordingDuration": "recording_duration",
    "TranscriptionSid": "transcription_sid",
    "Digits": "digits",
    "MachineDetectionDuration": "machine_detection_duration",
}
ENDED: Final = frozenset(word for word, status in STATUSES.items() if status is not Status.SENT)


def comes_in(given: Given, *, otherwise: bool) -> bool:
    """Whether this is a new inbound call, which hears our answer, and not a report about one.

    Reports have a CallbackSource, or say that the call ended. `otherwise`: without a Direction.
    """
    is_told = "CallbackSource" in given or _word(given, "CallStatus") in ENDED
    return not is_told and _is_inbound(given, otherwise=otherwise)


def call(given: Given) -> list[WebhookEvent]:
    """A call that comes in; raises `Unreadable`."""
    external_id = sid(given, "CallSid")
    if external_id is None:
        raise Unreadable("The call has no CallSid.")
    return [
        Inbound(
            external_id=external_id,
            channel=Channel.CALL,
            from_address=callers.seen(_address(given, "From", "Caller")),
            to_address=_address(given, "To", "Called"),
            body="",
            detail=detail(given, leave_out=CALL_READ),
        )
    ]


def call_status(given: Given, url: str) -> list[WebhookEvent]:
    """A report about a call."""
    word = _word(given, "CallStatus")
    status = STATUSES.get(word)
    code, message = _error(word, given) if status is Status.FAILED else (None, None)
    event = _told(
        given,
        url,
        word=word or UNNAMED,
        key=f"{word}:{code or ''}",
        leave_out=STATUS_READ,
        error=(status, code, message),
    )
    if word == "completed" and isinstance(event, StatusReport):
        return [event, *price_question(given)]
    return [event]


def _error(word: str, given: Given) -> tuple[str, str | None]:
    """The code of Twilio, or of the network for a failed call, or the word; and its text."""
    code = given.get("ErrorCode", "").strip()[:32]
    if code in ("", "0"):
        code = given.get("SipResponseCode", "").strip()[:32] if word == "failed" else ""
    words = given.get("ErrorMessage", "").strip()[:DETAIL_CHARACTERS]
    return code or word, words or explain(code) or explain(word)


def recording(given: Given) -> list[WebhookEvent]:
    """A recording of a call, or that there is none."""
    word = "recording-" + _word(given, "RecordingStatus")
    is_there = word == "recording-completed"
    url = given.get("RecordingUrl", "").strip()
    files: tuple[Attachment, ...] = ()
    if is_there and url:
        name, kind = "recording.mp3", "audio/mpeg"
        files = (Attachment(url=f"{url}.mp3", filename=name, content_type=kind),)
    key = f"{word}:{given.get('RecordingSid', '')[:64]}"
    return [_addition(given, word, key, attachments=files, is_there=is_there)]


def transcription(given: Given) -> list[WebhookEvent]:
    """The text of a recording, or that there is none."""
    word = "transcription-" + _word(given, "TranscriptionStatus")
    is_there = word == "transcription-completed"
    text = given.get("TranscriptionText", "") if is_there else ""
    key = f"{word}:{given.get('TranscriptionSid', '')[:64]}"
    return [_addition(given, word, key, text=text or None, is_there=is_there)]


def gather(given: Given, url: str) -> list[WebhookEvent]:
    """A digit that was pressed, `confirmed` if it is the one that was asked for.

    Also comes when an inbound call goes on after its message was recorded.
    """
    digits = given.get("Digits", "").strip()[:64]
    word = "confirmed" if digits and in_query(url, "confirm") == digits else "digits"
    left: list[WebhookEvent] = []
    if _is_inbound(given, otherwise=False):
        word, left = "recorded", _left(given)
    return [_told(given, url, word=word, key=f"{word}:{digits}", leave_out=MORE_READ), *left]


def _left(given: Given) -> list[WebhookEvent]:
    """The recording of a message, in case its own callback is missed.

    It may not be ready yet: https://www.twilio.com/docs/voice/twiml/record#action
    """
    named = {name: given[name].strip() for name in RECORDED if given.get(name)}
    is_there = len(named) == len(RECORDED) and named["RecordingDuration"] not in ("0", "-1")
    return recording({**named, "RecordingStatus": "completed"}) if is_there else []


def amd(given: Given, url: str) -> list[WebhookEvent]:
    """Who answered: a person or a machine."""
    key = f"answered_by:{_word(given, 'AnsweredBy')}"
    return [_told(given, url, word="answered_by", key=key, leave_out=MORE_READ)]


def reply(request: WebhookRequest, account: Account) -> str:
    """The TwiML for what is said next in a call."""
    if request.event == "gather":
        asked = {name: in_query(request.url, name) for name in ("voice", "language")}
        return goodbye(account.settings, {n: each for n, each in asked.items() if each})
    path = request.url.partition("?")[0].partition("#")[0]
    recording_url, transcription_url, action_url = (
        sibling(path, event) + RETRIES for event in ("recording", "transcription", "gather")
    )
    return greeting(
        account.settings,
        recording_url=recording_url,
        transcription_url=transcription_url,
        action_url=action_url,
    )


def _told(
    given: Given,
    url: str,
    *,
    word: str,
    key: str,
    leave_out: frozenset[str],
    error: tuple[Status | None, str | None, str | None] = (None, None, None),
) -> StatusReport | Addition | Unknown:
    """A report about a call of ours, or an addition to an inbound one."""
    if _is_inbound(given, otherwise=False):
        return _addition(given, word, key, leave_out=leave_out)
    external_id, ours = sid(given, "CallSid"), message_id(url)
    if external_id is None and ours is None:
        return Unknown(word=word, detail=detail(given, leave_out=IDS))
    status, code, message = error
    return StatusReport(
        external_id=external_id,
        message_id=ours,
        status=status,
        word=word,
        key=f"twilio:{external_id or ''}:{key}",
        occurred_at=parse_date(given.get("Timestamp")),
        error_code=code,
        error_message=message,
        **_known(given, leave_out),
    )


def _addition(
    given: Given,
    word: str,
    key: str,
    *,
    text: str | None = None,
    attachments: tuple[Attachment, ...] = (),
    leave_out: frozenset[str] = MORE_READ,
    is_there: bool = True,
) -> Addition | Unknown:
    """An addition to an inbound call; if its file or text is not there, only the event."""
    external_id = sid(given, "CallSid")
    if external_id is None:
        return Unknown(word=word, detail=detail(given, leave_out=IDS))
    return Addition(
        external_id=external_id,
        word=word,
        key=f"twilio:{external_id}:{key}",
        text=text,
        attachments=attachments,
        occurred_at=parse_date(given.get("Timestamp")),
        **_known(given, leave_out, is_there=is_there),
    )


def _known(given: Given, leave_out: frozenset[str], *, is_there: bool = True) -> dict[str, Any]:
    """What staff look for, under our own names; the rest is in the event's detail.

    Without an "unknown" AnsweredBy: of two texts for one name a message keeps the greater, and this
    would hide who answered.
    """
    told = {ours: given[name][:64] for name, ours in TOLD.items() if is_there and given.get(name)}
    if _word(given, "AnsweredBy") == "unknown":
        told.pop("answered_by", None)
    untold = {name for name, ours in TOLD.items() if ours not in told}
    return {"detail": detail(given, leave_out=leave_out - untold), "provider": told}


def _address(given: Given, *names: str) -> str:
    return phone.with_plus(bare(first(given, *names), WHATSAPP))


def _word(given: Given, name: str) -> str:
    return given.get(name, "").strip().lower()[:64]


def _is_inbound(given: Given, *, otherwise: bool) -> bool:
    """Whether a call is inbound, by its Direction; `otherwise` if that is missing."""
    direction = _word(given, "Direction")
    return direction == "inbound" if direction else otherwise
