"""Twilio, the webhook half: statuses of messages, and messages that come in.

Docs: https://www.twilio.com/docs/messaging/guides/webhook-request and, beside it,
/track-outbound-message-status.
Signed with HMAC-SHA1 over the public URL and the sorted parameters, keyed with the auth token
(https://www.twilio.com/docs/usage/webhooks/webhooks-security); JSON through bodySHA256 in the URL.
Oddities: the port is in the signed URL or not; the Sms... twins of MessageSid and MessageStatus may
disagree with them; parameters come unannounced; a text/plain answer is sent to the customer.
"""

from __future__ import annotations

import hmac
import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qs, unquote_to_bytes
from uuid import UUID

from channels.model import Account, Attachment, Channel, Status
from channels.providers.twilio import OPTED_OUT, PREFIX, explain
from webhooks.model import (
    Inbound,
    InvalidSignature,
    Reply,
    StatusReport,
    Unknown,
    Unreadable,
    WebhookEvent,
    WebhookRequest,
)

EVENTS: Final = ("message", "status")
FORM = "application/x-www-form-urlencoded"
# A form that Twilio sends has some forty parameters; the limits keep a stranger's from costing us.
MOST_PARAMETERS, MOST_BYTES = 1000, 2**20
DETAILS, DETAIL_CHARACTERS = 40, 1000
PORTS = {"https": "443", "http": "80"}

# https://www.twilio.com/docs/messaging/api/message-resource#message-status-values
STATUSES: Final = {
    "accepted": Status.SENT,
    "scheduled": Status.SENT,
    "queued": Status.SENT,
    "sending": Status.SENT,
    "sent": Status.SENT,
    "delivered": Status.DELIVERED,
    "partially_delivered": Status.DELIVERED,
    "read": Status.READ,
    "undelivered": Status.FAILED,
    "failed": Status.FAILED,
    "canceled": Status.CANCELED,
}

# What stands elsewhere in an event, and is not repeated in its detail.
IDS = frozenset({"AccountSid", "ApiVersion", "MessageSid", "SmsSid", "SmsMessageSid"})
STATUS_READ = IDS | {"MessageStatus", "ErrorCode", "ErrorMessage", "Body"}
LOCATION = ("Latitude", "Longitude", "Address", "Label")
MESSAGE_READ = IDS | {"From", "To", "Body", "SmsStatus", "NumMedia", "ListTitle", *LOCATION}

# Kinds of message that no SMS has.
WHATSAPP_TYPES = frozenset(
    {"location", "contacts", "sticker", "button", "interactive", "order", "reaction", "document"}
)

EMPTY_TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'

Pairs = list[tuple[bytes, bytes]]


def verify(request: WebhookRequest, account: Account) -> None:
    """Return when the account's auth token signed the request; raises `InvalidSignature`."""
    given = request.headers.get("x-twilio-signature", "").encode(errors="replace")
    if not given:
        raise InvalidSignature("The request has no X-Twilio-Signature.")
    names = ("auth_token", "auth_token_secondary")
    tokens = [token for name in names if (token := account.credentials.get(name))]
    if not tokens:
        raise InvalidSignature("The account has no auth token to verify with.")
    _verify_body_hash(request)
    parameters = _signed_parameters(request)
    for url in _urls(request.url):
        signed = _bytes(url) + parameters
        for token in tokens:
            digest = hmac.digest(token.encode(), signed, "sha1")
            if hmac.compare_digest(b64encode(digest), given):
                return
    raise InvalidSignature("The signature is not that of this account.")


def _verify_body_hash(request: WebhookRequest) -> None:
    """What is no form is signed through its hash in the URL; a hash must always be right."""
    _, _, query = request.url.partition("?")
    hashes = [part[11:] for part in query.split("&") if part.startswith("bodySHA256=")]
    if hashes:
        right = sha256(request.body).hexdigest().encode()
        if not hmac.compare_digest(right, hashes[0].encode(errors="replace")):
            raise InvalidSignature("The body is not the one that was signed.")
    elif request.body and request.method == "POST" and not _is_form(request):
        raise InvalidSignature("The body is neither a form nor signed through bodySHA256.")


