"""SendGrid, the send half: e-mail.

Docs: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send (errors and limits are
next to it). There is no idempotency key, and asking what was taken needs a paid add-on: `find`
raises `CannotAsk`, and only reports tell, which have our id in custom_args.
Oddities: the id is only in the header X-Message-Id, and missing in sandbox mode (a 200 or 202
without one counts as taken, with our own id); webhooks and each Inbound Parse policy have their own
keys, so `webhook_public_key` may be several, separated by commas.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import aiohttp
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from channels import credentials, email
from channels.errors import AnswerLost, CannotAsk, Refused, RefusedForNow
from channels.http import LONGEST_WAIT, Answer, Limits, ask, parse_date, retry_after, words_of
from channels.json_text import load
from channels.leaving import built
from channels.model import Account, Attachment, Channel, Outbound, Sent

API: Final = {"global": "https://api.sendgrid.com", "eu": "https://api.eu.sendgrid.com"}
CREDENTIALS: Final = {
    "api_key": re.compile(r"[!-~]{1,512}"),
    "webhook_public_key": re.compile(r"[A-Za-z0-9+/=,]{1,4096}"),
    "webhook_public_key_secondary": re.compile(r"[A-Za-z0-9+/=,]{1,4096}"),
    "inbound_secret": re.compile(r"[!-~]{1,256}"),
    "region": re.compile("|".join(API)),
}
KEYS: Final = ("webhook_public_key", "webhook_public_key_secondary")


def validate_credentials(given: Mapping[str, str]) -> dict[str, str]:
    """The credentials, empty ones left out; raises `InvalidCredentials` with every problem."""
    given = {name: _without_armour(v) if name in KEYS else v for name, v in given.items()}
    return credentials.check(
        given, CREDENTIALS, provider="SendGrid", required=("api_key",), more=_problems
    )


def _problems(values: Mapping[str, str]) -> list[credentials.Problem]:
    words = "is not a public key as SendGrid shows it (base64, P-256)"
    return [(name, words) for name in KEYS if name in values and not _are_keys(values[name])]


def _without_armour(text: str) -> str:
    """Keys as SendGrid shows them, if they were given as PEM, too."""
    return "".join(re.sub(r"-----[A-Z ]+-----", "", text).split())


def _are_keys(text: str) -> bool:
    try:
        return bool(public_keys({KEYS[0]: text}))
    except ValueError:
        return False


def public_keys(credentials: Mapping[str, str]) -> list[ec.EllipticCurvePublicKey]:
    """The keys that SendGrid may sign with; raises ValueError if one is not valid."""
    texts = [text for name in KEYS for text in credentials.get(name, "").split(",") if text]
    return [_public_key(text) for text in texts]


# Parsing a key takes as long as verifying a signature with it.
@lru_cache(maxsize=1000)
def _public_key(text: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(b64decode(text, validate=True))
    except UnsupportedAlgorithm as error:
        raise ValueError("not a key on an elliptic curve") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("not a key on an elliptic curve")
    return key


def base_url(account: Account) -> str:
    """The base URL of the account's API: European accounts have another one."""
    own = API.get(account.credentials.get("region", ""), API["global"])
    return (account.api_url or own).rstrip("/")


def build(outbound: Outbound) -> dict[str, Any]:
    """The JSON of POST /v3/mail/send; raises `Refused` for a message that is no mail."""
    if outbound.channel is not Channel.EMAIL:
        raise Refused(f"SendGrid does not carry {outbound.channel}.", code="channel")
    content = outbound.content
    parts = (("text/plain", content.body), ("text/html", content.html_body))
    body: dict[str, Any] = {
        "personalizations": [
            {
                "to": [{"email": outbound.to_address}],
                # Every event returns it as a member, next to SendGrid's own.
                "custom_args": {"message_id": str(outbound.message_id)},
            }
        ],
        "from": {"email": outbound.from_address},
        "subject": content.subject,
        "content": [{"type": kind, "value": text} for kind, text in parts if text],
    }
    if content.attachments:
        body["attachments"] = [_attachment(each) for each in content.attachments]
    if outbound.mail:
        body["headers"] = email.headers(outbound.mail)
        if outbound.mail.reply_to:
            body["reply_to"] = {"email": outbound.mail.reply_to}
    return body


