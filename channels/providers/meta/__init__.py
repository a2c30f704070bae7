"""Meta, the send half: WhatsApp through the Cloud API.

Docs: https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages
(errors: `reasons`). There is no idempotency key and no way to ask what was taken, so each POST is
sent exactly once. If its answer is lost, only a report, which contains our id
(`biz_opaque_callback_data`), can tell. Numbers have no +; a user id (BSUID) goes into `recipient`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import aiohttp

from channels import credentials, whatsapp
from channels.errors import AnswerLost, CannotAsk, OptedOut, Refused, RefusedForNow
from channels.http import Answer, Limits, ask, json_object, leads_to, retry_after
from channels.leaving import writing
from channels.model import Account, Attachment, Channel, Outbound, ProviderTemplate, Sent
from channels.providers.meta.reasons import OPTED_OUT, RETRYABLE, explain, read_error
from channels.whatsapp import Kind

__all__ = (
    "API", "MEDIA_HOSTS", "VERSION", "Meta", "authorize", "build", "explain", "file_url",
    "half", "is_message_id", "may_pass", "read", "validate_credentials",
)  # fmt: skip

API: Final = "https://graph.facebook.com"
# Until July 2028: https://developers.facebook.com/docs/graph-api/changelog
VERSION: Final = "v25.0"
# The URL under which the id of a file is looked up; and the hosts of files.
_LOOKED_UP: Final = re.compile(r"https?://graph\.facebook\.com/")
MEDIA_HOSTS: Final = re.compile(r"graph\.facebook\.com|lookaside\.fbsbx\.com")

CREDENTIALS: Final = {
    "access_token": re.compile(r"[!-~]{1,1024}"),
    "phone_number_id": re.compile(r"[A-Za-z0-9_]{1,64}"),
    "app_secret": re.compile(r"[!-~]{1,256}"),
    "app_secret_secondary": re.compile(r"[!-~]{1,256}"),
    "verify_token": re.compile(r"[!-~]{1,256}"),
    "business_account_id": re.compile(r"[A-Za-z0-9_]{1,64}"),
}
REQUIRED = ("access_token", "app_secret", "phone_number_id")


def validate_credentials(given: Mapping[str, str]) -> dict[str, str]:
    """The credentials, empty ones left out; raises `InvalidCredentials` with every problem."""
    return credentials.check(given, CREDENTIALS, provider="Meta", required=REQUIRED)


def authorize(account: Account, url: str) -> Mapping[str, str]:
    """The headers to fetch a file: the token, only for Meta's hosts and `api_url`; else {}."""
    token = account.credentials.get("access_token")
    if not token or not leads_to(url, MEDIA_HOSTS, account.api_url):
        return {}
    return {"Authorization": f"Bearer {token}"}


def is_message_id(external_id: str) -> bool:
    """Whether an id is one of WhatsApp's own: Meta finds a quoted message only by such an id."""
    return external_id.startswith("wamid.")


def build(outbound: Outbound) -> dict[str, Any]:
    """The body of POST /messages; raises `Refused` for what Meta does not carry."""
    if outbound.channel is not Channel.WHATSAPP:
        raise Refused(f"Meta does not carry {outbound.channel}.", code="channel")
    message: dict[str, Any] = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "biz_opaque_callback_data": str(outbound.message_id),
    }
    if whatsapp.is_user_id(outbound.to_address):
        message["recipient"] = outbound.to_address
    else:
        message["to"] = outbound.to_address.removeprefix("+")
    if outbound.quotes:
        message["context"] = {"message_id": outbound.quotes}
    content = outbound.content
    if content.template is not None:
        kind, part = "template", _template(content.template)
    elif content.attachments:
        if len(content.attachments) > 1:
            raise Refused("A WhatsApp message carries one file.", code="attachments")
        kind, part = _media(content.attachments[0], content.body)
    else:
        has_link = re.search(r"https?://", content.body) is not None
        kind, part = "text", {"body": content.body, "preview_url": has_link}
    return message | {"type": kind, kind: part}


def _media(attachment: Attachment, caption: str) -> tuple[str, dict[str, str]]:
    if not attachment.url.startswith(("https://", "http://")):
        raise Refused("Meta fetches files by their address; this one has none.", code="attachments")
    kind = whatsapp.kind(attachment)
    part = {"link": attachment.url}
    if caption and kind in {Kind.AUDIO, Kind.STICKER}:
        # Its type was not known when it was accepted. These kinds show no text, so as a document.
        kind = Kind.DOCUMENT
    if caption:
        part["caption"] = caption
    if kind is Kind.DOCUMENT and attachment.filename:
        part["filename"] = attachment.filename
    return str(kind), part


