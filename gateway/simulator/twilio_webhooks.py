"""Twilio's requests: their fields, their signature, and the overrides in a URL's fragment.

https://www.twilio.com/docs/usage/webhooks/messaging-webhooks,
https://www.twilio.com/docs/usage/webhooks/webhooks-security,
https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from twilio.request_validator import RequestValidator

from gateway.simulator.callbacks import Callback, Limits
from gateway.simulator.provider import InboundBody
from gateway.simulator.twilio_accounts import TwilioAccount
from gateway.simulator.twilio_book import API_VERSION
from gateway.simulator.twilio_messages import Message

FORM = "application/x-www-form-urlencoded; charset=UTF-8"
_POLICIES = frozenset({"ct", "rt", "4xx", "5xx"})
# Keywords for SMS: https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out
STOP_WORDS = frozenset(
    {"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"}
)
START_WORDS = frozenset({"START", "YES", "UNSTOP"})


def limits(fragment: str) -> Limits:
    """The limits from a URL's fragment; values out of range count as the default."""
    given = dict(parse_qsl(fragment))

    def bounded(name: str, low: int, high: int, default: int) -> int:
        text = given.get(name, "")
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else default
        return value if low <= value <= high else default

    words = {word.strip() for word in given.get("rp", "ct").split(",")}
    retry_on = frozenset({"ct"})
    if words <= {*_POLICIES, "all"}:  # an invalid word is a warning (11243), and means the default
        retry_on |= _POLICIES if "all" in words else words
    return Limits(
        connect=bounded("ct", 100, 10_000, 5_000) / 1000,
        read=bounded("rt", 100, 15_000, 15_000) / 1000,
        total=bounded("tt", 100, 15_000, 15_000) / 1000,
        retries=bounded("rc", 0, 5, 1),
        retry_on=retry_on,
    )


def signed(
    account: TwilioAccount, url: str, params: Mapping[str, str], token: str, *, method: str = "POST"
) -> Callback:
    """The request to `url` with these form parameters; `token` is the same for its retries.

    With GET the parameters are in the query, and so are signed with the rest of the URL.

    The signature is made with the primary auth token, over the URL without its fragment but with
    user and password; those are sent only after a 401
    (https://www.twilio.com/docs/usage/security).
    """
    bare_url, _, fragment = url.partition("#")
    if method == "GET":
        bare_url += ("&" if "?" in bare_url else "?") + urlencode(params)
        params = {}
    signature = RequestValidator(account.auth_token).compute_signature(bare_url, params)
    target, user, password = _without_user(bare_url)
    return Callback(
        url=target,
        method=method,
        body=urlencode(params).encode(),
        headers={
            "Accept": "*/*",
            **({} if method == "GET" else {"Content-Type": FORM}),
            "User-Agent": "TwilioProxy/1.1",
            "X-Twilio-Signature": signature,
            "I-Twilio-Idempotency-Token": token,
        },
        limits=limits(fragment),
        username=user,
        password=password,
    )


def _without_user(url: str) -> tuple[str, str | None, str]:
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None, ""
    user, _, password = userinfo.partition(":")
    return url.replace(parts.netloc, host, 1), unquote(user), unquote(password)


def status_params(message: Message, now: datetime) -> dict[str, str]:
    """The form of a status callback for the message as it is now."""
    params: dict[str, str] = {}
    if message.channel == "sms" and message.status in {"delivered", "undelivered"}:
        # The carrier's own time, to the minute.
        params["RawDlrDoneDate"] = now.strftime("%y%m%d%H%M")
    failed = message.status in {"failed", "undelivered"}
    if failed and message.error_code is not None:
        params["ErrorCode"] = str(message.error_code)
        if message.error_message is not None:
            params["ErrorMessage"] = message.error_message
    params |= {
        "SmsSid": message.sid,
        "SmsStatus": message.status,
        "MessageStatus": message.status,
        "To": message.to,
    }
    if message.service is not None:
        params["MessagingServiceSid"] = message.service
    params |= {"MessageSid": message.sid, "AccountSid": message.account_sid}
    if message.from_ is not None:
        params["From"] = message.from_
    params["ApiVersion"] = API_VERSION
    if message.channel == "whatsapp":
        params |= {
            "ChannelPrefix": "whatsapp",
            "ChannelInstallSid": f"XE{message.account_sid[2:]}",
            "ChannelToAddress": message.to.removeprefix("whatsapp:"),
        }
        if message.status in {"delivered", "read"}:
            params["EventType"] = message.status.upper()
        if failed and message.error_message is not None:
            params["ChannelStatusMessage"] = message.error_message
    return params


def inbound_params(message: Message, body: InboundBody) -> dict[str, str]:
    """The form of an inbound message."""
    whatsapp = message.channel == "whatsapp"
    params: dict[str, str] = {}
    if not whatsapp:
        for side, address in (("To", message.to), ("From", message.from_ or "")):
            params |= {
                f"{side}Country": "US" if address.startswith("+1") else "",
                f"{side}State": "",
                f"{side}City": "",
                f"{side}Zip": "",
            }
    params |= {
        "SmsMessageSid": message.sid,
        "NumMedia": str(len(message.media)),
        "SmsSid": message.sid,
        "SmsStatus": "received",
        "Body": message.body,
        "To": message.to,
        "NumSegments": str(message.num_segments),
        "MessageSid": message.sid,
        "AccountSid": message.account_sid,
        "From": message.from_ or "",
        "ApiVersion": API_VERSION,
    }
    if message.service is not None:
        params["MessagingServiceSid"] = message.service
    for number, (url, media) in enumerate(zip(message.media, body.media, strict=True)):
        params[f"MediaUrl{number}"] = url
        params[f"MediaContentType{number}"] = media.content_type
    if whatsapp:
        user = (message.from_ or "").removeprefix("whatsapp:")
        params |= {
            "ProfileName": body.profile_name or "Simulated Person",
            "MessageType": body.media[0].content_type.split("/")[0] if body.media else "text",
        }
        if user.startswith("+"):
            # A user with a user name may have no phone number.
            params["WaId"] = user.removeprefix("+")
    return params | texts(body)


def texts(body: InboundBody) -> dict[str, str]:
    """The parameters that `/_sim/inbound` adds to a form: `ButtonText`, `OptOutType`, ..."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in body.params.items()
    }
