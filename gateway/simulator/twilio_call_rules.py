"""What Twilio accepts as a new call: https://www.twilio.com/docs/voice/api/call-resource.

Magic numbers: https://www.twilio.com/docs/iam/test-credentials#test-calls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.simulator.callbacks import is_callable_url
from gateway.simulator.plan import bare
from gateway.simulator.twilio_accounts import TwilioAccount
from gateway.simulator.twilio_errors import ApiError
from gateway.simulator.twilio_rules import Form, channel_of, first, is_recipient, is_sender, spell

MAX_TWIML = 4000
MAX_TIMEOUT_S = 600
EVENTS = ("initiated", "ringing", "answered", "completed")
MAGIC_FROM = {"+15005550001": 21212}
MAGIC_TO = {
    "+15005550001": 21217,
    "+15005550002": 21214,
    "+15005550003": 21215,
    "+15005550004": 21216,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CallRequest:
    """A call that Twilio accepts: all parameters have been checked."""

    to: str
    from_: str
    twiml: str | None
    url: str | None
    method: str
    status_callback: str | None
    status_method: str
    events: frozenset[str]
    detects_machine: bool
    amd_callback: str | None
    records: bool
    recording_callback: str | None


def check_call(form: Form, account: TwilioAccount) -> CallRequest:
    """Read the parameters of a new call; raises `ApiError` as Twilio would."""
    to, from_ = first(form, "To"), first(form, "From")
    if to is None:
        raise ApiError(21201)
    if from_ is None:
        raise ApiError(21213)
    to, from_ = spell(to), spell(from_)
    _check_numbers(to, from_, account, {"to": to, "from_": from_})
    url, twiml = first(form, "Url"), first(form, "Twiml")
    application = first(form, "ApplicationSid")
    if url is None and twiml is None and application is None:
        raise ApiError(21205)
    if application is not None and not re.fullmatch(r"AP[0-9a-fA-F]{32}", application):
        raise ApiError(21218)
    if url is not None:
        _check_url(url)
        twiml = None
    if twiml is not None and len(twiml) > MAX_TWIML:
        raise ApiError(20001)
    for name in ("StatusCallback", "AsyncAmdStatusCallback", "RecordingStatusCallback"):
        if first(form, name) is not None:
            _check_url(first(form, name) or "")
    _check_timeout(form)
    is_async = _is_true(form, "AsyncAmd")
    return CallRequest(
        to=to,
        from_=from_,
        twiml=twiml,
        url=url,
        method=_method(form, "Method"),
        status_callback=first(form, "StatusCallback"),
        status_method=_method(form, "StatusCallbackMethod"),
        events=_events(form),
        detects_machine=first(form, "MachineDetection") is not None,
        amd_callback=first(form, "AsyncAmdStatusCallback") if is_async else None,
        records=_is_true(form, "Record"),
        recording_callback=first(form, "RecordingStatusCallback"),
    )


def _check_numbers(to: str, from_: str, account: TwilioAccount, named: Mapping[str, str]) -> None:
    if not is_recipient(to) or channel_of(to) == "whatsapp":
        raise ApiError(21211, named)
    if not is_sender(from_) or not from_.startswith("+"):
        raise ApiError(21212, named)
    for magic, number in ((MAGIC_FROM, from_), (MAGIC_TO, to)):
        if bare(number) in magic:
            raise ApiError(magic[bare(number)], named)
    if not account.may_send_from(from_):
        raise ApiError(21210, named)


def _check_url(url: str) -> None:
    if not is_callable_url(url):
        raise ApiError(21205, {"url": url})


def _check_timeout(form: Form) -> None:
    text = first(form, "Timeout")
    if text is not None and not (
        text.isascii() and text.isdigit() and len(text) < 9 and int(text) <= MAX_TIMEOUT_S
    ):
        raise ApiError(20001)


def _events(form: Form) -> frozenset[str]:
    """The wanted events: the parameter is repeated; several names in one value are no event."""
    given = [event for event in form.get("StatusCallbackEvent", ()) if event]
    if not given:
        return frozenset({"completed"})
    # An unknown name is only a warning (21626): the call is still made.
    return frozenset(given) & frozenset(EVENTS)


def _method(form: Form, name: str) -> str:
    return "GET" if (first(form, name) or "").upper() == "GET" else "POST"


def _is_true(form: Form, name: str) -> bool:
    return (first(form, name) or "").lower() == "true"