def _signed_parameters(request: WebhookRequest) -> bytes:
    """Names and values as the signature covers them: by name, then each distinct value in order.

    In bytes: UTF-8 sorts as its code points do, and what is no UTF-8 still has one meaning.
    """
    if request.method != "POST" or not _is_form(request):
        return b""
    if len(request.body) > MOST_BYTES or request.body.count(b"&") >= MOST_PARAMETERS:
        raise InvalidSignature("The form is larger than any that Twilio sends.")
    return b"".join(name + value for name, value in sorted(set(_pairs(request.body))))


def _pairs(body: bytes) -> Pairs:
    """The parameters of a form, in order, decoded but not yet read as text."""
    pairs: Pairs = []
    for part in body.split(b"&"):
        if part:
            name, _, value = part.replace(b"+", b" ").partition(b"=")
            pairs.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return pairs


def _bytes(text: str) -> bytes:
    """A URL as the bytes that came: the server keeps what is no UTF-8 as escaped surrogates."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="replace")


def _is_form(request: WebhookRequest) -> bool:
    content_type, _, _ = request.headers.get("content-type", "").partition(";")
    return content_type.strip().lower() == FORM


def _urls(url: str) -> Iterator[str]:
    """The forms of our URL that Twilio may have signed, the likely one first.

    As it is; without its port, or with the one that goes without saying
    (https://github.com/twilio/twilio-python/blob/9.13.0/twilio/request_validator.py#L20); and each
    with ' as %27 in the query (https://github.com/twilio/twilio-node, validateRequest).
    """
    url, _, _ = url.partition("#")
    for each in (url, _other_port(url)):
        yield each
        path, mark, query = each.partition("?")
        if "'" in query:
            yield path + mark + query.replace("'", "%27")


def _other_port(url: str) -> str:
    scheme, _, rest = url.partition("://")
    end = next((index for index, character in enumerate(rest) if character in "/?"), len(rest))
    userinfo, at, host = rest[:end].rpartition("@")
    name, colon, port = host.rpartition(":")
    has_port = colon and port.isdigit()
    host = name if has_port else f"{host}:{PORTS.get(scheme.lower(), '443')}"
    return f"{scheme}://{userinfo}{at}{host}{rest[end:]}"


def parse(request: WebhookRequest) -> Sequence[WebhookEvent]:
    """The one event of a verified request; raises `Unreadable`."""
    if request.event not in EVENTS:
        return [Unknown(word=request.event)]
    given = _parameters(request)
    return [_message(given) if request.event == "message" else _status(request, given)]


def _parameters(request: WebhookRequest) -> dict[str, str]:
    """The parameters as text, the first value of each name."""
    _, _, query = request.url.partition("?")
    if request.method != "POST":
        pairs = _pairs(_bytes(query.partition("#")[0]))
    elif _is_form(request) or not request.body:
        pairs = _pairs(request.body)
    else:
        return _json_parameters(request.body)
    given: dict[str, str] = {}
    try:
        for name, value in pairs:
            given.setdefault(_stored(name.decode()), _stored(value.decode()))
    except UnicodeDecodeError as error:
        raise Unreadable("The form is not UTF-8.") from error
    return given


def _stored(text: str) -> str:
    """The text as PostgreSQL can hold it: without NUL, and no halves of surrogate pairs."""
    return text.replace("\0", "").encode(errors="replace").decode()


def _json_parameters(body: bytes) -> dict[str, str]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable("The body is not JSON.") from error
    if not isinstance(given, dict):
        raise Unreadable("The body is not a JSON object.")
    return {
        _stored(name): _stored(value if isinstance(value, str) else json.dumps(value))
        for name, value in given.items()
        if value is not None
    }


def _status(request: WebhookRequest, given: Mapping[str, str]) -> WebhookEvent:
    sid = _sid(given)
    message_id = _message_id(request.url)
    if sid is None and message_id is None:
        raise Unreadable("The status names no message.")
    word = _first(given, "MessageStatus", "SmsStatus", "EventType").strip().lower()[:64]
    if given.get("EventType", "").upper() == "READ":
        word = "read"  # WhatsApp and RCS tell it there too
    code = given.get("ErrorCode", "").strip()[:32] or None
    if code == "0":
        code = None
    message = given.get("ErrorMessage", "").strip()[:DETAIL_CHARACTERS]
    return StatusReport(
        external_id=sid,
        message_id=message_id,
        status=STATUSES.get(word),
        word=word,
        key=f"twilio:{sid or ''}:{word}:{code or ''}",
        error_code=code,
        error_message=message or explain(code),
        opted_out=code == OPTED_OUT,
        detail=_detail(given, leave_out=STATUS_READ),
    )


def _message_id(url: str) -> UUID | None:
    """Our id of the message, that the callback URL carries."""
    _, _, query = url.partition("?")
    try:
        values = parse_qs(query.partition("#")[0], max_num_fields=100).get("message_id", [])
        return UUID(values[0]) if len(values) == 1 else None
    except ValueError:
        return None


def _message(given: Mapping[str, str]) -> WebhookEvent:
    sid = _sid(given)
    if sid is None:
        raise Unreadable("The message has no MessageSid.")
    sender = _first(given, "From", "ExternalUserId", "WaId")
    if not sender.strip():
        raise Unreadable("The message has no From.")
    scheme, colon, _ = sender.partition(":")
    if colon and f"{scheme}:" != PREFIX[Channel.WHATSAPP]:
        return Unknown(word=scheme[:64], detail=_detail(given, leave_out=IDS))
    return Inbound(
        external_id=sid,
        channel=Channel.WHATSAPP if _is_whatsapp(given) else Channel.SMS,
        from_address=_bare(sender),
        to_address=_bare(_first(given, "To", "MessagingServiceSid")),
        # A quick reply's text can differ from its Body; people see the button.
        body=_first(given, "ButtonText", "Body", "ListTitle"),
        attachments=tuple(_attachments(given)),
        detail=_places(given) | _detail(given, leave_out=MESSAGE_READ),
    )


def _sid(given: Mapping[str, str]) -> str | None:
    sid = _first(given, "MessageSid", "SmsSid", "SmsMessageSid").strip()
    return sid if 0 < len(sid) <= 64 else None


def _first(given: Mapping[str, str], *names: str) -> str:
    return next((given[name] for name in names if given.get(name)), "")


def _bare(address: str) -> str:
    """An address without its prefix; a + that came unescaped, as a space, is put back."""
    bare = address.removeprefix(PREFIX[Channel.WHATSAPP])[:256]
    if re.fullmatch(r" \d+", bare):
        return "+" + bare.strip()
    return bare.strip()


def _is_whatsapp(given: Mapping[str, str]) -> bool:
    """By the prefix, or where that is missing by what only WhatsApp's messages have."""
    prefix = PREFIX[Channel.WHATSAPP]
    if any(given.get(name, "").startswith(prefix) for name in ("From", "To")):
        return True
    if any(given.get(name) for name in ("WaId", "ExternalUserId", "ButtonPayload")):
        return True
    channel = re.search(r'"type"\s*:\s*"whatsapp"', given.get("ChannelMetadata", "")[:10_000])
    return channel is not None or given.get("MessageType") in WHATSAPP_TYPES


def _attachments(given: Mapping[str, str]) -> Iterator[Attachment]:
    """Every MediaUrl, whatever NumMedia says."""
    numbers = (re.fullmatch(r"MediaUrl(\d{1,3})", name) for name in given)
    for number in sorted(int(match[1]) for match in numbers if match):
        if url := given.get(f"MediaUrl{number}"):
            content_type = given.get(f"MediaContentType{number}") or None
            yield Attachment(url=url, content_type=content_type)


def _places(given: Mapping[str, str]) -> dict[str, Any]:
    """Location and referral, each as one thing."""
    location = {name.lower(): given[name] for name in LOCATION if given.get(name)}
    referral = {
        name.removeprefix("Referral"): value[:DETAIL_CHARACTERS]
        for name, value in given.items()
        if name.startswith("Referral") and value
    }
    found = {"location": location if "latitude" in location else None, "referral": referral}
    return {name: value for name, value in found.items() if value}


def _detail(given: Mapping[str, str], *, leave_out: frozenset[str]) -> dict[str, str]:
    """What else was said, under Twilio's own names, bounded in number and length."""
    rest = [
        (name[:64], value[:DETAIL_CHARACTERS])
        for name, value in given.items()
        if value and name not in leave_out and not name.startswith(("Media", "Referral"))
    ]
    return dict(rest[:DETAILS])


def reply(request: WebhookRequest, events: Sequence[WebhookEvent]) -> Reply:  # noqa: ARG001
    """Twilio's expected answer: TwiML that says nothing, or for a status only 200."""
    if request.event == "message":
        return Reply(status=200, content_type="text/xml", body=EMPTY_TWIML)
    return Reply(status=200)
