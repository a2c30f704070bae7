"""What Twilio accepts: the checks of a new message, in Twilio's own order.

Magic numbers: https://www.twilio.com/docs/iam/test-credentials#test-sms-messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson

from gateway.simulator.callbacks import is_callable_url
from gateway.simulator.plan import bare
from gateway.simulator.twilio_accounts import TwilioAccount
from gateway.simulator.twilio_errors import ApiError

Form = Mapping[str, Sequence[str]]

MAX_BODY = 1600
MAX_MEDIA = 10
MAX_VALIDITY = 36_000

MAGIC_FROM = {
    "+15005550001": 21212,
    "+15005550007": 21606,
    "+15005550008": 21611,
}
MAGIC_TO = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}

_E164 = re.compile(r"\+[1-9]\d{6,14}")
_SHORT_CODE = re.compile(r"\d{3,8}")
_ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &_+-]{1,11}")
_WHATSAPP_USER = re.compile(r"[A-Z]{2}\.[A-Za-z0-9.]{1,128}")
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\s*\}\}")
_SERVICE_SID = re.compile(r"MG[0-9a-fA-F]{32}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A message that Twilio accepts: everything is checked, addresses are in Twilio's spelling."""

    to: str
    from_: str | None
    service: str | None
    body: str
    media: tuple[str, ...]
    content_sid: str | None
    status_callback: str | None
    send_at: datetime | None


def channel_of(address: str) -> str:
    """`whatsapp` or `sms`, by the address's prefix."""
    return "whatsapp" if address.startswith("whatsapp:") else "sms"


def spell(address: str) -> str:
    """An address as Twilio writes it: without punctuation, national US numbers with +1."""
    prefix, colon, rest = address.strip().rpartition(":")
    number = bare(rest)
    if number.isascii() and number.isdigit() and len(number) >= 10:
        number = f"+1{number}" if len(number) == 10 else f"+{number}"
    return f"{prefix}{colon}{number}"


def first(form: Form, name: str) -> str | None:
    """The first value of a parameter, None if it is absent or empty."""
    values = form.get(name)
    return (values[0] or None) if values else None


def check(form: Form, account: TwilioAccount, now: datetime) -> Request:
    """Read the parameters of a new message; raises `ApiError` as Twilio would."""
    to, from_, service = _addresses(form, account)
    body = first(form, "Body") or ""
    media = tuple(url for url in form.get("MediaUrl", ()) if url)
    _check_content(form, body, media)
    content_sid = first(form, "ContentSid")
    if content_sid is not None and account.contents:
        body = _filled(account.contents, content_sid, first(form, "ContentVariables"))
    callback = first(form, "StatusCallback")
    if callback is not None and not is_status_callback(callback):
        raise ApiError(21609)
    _check_validity(first(form, "ValidityPeriod"))
    return Request(
        to=to,
        from_=from_,
        service=service,
        body=body,
        media=media,
        content_sid=content_sid,
        status_callback=callback,
        send_at=_send_at(form, service, now),
    )


def _check_validity(seconds: str | None) -> None:
    # https://www.twilio.com/docs/api/errors/21624
    is_right = seconds is None or (
        re.fullmatch(r"[0-9]{1,5}", seconds) is not None and 1 <= int(seconds) <= MAX_VALIDITY
    )
    if not is_right:
        raise ApiError(21624)


def _addresses(form: Form, account: TwilioAccount) -> tuple[str, str | None, str | None]:
    to, from_ = first(form, "To"), first(form, "From")
    service = first(form, "MessagingServiceSid")
    if to is None:
        raise ApiError(21604)
    # From may name a Messaging Service: https://www.twilio.com/docs/api/errors/35118
    if from_ is not None and _SERVICE_SID.fullmatch(from_):
        from_, service = None, service or from_
    to = spell(to)
    from_ = None if from_ is None else spell(from_)
    if from_ is None and service is None:
        raise ApiError(21603)
    named = {"to": to, "from_": from_ or ""}
    if not is_recipient(to) or MAGIC_TO.get(bare(to)) == 21211:
        raise ApiError(21211, named)
    if service is not None and not _is_service(service, account):
        raise ApiError(21701, named)
    if from_ is not None:
        _check_sender(from_, to, account, named)
    if bare(to) in MAGIC_TO:
        raise ApiError(MAGIC_TO[bare(to)], named)
    return to, from_, service


