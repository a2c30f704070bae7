"""Mailgun, the send half: e-mail.

Docs: https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages and, to ask
what it took, /events/get-v3-domain_name-events. There is no idempotency key, but the Message-ID is
ours, and events can be searched by it; an event may be listed half an hour late
(https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-polling).
Oddities: a wrong path answers 200 "Mailgun Magnificent API"; a 5xx may come after the mail was
taken (https://feedback.mailgun.com/users/921341509-marketsmart); 401 is plain text; an inline
file's Content-ID is its file name; file names are raw UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp

from channels import credentials, email
from channels.errors import AnswerLost, CannotAsk, Refused, RefusedForNow
from channels.http import Answer, Limits, ask, json_object, leads_to, retry_after, words_of
from channels.leaving import built
from channels.model import Account, AnswerReport, Attachment, Channel, Mail, Outbound, Sent

API: Final = {"us": "https://api.mailgun.net", "eu": "https://api.eu.mailgun.net"}
HOSTS: Final = re.compile(r"([a-z0-9-]+\.)?api(\.[a-z]{2})?\.mailgun\.net")
WRONG_PATH: Final = "Mailgun Magnificent API"
CLOCK_SLACK: Final = timedelta(minutes=5)
# How long an event may take until it can be found.
LATEST_EVENT: Final = timedelta(minutes=30)
# Events of free accounts are kept for a day; the rest is a margin.
# https://documentation.mailgun.com/docs/mailgun/user-manual/events/
KEPT: Final = timedelta(hours=20)
# Its files in base64, as in the mail that Mailgun makes of it ("maximum messages size of 25MB").
# https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages
MOST_BYTES: Final = 25 * 2**20

CREDENTIALS: Final = {
    "api_key": re.compile(r"[!-~]{1,256}"),
    "domain": re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"),
    "webhook_signing_key": re.compile(r"[!-~]{1,256}"),
    "region": re.compile("|".join(API)),
}
REQUIRED: Final = ("api_key", "domain")
# What identifies the list of events that is asked.
IDENTITY: Final = ("domain", "region")

Fields = list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """A request's body and what its Content-Type header says."""

    content_type: str
    content: bytes = field(repr=False)


def validate_credentials(given: Mapping[str, str]) -> dict[str, str]:
    """The credentials, empty ones left out; raises `InvalidCredentials` with every problem."""
    return credentials.check(given, CREDENTIALS, provider="Mailgun", required=REQUIRED)


def authorize(account: Account, url: str) -> Mapping[str, str]:
    """The headers to fetch a stored mail or file, only for Mailgun's own hosts; else {}."""
    return _authorization(account) if leads_to(url, HOSTS, account.api_url) else {}


def _authorization(account: Account) -> dict[str, str]:
    key = account.credentials.get("api_key", "")
    return {"Authorization": aiohttp.encode_basic_auth("api", key)}


def base_url(account: Account) -> str:
    """The base URL of the account's API: European domains have another one."""
    own = API.get(account.credentials.get("region", ""), API["us"])
    return (account.api_url or own).rstrip("/")


def build(outbound: Outbound) -> Body:
    """The form of POST /v3/{domain}/messages; raises `Refused` for a message that is no mail."""
    if outbound.channel is not Channel.EMAIL:
        raise Refused(f"Mailgun does not carry {outbound.channel}.", code="channel")
    content = outbound.content
    fields: Fields = [
        ("from", outbound.from_address),
        ("to", outbound.to_address),
        ("subject", content.subject or ""),
        ("text", content.body),
    ]
    if content.html_body:
        fields.append(("html", content.html_body))
    fields += _headers(outbound)
    # Every event returns it in user-variables.
    fields.append(("v:message_id", str(outbound.message_id)))
    parts = [(f'name="{name}"', value.encode(errors="replace")) for name, value in fields]
    parts += [_file(each) for each in content.attachments]
    return _multipart(parts)


def _headers(outbound: Outbound) -> Fields:
    mail = outbound.mail or Mail(message_id=message_id(outbound))
    named = email.headers(mail) | ({"Reply-To": mail.reply_to} if mail.reply_to else {})
    # Mailgun's documentation spells it Message-Id.
    return [(f"h:{name.title()}", value) for name, value in named.items()]


def message_id(outbound: Outbound) -> str:
    """The Message-ID that we give the mail, without <>: it is also Mailgun's id."""
    if outbound.mail:
        return outbound.mail.message_id
    return f"{outbound.message_id}@{outbound.from_address.rpartition('@')[2]}"


def _file(attachment: Attachment) -> tuple[str, bytes]:
    kind, name = "attachment", attachment.filename or "attachment"
    if attachment.content_id:
        kind, name = "inline", attachment.content_id
    # Escaped as in browsers (https://html.spec.whatwg.org/#multipart-form-data).
    for mark, escaped in (('"', "%22"), ("\r", "%0D"), ("\n", "%0A")):
        name = name.replace(mark, escaped)
    content_type = " ".join((attachment.content_type or "application/octet-stream").split())
    head = f'name="{kind}"; filename="{name}"\r\nContent-Type: {content_type}'
    return head, email.bytes_of(attachment)


