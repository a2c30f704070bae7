"""Resend, the send half: e-mail through POST /emails.

Docs: https://resend.com/docs/api-reference/emails/send-email (errors: /api-reference/errors).
Our id is the Idempotency-Key: for 24 hours the same request is answered with the id of the first
(https://resend.com/docs/dashboard/emails/idempotency-keys). It is also sent as a tag, which the
webhooks repeat. Oddities: Resend sends through Amazon SES, which replaces our Message-ID with its
own (https://github.com/resend/resend-node/issues/133); an API key that may only send cannot fetch
received mails.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp

from channels import credentials, email
from channels.errors import AnswerLost, CannotAsk, NotLookedAt, Refused, RefusedForNow
from channels.http import Answer, Limits, ask, json_object, leads_to, retry_after, words_of
from channels.leaving import built
from channels.model import Account, Attachment, Channel, Outbound, Sent

API: Final = "https://api.resend.com"
HOST: Final = re.compile(r"api\.resend\.com")
TAG: Final = "message_id"
REFERENCES = 20
# A key is known for 24 hours; the rest is for the time until the message is sent again.
KNOWN: Final = timedelta(hours=20)

CREDENTIALS: Final = {
    "api_key": re.compile(r"[!-~]{1,256}"),
    "webhook_secret": re.compile(r"(whsec_)?[A-Za-z0-9+/]{8,256}={0,2}"),
}
REQUIRED = ("api_key",)
# The account whose Idempotency-Keys count; only the API key says which one it is.
IDENTITY: Final = ("api_key",)

# Both mean that Resend knows the Idempotency-Key: it has the mail, or is just taking it.
BUSY: Final = "concurrent_idempotent_requests"
CHANGED: Final = "invalid_idempotent_request"
# Errors in the mail itself, so the first request was refused for them as well.
ABOUT_THE_MAIL: Final = (413, 422)
REASONS: Final = {
    BUSY: "Resend is still busy with the first request for this mail.",
    CHANGED: "Resend has this mail already, in an earlier form.",
}


def validate_credentials(given: Mapping[str, str]) -> dict[str, str]:
    """The credentials, empty ones left out; raises `InvalidCredentials` with every problem."""
    return credentials.check(
        given, CREDENTIALS, provider="Resend", required=REQUIRED, more=_problems
    )


def _problems(values: Mapping[str, str]) -> list[credentials.Problem]:
    if secret_key(values.get("webhook_secret", "")) is None:
        return [("webhook_secret", "is not whsec_ and base64")]
    return []


def secret_key(secret: str) -> bytes | None:
    """The key that signs webhooks, decoded from `whsec_` and base64; None if it is not base64."""
    try:
        return b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return None


def authorize(account: Account, url: str) -> Mapping[str, str]:
    """The headers to fetch a mail from Resend; {} for every other host."""
    key = account.credentials.get("api_key")
    if not key or not leads_to(url, HOST, account.api_url):
        return {}
    return {"Authorization": f"Bearer {key}"}


def build(outbound: Outbound) -> bytes:
    """The body of POST /emails; raises `Refused` for a message that is no e-mail."""
    if outbound.channel != Channel.EMAIL:
        raise Refused(f"Resend does not carry {outbound.channel}.", code="channel")
    content, mail = outbound.content, outbound.mail
    message: dict[str, Any] = {
        "from": outbound.from_address,
        "to": [outbound.to_address],
        "subject": content.subject or "",
        "text": content.body,
        "html": content.html_body,
        "reply_to": mail.reply_to if mail else None,
        "headers": email.headers(mail, REFERENCES) if mail else None,
        "attachments": [_attachment(each) for each in content.attachments],
        "tags": [{"name": TAG, "value": str(outbound.message_id)}],
    }
    return json.dumps({name: value for name, value in message.items() if value}).encode()


def _attachment(attachment: Attachment) -> dict[str, str]:
    part = {
        "filename": attachment.filename or "attachment",
        "content": b64encode(email.bytes_of(attachment)).decode(),
        "content_type": attachment.content_type or "application/octet-stream",
    }
    return part | ({"content_id": attachment.content_id} if attachment.content_id else {})


def read(answer: Answer) -> Sent:
    """Resend's answer to a mail; raises a `SendError` if it did not take it."""
    payload = json_object(answer.text)
    if 200 <= answer.status < 300:
        external_id = payload.get("id")
        if not isinstance(external_id, str) or not re.fullmatch(r"[!-~]{1,64}", external_id):
            raise AnswerLost("Resend's answer names no mail.", code="unreadable")
        return Sent(external_id=external_id)
    name, said = payload.get("name"), words_of(payload.get("message"))
    is_name = isinstance(name, str) and re.fullmatch(r"\w{1,64}", name)
    code = str(name) if is_name else f"http-{answer.status}"
    message = REASONS.get(code) or said or f"Resend answered with HTTP status {answer.status}."
    if answer.status == 429:
        raise RefusedForNow(message, code=code, retry_after=retry_after(answer.headers))
    if code == CHANGED:  # every time that it is sent; Resend does not tell the id of the first
        raise CannotAsk(message, code=code)
    if answer.status >= 500 or answer.status == 408 or code == BUSY:
        raise AnswerLost(message, code=code)
    # Others are about the API key or domain, which may have changed since the first request.
    raise (Refused if answer.status in ABOUT_THE_MAIL else NotLookedAt)(message, code=code)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resend:
    """The send half (`channels.model.SendHalf`)."""

    limits: Limits = field(default_factory=Limits)

    async def send(
        self,
        account: Account,
        outbound: Outbound,
        session: aiohttp.ClientSession,
        _callback_url: str,
    ) -> Sent:
        """Hand a mail to Resend with one POST; raises a `SendError`."""
        key = account.credentials.get("api_key")
        if not key:
            raise NotLookedAt("The Resend account has no api_key.", code="credentials")
        answer = await ask(
            session,
            "POST",
            (account.api_url or API).rstrip("/") + "/emails",
            provider="Resend",
            headers={
                "Authorization": f"Bearer {key}",
                "Content-Type": "application/json",
                "Idempotency-Key": str(outbound.message_id),
            },
            body=await built(build, outbound),
            limits=self.limits,
        )
        return read(answer)

    async def find(
        self,
        _account: Account,
        _outbound: Outbound,
        _session: aiohttp.ClientSession,
        since: datetime,
    ) -> list[Sent]:
        """Nothing, so that dispatch sends the mail once more, which is how Resend is asked.

        The same request with the same Idempotency-Key makes no second mail, but returns the id of
        the first. It cannot be made here, where files are not loaded: if the first request never
        arrived, a mail without its files would be sent. Raises `CannotAsk` once Resend may have
        forgotten the key.
        """
        if datetime.now(UTC) - since > KNOWN:
            text = "Resend forgets after a day what it took; only its reports can tell."
            raise CannotAsk(text, code="too-late")
        return []


half = Resend()