def _template(template: ProviderTemplate) -> dict[str, Any]:
    if not (template.name and template.language):
        raise Refused("The template has no name and language of Meta's.", code="template")
    components: list[Mapping[str, Any]] = [*template.components]
    if template.variables:
        components.append({"type": "body", "parameters": _parameters(template.variables)})
    part: dict[str, Any] = {"name": template.name, "language": {"code": template.language}}
    return part | ({"components": components} if components else {})


def _parameters(variables: Mapping[str, str]) -> list[dict[str, str]]:
    """Numbered values in the order of their numbers, others with their names."""
    if all(name.isdecimal() for name in variables):
        ordered = sorted(variables.items(), key=lambda pair: int(pair[0]))
        return [{"type": "text", "text": value} for _, value in ordered]
    return [
        {"type": "text", "parameter_name": name, "text": value} for name, value in variables.items()
    ]


def read(answer: Answer) -> Sent:
    """Meta's answer to a message; raises a `SendError` if it did not take it."""
    given = json_object(answer.text)
    error = given.get("error")
    if isinstance(error, dict) or not 200 <= answer.status < 300:
        raise _refusal(answer, error)
    message = _first(given.get("messages"))
    external_id = message.get("id")
    if not isinstance(external_id, str) or not re.fullmatch(r"[!-~]{1,256}", external_id):
        raise AnswerLost("Meta's answer names no message.", code="unreadable")
    contact = _first(given.get("contacts"))
    told = {
        "wa_id": contact.get("wa_id"),
        "user_id": contact.get("user_id"),
        "message_status": message.get("message_status"),
    }
    detail = {name: value[:256] for name, value in told.items() if isinstance(value, str) and value}
    return Sent(external_id=external_id, detail=detail)


def _refusal(answer: Answer, error: object) -> Refused | RefusedForNow | AnswerLost:
    status = answer.status
    code, words = read_error(error)
    message = words or f"Meta answered with HTTP status {status}."
    if code == OPTED_OUT:
        return OptedOut(message, code=code, reason="unsubscribe")
    is_later = _passes(error)
    if not is_later and explain(code) is not None:
        return Refused(message, code=code)
    # An error code of Meta's own means that it did not take the message.
    if is_later or status == 429 or (status in {500, 503} and code is not None):
        return RefusedForNow(message, code=code, retry_after=retry_after(answer.headers))
    if status >= 500 or status == 408:
        return AnswerLost(message, code=code or f"http-{status}")
    return Refused(message, code=code or f"http-{status}")


def _passes(error: object) -> bool:
    code, _ = read_error(error)
    return code in RETRYABLE or (isinstance(error, dict) and error.get("is_transient") is True)


def may_pass(answer: bytes) -> bool:
    """Whether Meta's error for a file that we fetch is temporary, whatever the HTTP status."""
    return _passes(json_object(answer.decode(errors="replace")).get("error"))


def _first(items: object) -> Mapping[str, Any]:
    if isinstance(items, list) and items and isinstance(items[0], dict):
        return items[0]
    return {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Meta:
    """The send half (`channels.model.SendHalf`)."""

    limits: Limits = field(default_factory=Limits)

    async def send(
        self,
        account: Account,
        outbound: Outbound,
        session: aiohttp.ClientSession,
        _callback_url: str,
    ) -> Sent:
        """Hand a message to Meta with one POST; raises a `SendError`."""
        held = account.credentials
        token, number = held.get("access_token"), held.get("phone_number_id")
        if not (token and number):
            raise Refused("The Meta account's credentials are incomplete.", code="credentials")
        with writing():
            body = json.dumps(build(outbound)).encode()
        answer = await ask(
            session,
            "POST",
            f"{(account.api_url or API).rstrip('/')}/{VERSION}/{number}/messages",
            provider="Meta",
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            body=body,
            limits=self.limits,
        )
        return read(answer)

    async def find(
        self,
        _account: Account,
        _outbound: Outbound,
        _session: aiohttp.ClientSession,
        _since: datetime,
    ) -> list[Sent]:
        """Meta lists no messages: raises `CannotAsk`."""
        raise CannotAsk("Meta cannot be asked which messages it took.", code="cannot-ask")


def file_url(asked: str, answer: bytes) -> str | None:
    """The URL of a file: for its id Meta answers JSON that names it, whatever the content type (the
    Graph API sometimes says text/javascript). "" if it names none; None if `asked` is the URL of
    the file itself.

    https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media#get-media-url
    """
    if _LOOKED_UP.match(asked) is None:
        return None
    url = json_object(answer.decode(errors="replace")).get("url")
    return url if isinstance(url, str) else ""


half = Meta()