def _check_sender(from_: str, to: str, account: TwilioAccount, named: Mapping[str, str]) -> None:
    if not is_sender(from_):
        raise ApiError(21212, named)
    if bare(from_) in MAGIC_FROM:
        raise ApiError(MAGIC_FROM[bare(from_)], named)
    if channel_of(from_) != channel_of(to):
        raise ApiError(21910, named)
    if not account.may_send_from(from_):
        raise ApiError(63007 if channel_of(from_) == "whatsapp" else 21606, named)


def is_recipient(address: str) -> bool:
    """Whether messages can go to that address at all."""
    prefix, _, number = address.rpartition(":")
    if prefix == "whatsapp":
        return bool(_E164.fullmatch(number) or _WHATSAPP_USER.fullmatch(number))
    return not prefix and bool(_E164.fullmatch(number))


def is_sender(address: str) -> bool:
    """Whether messages can come from that address at all."""
    prefix, _, number = address.rpartition(":")
    if _E164.fullmatch(number):
        return prefix in {"", "whatsapp"}
    return not prefix and bool(_SHORT_CODE.fullmatch(number) or _ALPHANUMERIC.fullmatch(number))


def _is_service(service: str, account: TwilioAccount) -> bool:
    if account.messaging_service_sid is not None:
        return service == account.messaging_service_sid
    return bool(_SERVICE_SID.fullmatch(service))


def _check_content(form: Form, body: str, media: Sequence[str]) -> None:
    content = first(form, "ContentSid")
    if content is not None and not re.fullmatch(r"HX[0-9a-fA-F]{32}", content):
        raise ApiError(21655)
    variables = first(form, "ContentVariables")
    if variables is not None and not _is_json_object(variables):
        raise ApiError(21656)
    if not body and not media and content is None:
        raise ApiError(21602)
    if len(body) > MAX_BODY:
        raise ApiError(21617)
    if len(media) > MAX_MEDIA:
        raise ApiError(21623)
    if not all(is_callable_url(url) for url in media):
        raise ApiError(21620)


def _filled(contents: Mapping[str, str], sid: str, variables: str | None) -> str:
    """The text of a template; all its variables must be given."""
    if sid not in contents:
        raise ApiError(21655)
    given: dict[str, object] = orjson.loads(variables or "{}")
    if not all(given.get(name) for name in _VARIABLE.findall(contents[sid])):
        raise ApiError(21656)
    return _VARIABLE.sub(lambda found: str(given[found[1]]), contents[sid])


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def is_status_callback(url: str) -> bool:
    """Whether Twilio accepts this URL for status callbacks."""
    # Underscores in the host and more than 4000 characters are refused:
    # https://www.twilio.com/docs/api/errors/21609
    host = re.sub(r"^[^/]*//", "", url).split("/", 1)[0]
    return is_callable_url(url) and "_" not in host.rpartition("@")[2] and len(url) <= 4000


def _send_at(form: Form, service: str | None, now: datetime) -> datetime | None:
    # https://www.twilio.com/docs/messaging/features/message-scheduling
    if first(form, "ScheduleType") != "fixed":
        return None
    if service is None:
        raise ApiError(35118)
    text = first(form, "SendAt")
    if text is None:
        raise ApiError(35111)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ApiError(35115) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not timedelta(minutes=5) <= moment - now <= timedelta(days=35):
        raise ApiError(35115)
    return moment
