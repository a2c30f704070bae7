"""What the Cloud API accepts as a message.

https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from gateway.simulator.callbacks import is_callable_url
from gateway.simulator.meta_accounts import MetaAccount
from gateway.simulator.meta_errors import MetaError

MAX_BODY = 4096
MAX_CAPTION = 1024
MAX_OPAQUE = 512
MEDIA = ("image", "video", "audio", "document", "sticker")
TYPES = frozenset({"text", *MEDIA, "location", "contacts", "interactive", "reaction", "template"})
_VARIABLE = re.compile(r"\{\{\s*[A-Za-z0-9_]+\s*\}\}")

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A message that Meta accepts: `to` in digits (or a user's id), and the readable `text`."""

    to: str
    kind: str
    text: str
    opaque: str | None


def check(body: Json, account: MetaAccount) -> Request:
    """Read the body of a new message; raises `MetaError` as Meta would."""
    if body.get("messaging_product") != "whatsapp":
        raise MetaError(100, "The parameter messaging_product is required and must be 'whatsapp'.")
    to = recipient(body)
    if to is None:
        raise MetaError(100, "The parameter to is required.")
    if to == account.number:
        raise MetaError(131021)
    kind = str(body.get("type") or "text")
    if kind not in TYPES:
        raise MetaError(100, f"Param type must be one of {{{', '.join(sorted(TYPES))}}}.")
    said = body.get(kind)
    if not isinstance(said, dict) and kind != "contacts":
        raise MetaError(131008, f"Parameter '{kind}' is mandatory for type '{kind}'.")
    said = said if isinstance(said, dict) else {}
    opaque = body.get("biz_opaque_callback_data")
    if opaque is not None and (not isinstance(opaque, str) or len(opaque) > MAX_OPAQUE):
        raise MetaError(100, "Param biz_opaque_callback_data must be at most 512 characters long.")
    context = body.get("context")
    if context is not None and not (isinstance(context, dict) and context.get("message_id")):
        raise MetaError(100, "Param context['message_id'] must be a message's id.")
    return Request(to=to, kind=kind, text=_text(kind, said, account), opaque=opaque)


def recipient(body: Json) -> str | None:
    """The digits of the number in `to`, or the user's id in `recipient`."""
    user = body.get("recipient")
    if isinstance(user, str) and re.fullmatch(r"[A-Z]{2}\.[A-Za-z0-9.]{1,128}", user):
        return user
    digits = re.sub(r"[\s()+-]", "", str(body.get("to") or ""))
    return digits if re.fullmatch(r"\d{5,20}", digits) else None


def _text(kind: str, said: Json, account: MetaAccount) -> str:
    if kind == "text":
        return _bounded("text['body']", said.get("body"), MAX_BODY)
    if kind in MEDIA:
        return _caption(kind, said)
    if kind == "template":
        return _template(said, account)
    if kind == "interactive":
        inner = said.get("body")
        return str(inner.get("text", "")) if isinstance(inner, dict) else ""
    if kind == "reaction":
        if not said.get("message_id"):
            raise MetaError(131008, "Parameter reaction['message_id'] is mandatory.")
        return str(said.get("emoji", ""))
    return str(said.get("name") or "")


def _caption(kind: str, said: Json) -> str:
    if not said.get("id") and not is_callable_url(str(said.get("link") or "")):
        raise MetaError(131008, f"Parameter {kind}['link'] or {kind}['id'] is mandatory.")
    caption = said.get("caption")
    if caption is None:
        return ""
    if kind in {"audio", "sticker"}:
        raise MetaError(100, f"Unexpected key 'caption' on param '{kind}'.")
    return _bounded(f"{kind}['caption']", caption, MAX_CAPTION)


def _bounded(name: str, value: object, limit: int) -> str:
    if not isinstance(value, str) or not value:
        raise MetaError(131008, f"Parameter {name} is mandatory.")
    if len(value) > limit:
        raise MetaError(100, f"Param {name} must be at most {limit} characters long.")
    return value


def _template(said: Json, account: MetaAccount) -> str:
    name, language = said.get("name"), said.get("language")
    code = language.get("code") if isinstance(language, dict) else None
    if not name or not code:
        raise MetaError(131008, "Parameters template['name'] and ['language'] are mandatory.")
    values = [
        str(parameter.get("text", ""))
        for component in said.get("components") or ()
        if isinstance(component, dict) and str(component.get("type")).lower() == "body"
        for parameter in component.get("parameters") or ()
        if isinstance(parameter, dict)
    ]
    if not account.templates:
        return " ".join([str(name), *values])
    text = account.templates.get(f"{name}/{code}", account.templates.get(str(name)))
    if text is None:
        raise MetaError(132001, f"template name ({name}) does not exist in {code}")
    wanted = len(_VARIABLE.findall(text))
    if len(values) != wanted:
        reason = f"body: number of localizable_params ({len(values)}) does not match ({wanted})"
        raise MetaError(132000, reason)
    filled = iter(values)
    return _VARIABLE.sub(lambda _: next(filled), text)
