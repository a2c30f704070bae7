"""Postmark, the send half: e-mail through POST /email.

Docs: https://postmarkapp.com/developer/api/email-api (errors: /api/overview#error-codes).
There is no idempotency key; our id is sent as metadata, by which Postmark's list can be filtered
(/api/messages-api), and which its webhooks repeat. Postmark replaces the Message-ID unless
X-PM-KeepID is true (https://postmarkapp.com/developer/user-guide/send-email-with-smtp). A refusal
is an ErrorCode other than 0, even with HTTP status 200.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp

from channels import credentials, email
from channels.errors import AnswerLost, Refused, RefusedForNow, Unreachable
from channels.http import Answer, Limits, ask, json_object, retry_after, words_of
from channels.leaving import built
from channels.model import Account, Attachment, Channel, Mail, Outbound, Sent

API: Final = "https://api.postmarkapp.com"
METADATA = "message_id"
# The stream of mails that name none. https://postmarkapp.com/developer/api/message-streams-api
STREAM: Final = "outbound"
REFERENCES = 20
# Calculated "after it has been base64 encoded"
# https://postmarkapp.com/support/article/1056-what-are-the-attachment-and-email-size-limits
MOST_BYTES: Final = 10 * 2**20

CREDENTIALS: Final = {
    "server_token": re.compile(r"[!-~]{1,256}"),
    "webhook_secret": re.compile(r"[^\x00-\x1f\x7f]{1,256}"),
    "message_stream": re.compile(r"[A-Za-z0-9_-]{1,64}"),
}
REQUIRED = ("server_token",)
# What identifies the list that is asked: only the token says which server it is.
IDENTITY: Final = ("server_token", "message_stream")

Record = Mapping[str, Any]

# Maintenance and too many requests: the same message may pass later.
# https://postmarkapp.com/developer/api/overview#error-codes
RETRYABLE = frozenset({"100", "429"})
# The recipient is inactive, for whatever reason; bounces have `Inactive` for that.
INACTIVE = "406"

REASONS: Final = {
    "10": "Postmark does not accept the account's server token.",
    "100": "Postmark is down for maintenance.",
    "300": "Postmark finds the message invalid.",
    "400": "The sender's address is not set up at Postmark.",
    "401": "The sender's address is not confirmed at Postmark.",
    "405": "The Postmark account may not send: its credits are used up.",
    "406": "Postmark sends no more to this recipient: it bounced, complained or unsubscribed.",
    "411": "Postmark does not allow an attachment of this type.",
    "412": "The Postmark account waits for approval and can only write to its own domain.",
    "413": "The Postmark account may not send.",
    "429": "Postmark asks to send more slowly.",
}


def validate_credentials(given: Mapping[str, str]) -> dict[str, str]:
    """The credentials, empty ones left out; raises `InvalidCredentials` with every problem."""
    return credentials.check(given, CREDENTIALS, provider="Postmark", required=REQUIRED)


def build(account: Account, outbound: Outbound) -> bytes:
    """The body of POST /email; raises `Refused` for a message that is no e-mail."""
    if outbound.channel != Channel.EMAIL:
        raise Refused(f"Postmark does not carry {outbound.channel}.", code="channel")
    content, mail = outbound.content, outbound.mail
    message: dict[str, Any] = {
        "From": outbound.from_address,
        "To": outbound.to_address,
        "Subject": content.subject or "",
        "TextBody": content.body,
        "HtmlBody": content.html_body,
        "ReplyTo": mail.reply_to if mail else None,
        "Headers": _headers(mail) if mail else None,
        "Attachments": [_attachment(each) for each in content.attachments],
        "Metadata": {METADATA: str(outbound.message_id)},
        "MessageStream": account.credentials.get("message_stream"),
    }
    return json.dumps({name: value for name, value in message.items() if value}).encode()


def _headers(mail: Mail) -> list[dict[str, str]]:
    named = email.headers(mail, REFERENCES) | {"X-PM-KeepID": "true"}
    return [{"Name": name, "Value": value} for name, value in named.items()]


def _attachment(attachment: Attachment) -> dict[str, str]:
    part = {
        "Name": attachment.filename or "attachment",
        "Content": b64encode(email.bytes_of(attachment)).decode(),
        "ContentType": attachment.content_type or "application/octet-stream",
    }
    if attachment.content_id:
        part["ContentID"] = f"cid:{attachment.content_id}"
    return part


def read(answer: Answer, stream: str = STREAM) -> Sent:
    """Postmark's answer to a mail sent in `stream`; raises a `SendError` if it did not take it."""
    payload = json_object(answer.text)
    external_id = payload.get("MessageID")
    if not 200 <= answer.status < 300 or _code(payload) not in {None, "0"}:
        raise _refusal(answer, payload, stream)
    if not isinstance(external_id, str) or not re.fullmatch(r"[!-~]{1,64}", external_id):
        raise AnswerLost("Postmark's answer names no message.", code="unreadable")
    return _sent(external_id, payload, "SubmittedAt")