def _multipart(parts: list[tuple[str, bytes]]) -> Body:
    """A form as in RFC 7578; the boundary is a digest of its parts, so none of them contains it."""
    digest = sha256()
    for head, value in parts:
        digest.update(head.encode(errors="replace") + b"\n" + value + b"\n")
    boundary = "gateway-" + digest.hexdigest()[:48]
    body = bytearray()
    for head, value in parts:
        disposition = f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n"
        body += disposition.encode(errors="replace") + value + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    content_type = f"multipart/form-data; boundary={boundary}"
    return Body(content_type=content_type, content=bytes(body))


def read(answer: Answer) -> Sent:
    """Mailgun's answer to a mail; raises a `SendError` if it did not take it."""
    payload = json_object(answer.text)
    if 200 <= answer.status < 300:
        if answer.text.strip().strip('"').startswith(WRONG_PATH):
            raise Refused("This is not a path of Mailgun's API: is the domain right?", code="path")
        given = payload.get("id")
        if not isinstance(given, str) or not re.fullmatch(r"<?[!-;=?-~]{1,990}>?", given):
            raise AnswerLost("Mailgun's answer names no message.", code="unreadable")
        words = payload.get("message")
        detail = {"message": words[:200]} if isinstance(words, str) else {}
        return Sent(external_id=given.strip("<>"), detail=detail)
    raise _refusal(answer, payload)


def _refusal(answer: Answer, payload: Mapping[str, Any]) -> Refused | RefusedForNow | AnswerLost:
    message = words_of(payload.get("message")) or _meaning(answer.status)
    code = f"http-{answer.status}"
    if answer.status == 429:
        return RefusedForNow(message, code=code, retry_after=retry_after(answer.headers))
    if answer.status >= 500 or answer.status == 408:
        return AnswerLost(message, code=code)
    return Refused(message, code=code)


def _meaning(status: int) -> str:
    if status == 401:
        return "Mailgun does not accept the account's API key."
    return f"Mailgun answered with HTTP status {status}."


def read_events(answer: Answer, outbound: Outbound, since: datetime, now: datetime) -> list[Sent]:
    """The mail with what the listed events say about it, if there are any; raises a `SendError`.

    If there are none, that only counts while every event since then can be found: before it raises
    `AnswerLost`, and afterwards `CannotAsk`.
    """
    payload = json_object(answer.text)
    if not 200 <= answer.status < 300:
        raise _refusal(answer, payload)
    items = payload.get("items")
    if not isinstance(items, list):
        raise AnswerLost("Mailgun's list of events cannot be read.", code="unreadable")
    ours = message_id(outbound)
    about = [item for item in items if _message_of(item) == ours]
    if about:
        # Each event is the same as in the webhook.
        reports = tuple(AnswerReport(event="events", body={"event-data": item}) for item in about)
        return [Sent(external_id=ours, reports=reports)]
    if now - since < LATEST_EVENT:
        raise AnswerLost("Mailgun may not list what it took yet.", code="too-early")
    if now - since > KEPT:
        text = "Mailgun may forget after a day what it took; only its reports can tell."
        raise CannotAsk(text, code="too-late")
    return []


def _message_of(event: object) -> str | None:
    """The Message-ID, without <>, of the mail that an event is about."""
    found = event
    for name in ("message", "headers", "message-id"):
        found = found.get(name) if isinstance(found, dict) else None
    return found.strip("<>") if isinstance(found, str) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Mailgun:
    """The send half (`channels.model.SendHalf`)."""

    limits: Limits = field(default_factory=Limits)

    async def send(
        self,
        account: Account,
        outbound: Outbound,
        session: aiohttp.ClientSession,
        _callback_url: str,
    ) -> Sent:
        """Hand a mail to Mailgun with one POST; raises a `SendError`."""
        body = await built(build, outbound)
        return read(await self._ask(account, session, "POST", "messages", body))

    async def find(
        self,
        account: Account,
        outbound: Outbound,
        session: aiohttp.ClientSession,
        since: datetime,
    ) -> list[Sent]:
        """The mail, if Mailgun has an event of it; raises a `SendError`.

        Searched only by our Message-ID, which no other mail has. Not by recipient, too: Mailgun may
        list the address in another form (case, domain); then the mail would not be found, and would
        be sent again.
        """
        query = {
            "begin": f"{(since - CLOCK_SLACK).timestamp():.0f}",
            "ascending": "yes",
            "limit": "100",
            "message-id": message_id(outbound),
        }
        answer = await self._ask(account, session, "GET", "events?" + urlencode(query), None)
        return read_events(answer, outbound, since, datetime.now(UTC))

    async def _ask(
        self,
        account: Account,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        body: Body | None,
    ) -> Answer:
        held = account.credentials
        if not (held.get("api_key") and held.get("domain")):
            raise Refused("The Mailgun account's credentials are incomplete.", code="credentials")
        content_type = {"Content-Type": body.content_type} if body else {}
        return await ask(
            session,
            method,
            f"{base_url(account)}/v3/{quote(held['domain'], safe='')}/{path}",
            provider="Mailgun",
            headers=_authorization(account) | content_type,
            body=body.content if body else None,
            limits=self.limits,
        )


half = Mailgun()