def _attachment(attachment: Attachment) -> dict[str, str]:
    kind, _, _ = (attachment.content_type or "").partition(";")
    given = {
        "content": b64encode(email.bytes_of(attachment)).decode(),
        "type": kind.strip() or "application/octet-stream",
        "filename": attachment.filename or "attachment",
        "disposition": "inline" if attachment.content_id else "attachment",
    }
    return given | ({"content_id": attachment.content_id} if attachment.content_id else {})


def read(answer: Answer, outbound: Outbound) -> Sent:
    """SendGrid's answer to a mail; raises a `SendError` if it did not take it."""
    if 200 <= answer.status < 300:
        given = answer.headers.get("x-message-id", "").strip()
        if re.fullmatch(r"[!-~]{1,128}", given):
            return Sent(external_id=given)
        if answer.status in {200, 202} and not answer.text.strip():
            return Sent(external_id=str(outbound.message_id))
        raise AnswerLost("SendGrid's answer names no message.", code="unreadable")
    words = _words(answer.text)
    message = words or f"SendGrid answered with HTTP status {answer.status}."
    code = f"http-{answer.status}"
    if answer.status == 429 or (answer.status >= 500 and words):
        raise RefusedForNow(message, code=code, retry_after=_wait(answer.headers))
    if answer.status >= 500 or answer.status == 408:
        raise AnswerLost(message, code=code)
    raise Refused(message, code=code)


def _words(text: str) -> str | None:
    """The first message in an error body of SendGrid's own; None if the body is not SendGrid's."""
    try:
        payload = load(text)
    except ValueError:
        return None
    errors = payload.get("errors") if isinstance(payload, dict) else None
    for error in errors if isinstance(errors, list) else []:
        if isinstance(error, dict) and (words := words_of(error.get("message"))):
            return words
    return None


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: Retry-After, else until X-RateLimit-Reset by the answer's own clock."""
    wait, reset = retry_after(headers), headers.get("x-ratelimit-reset", "").strip()
    if wait is not None or re.fullmatch(r"[0-9]{1,11}", reset) is None:
        return wait
    now = parse_date(headers.get("date")) or datetime.now(UTC)
    return min(max(float(reset) - now.timestamp(), 0.0), LONGEST_WAIT)


@dataclass(frozen=True, kw_only=True, slots=True)
class SendGrid:
    """The send half (`channels.model.SendHalf`)."""

    limits: Limits = field(default_factory=Limits)

    async def send(
        self,
        account: Account,
        outbound: Outbound,
        session: aiohttp.ClientSession,
        _callback_url: str,
    ) -> Sent:
        """Hand a mail to SendGrid with one POST; raises a `SendError`."""
        key = account.credentials.get("api_key")
        if not key:
            raise Refused("The SendGrid account's credentials are incomplete.", code="credentials")
        body = await built(lambda: json.dumps(build(outbound)).encode())
        answer = await ask(
            session,
            "POST",
            base_url(account) + "/v3/mail/send",
            provider="SendGrid",
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            body=body,
            limits=self.limits,
        )
        return read(answer, outbound)

    async def find(
        self,
        _account: Account,
        _outbound: Outbound,
        _session: aiohttp.ClientSession,
        _since: datetime,
    ) -> list[Sent]:
        """Raises `CannotAsk`: SendGrid's Email Activity is a paid add-on, and lags."""
        raise CannotAsk("SendGrid cannot be asked what it took; its reports tell.", code="no-list")


half = SendGrid()