def _sent(external_id: str, payload: Record, *names: str) -> Sent:
    detail = {name: payload[name] for name in names if isinstance(payload.get(name), str)}
    return Sent(external_id=external_id, detail=detail)


def _refusal(
    answer: Answer, payload: Record, stream: str = STREAM
) -> Refused | RefusedForNow | AnswerLost:
    status, code = answer.status, _code(payload)
    message = words_of(payload.get("Message")) or REASONS.get(code or "")
    message = message or f"Postmark answered with HTTP status {status}."
    if status == 429 or code in RETRYABLE or (status == 503 and code is not None):
        return RefusedForNow(message, code=code, retry_after=retry_after(answer.headers))
    if status >= 500 or status == 408:
        return AnswerLost(message, code=code or f"http-{status}")
    if code == INACTIVE:
        return Unreachable(message, code=code, stream=stream)
    return Refused(message, code=code or f"http-{status}")


def _code(payload: Record) -> str | None:
    code = payload.get("ErrorCode")
    return str(code) if isinstance(code, int) and not isinstance(code, bool) else None


def read_list(answer: Answer, outbound: Outbound) -> list[Sent]:
    """The listed messages that have our id, oldest first; raises a `SendError`.

    One whose id cannot be read has none here: Postmark took it all the same.
    """
    payload = json_object(answer.text)
    if answer.status != 200:
        raise _refusal(answer, payload)
    listed = payload.get("Messages")
    if not isinstance(listed, list):
        raise AnswerLost("Postmark's list of messages cannot be read.", code="unreadable")
    records = [each for each in listed if isinstance(each, dict) and _is_ours(each, outbound)]
    records.reverse()  # Postmark lists the newest first
    ids = [id_ if isinstance(id_ := each.get("MessageID"), str) else "" for each in records]
    return [
        _sent(id_, each, "ReceivedAt", "Status") for id_, each in zip(ids, records, strict=True)
    ]


def _is_ours(record: Record, outbound: Outbound) -> bool:
    """Whether a record has our id: we do not rely on Postmark's filter."""
    metadata = record.get("Metadata")
    return isinstance(metadata, dict) and metadata.get(METADATA) == str(outbound.message_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class Postmark:
    """The send half (`channels.model.SendHalf`)."""

    limits: Limits = field(default_factory=Limits)

    async def send(
        self,
        account: Account,
        outbound: Outbound,
        session: aiohttp.ClientSession,
        _callback_url: str,
    ) -> Sent:
        """Hand a message to Postmark with one POST; raises a `SendError`."""
        body = await built(build, account, outbound)
        stream = account.credentials.get("message_stream") or STREAM
        return read(await self._ask(account, session, "POST", "/email", body), stream)

    async def find(
        self,
        account: Account,
        outbound: Outbound,
        session: aiohttp.ClientSession,
        _since: datetime,
    ) -> list[Sent]:
        """The messages with the id of `outbound` that Postmark took, oldest first."""
        query = {"count": "500", "offset": "0", f"metadata_{METADATA}": str(outbound.message_id)}
        if stream := account.credentials.get("message_stream"):
            query["messagestream"] = stream  # else Postmark only lists its default stream
        path = f"/messages/outbound?{urlencode(query)}"
        return read_list(await self._ask(account, session, "GET", path, None), outbound)

    async def _ask(
        self,
        account: Account,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        body: bytes | None,
    ) -> Answer:
        if not (token := account.credentials.get("server_token")):
            raise Refused("The Postmark account has no server token.", code="credentials")
        headers = {"Accept": "application/json", "X-Postmark-Server-Token": token}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return await ask(
            session,
            method,
            (account.api_url or API).rstrip("/") + path,
            provider="Postmark",
            headers=headers,
            body=body,
            limits=self.limits,
        )


half = Postmark()
