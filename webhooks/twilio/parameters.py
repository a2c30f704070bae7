"""The parameters of Twilio's requests, as text that can be stored."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_to_bytes
from uuid import UUID

from webhooks.model import WebhookRequest
from webhooks.values import DETAILS, fitted, in_query, our_id, read_object, stored

FORM = "application/x-www-form-urlencoded"

Given = Mapping[str, str]

# Not repeated in the detail of an event, because it is read elsewhere.
IDS: Final = frozenset(
    {"AccountSid", "ApiVersion", "MessageSid", "SmsSid", "SmsMessageSid", "CallSid"}
)


def read_parameters(request: WebhookRequest) -> dict[str, str]:
    """The parameters as text, the first value of each name."""
    _, _, query = request.url.partition("?")
    if request.method != "POST":
        pairs = pairs_of(as_bytes(query.partition("#")[0]))
    elif is_form(request) or not request.body:
        pairs = pairs_of(request.body)
    else:
        return _from_json(request.body)
    given: dict[str, str] = {}
    for name, value in pairs:  # one bad byte, which is signed like the others, must not spoil all
        text = stored(value.decode(errors="replace"))
        given.setdefault(stored(name.decode(errors="replace")), text)
    return given


def _from_json(body: bytes) -> dict[str, str]:
    return {
        stored(name): stored(value if isinstance(value, str) else json.dumps(value))
        for name, value in read_object(body).items()
        if value is not None
    }


# Cached because it is called twice in a row: to verify the signature, and to read the parameters.
@lru_cache(maxsize=1)
def pairs_of(body: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The parameters of a form, in order, as decoded bytes."""
    return tuple(_pair(part) for part in body.replace(b"+", b" ").split(b"&") if part)


def _pair(part: bytes) -> tuple[bytes, bytes]:
    name, _, value = part.partition(b"=")
    if b"%" in part:
        return unquote_to_bytes(name), unquote_to_bytes(value)
    return name, value


def as_bytes(text: str) -> bytes:
    """A URL as the bytes that came: the server keeps bytes that are not UTF-8 as surrogates."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="replace")


def is_form(request: WebhookRequest) -> bool:
    """Whether the body is said to be a form."""
    content_type, _, _ = request.headers.get("content-type", "").partition(";")
    return content_type.strip().lower() == FORM


def message_id(url: str) -> UUID | None:
    """Our id of the message, from the callback URL."""
    return our_id(in_query(url, "message_id"))


def first(given: Given, *names: str) -> str:
    """The first of these parameters that is not empty."""
    return next((given[name] for name in names if given.get(name)), "")


def sid(given: Given, *names: str) -> str | None:
    """Twilio's id under one of these names; None for a text that cannot be one."""
    found = first(given, *names).strip()
    return found if 0 < len(found) <= 64 else None


def detail(
    given: Given, *, leave_out: frozenset[str], beside: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The other parameters, under Twilio's own names, and details `beside` them; all bounded.

    Values stay whole if possible: half of a flow's answers (FlowData) would not be JSON.
    """
    rest = [
        (name[:64], value)
        for name, value in given.items()
        if value and name not in leave_out and not name.startswith(("Media", "Referral"))
    ]
    kept = fitted({**(beside or {}), **dict(rest[:DETAILS])})
    if len(rest) > DETAILS:
        more = f"It has more than {DETAILS} parameters."
        kept["left_out"] = f"{more} {kept.get('left_out', '')}".rstrip()
    return kept


def bare(address: str, prefix: str = "") -> str:
    """An address without its prefix; a + that came unescaped, as a space, is restored."""
    text = address.removeprefix(prefix)[:256]
    if re.fullmatch(r" \d+", text):
        return "+" + text.strip()
    return text.strip()
