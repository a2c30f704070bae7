"""What SendGrid accepts on /v3/mail/send, and the recipients of a request.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gateway.simulator.sendgrid_accounts import SendGridAccount
from gateway.simulator.sendgrid_errors import (
    DUPLICATE,
    NO_CONTENT,
    NO_FROM,
    NO_SUBJECT,
    NO_TO,
    ORDER,
    UNVERIFIED,
    SendGridError,
)

MAX_PERSONALIZATIONS = 1000
MAX_CUSTOM_ARGS = 10_000
# Headers that SendGrid sets itself: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors#headers-errors
RESERVED = frozenset(
    {
        "x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type",
        "content-transfer-encoding", "to", "from", "subject", "reply-to", "cc", "bcc",
    }
)  # fmt: skip

_MAILBOX = re.compile(r"[^@\s<>,;:\"()\[\]\\]+@(?:[^@\s<>,;:_]+\.)*[^@\s<>,;:_]+")

Json = dict[str, Any]
Problem = tuple[str | None, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """One mail to one recipient, as SendGrid sends it."""

    to: str
    from_: str
    subject: str
    text: str
    message_id: str | None
    custom_args: dict[str, str] = field(default_factory=dict)
    categories: list[str] = field(default_factory=list)


def check(body: Json, account: SendGridAccount) -> list[Letter]:
    """The letters of a request; raises `SendGridError` with every problem at once."""
    problems = [
        *_personalizations(body),
        *_sender(body),
        *_content(body),
        *_attachments(body),
        *_headers(body),
    ]
    if problems:
        raise SendGridError(400, *problems)
    if account.names_addresses and not account.owns(body["from"]["email"]):
        raise SendGridError(403, ("from", UNVERIFIED))
    return list(letters(body))


def letters(body: Json) -> Iterator[Letter]:
    """A letter for each recipient of each personalization, as far as they can be read."""
    for one in _objects(body.get("personalizations")):
        headers = _object(body.get("headers")) | _object(one.get("headers"))
        message_id = next(
            (str(value) for name, value in headers.items() if name.lower() == "message-id"), None
        )
        args = _object(body.get("custom_args")) | _object(one.get("custom_args"))
        for kind in ("to", "cc", "bcc"):
            for person in _objects(one.get(kind)):
                yield Letter(
                    to=str(person.get("email", "")),
                    from_=str(_object(body.get("from")).get("email", "")),
                    subject=str(one.get("subject") or body.get("subject") or ""),
                    text="".join(
                        str(part.get("value", "")) for part in _objects(body.get("content"))[:1]
                    ),
                    message_id=message_id,
                    custom_args={name: str(value) for name, value in args.items()},
                    categories=[str(some) for some in body.get("categories") or []],
                )


def is_sandboxed(body: Json) -> bool:
    """Whether the mail is only to be checked, not sent (sandbox mode)."""
    settings = _object(_object(body.get("mail_settings")).get("sandbox_mode"))
    return settings.get("enable") is True


def _personalizations(body: Json) -> Iterator[Problem]:
    some = _objects(body.get("personalizations"))
    if not some:
        yield (
            "personalizations",
            "The personalizations field is required and must have at least one personalization.",
        )
    if len(some) > MAX_PERSONALIZATIONS:
        yield "personalizations", "No more than 1000 personalizations are allowed."
    for number, one in enumerate(some):
        where = f"personalizations.{number}"
        if not _objects(one.get("to")):
            yield (
                f"{where}.to",
                NO_TO,
            )
        seen: set[str] = set()
        for kind in ("to", "cc", "bcc"):
            for index, person in enumerate(_objects(one.get(kind))):
                email = str(person.get("email", ""))
                if not _MAILBOX.fullmatch(email):
                    yield f"{where}.{kind}.{index}.email", "Does not contain a valid address."
                if email.lower() in seen:
                    yield (
                        where,
                        DUPLICATE.format(email=email, where=f"{where}.{kind}"),
                    )
                seen.add(email.lower())
        if not (one.get("subject") or body.get("subject") or body.get("template_id")):
            yield (
                "subject",
                NO_SUBJECT,
            )


def _sender(body: Json) -> Iterator[Problem]:
    email = _object(body.get("from")).get("email")
    if not email:
        yield (
            "from.email",
            NO_FROM,
        )
    elif not _MAILBOX.fullmatch(str(email)):
        yield "from.email", "The from email does not contain a valid address."
    reply_to = body.get("reply_to")
    if reply_to is not None and not _MAILBOX.fullmatch(str(_object(reply_to).get("email"))):
        yield "reply_to.email", "The reply_to email does not contain a valid address."


def _content(body: Json) -> Iterator[Problem]:
    parts = _objects(body.get("content"))
    if not parts and not body.get("template_id"):
        yield (
            "content",
            NO_CONTENT,
        )
    for number, part in enumerate(parts):
        if not isinstance(part.get("value"), str) or not part["value"]:
            yield (
                f"content.{number}.value",
                "The content value must be a string at least one character in length.",
            )
    types = [part.get("type") for part in parts]
    if "text/plain" in types[1:]:
        yield (
            "content",
            ORDER,
        )


def _attachments(body: Json) -> Iterator[Problem]:
    for number, one in enumerate(_objects(body.get("attachments"))):
        where = f"attachments.{number}"
        try:
            base64.b64decode(str(one.get("content") or "!"), validate=True)
        except binascii.Error:
            yield f"{where}.content", "The attachment content must be base64 encoded."
        if not one.get("filename"):
            yield f"{where}.filename", "The filename must be a string at least one character long."


def _headers(body: Json) -> Iterator[Problem]:
    blocks = [("", body)]
    some = _objects(body.get("personalizations"))
    blocks += [(f"personalizations.{number}.", one) for number, one in enumerate(some)]
    for where, block in blocks:
        for name, value in _object(block.get("headers")).items():
            if name.lower() in RESERVED:
                yield f"{where}headers.{name}", f"The header {name} is reserved and cannot be used."
            elif not isinstance(value, str) or "\n" in value or "\r" in value:
                yield f"{where}headers.{name}", "The header value must be a string on one line."
        args = _object(block.get("custom_args"))
        if not all(isinstance(value, str) for value in args.values()):
            yield f"{where}custom_args", "The custom_args values must be strings."
        if sum(len(name) + len(str(value)) for name, value in args.items()) > MAX_CUSTOM_ARGS:
            yield f"{where}custom_args", "The custom_args must be less than 10000 bytes."


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[Json]:
    return [some for some in value if isinstance(some, dict)] if isinstance(value, list) else []
