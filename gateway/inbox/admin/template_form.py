"""Template forms: the fields of each channel, and how what was typed becomes a request of /v1."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from multidict import MultiDict, MultiDictProxy
from pydantic_core import from_json

from channels.json_text import as_object
from channels.model import Channel
from gateway.inbox import forms
from gateway.inbox.forms import Fields
from gateway.problems import FieldError, invalid

FIELDS = (
    "name",
    "subject",
    "content",
    "description",
    "category",
    "tags",
    "is_active",
    "options.unsubscribe",
    "options.reply_to",
    "options.content_sid",
    "options.name",
    "options.language",
    "options.variables",
    "options.parameters",
    "options.components",
    "options.voice",
    "options.play",
    "options.repeat",
    "options.confirm",
    "options.detect_machine",
    "options.timeout",
)
BOXES = ("is_active", "options.unsubscribe", "options.detect_machine")
_TEXTS: dict[Channel, tuple[str, ...]] = {
    Channel.EMAIL: ("reply_to",),
    Channel.SMS: (),
    Channel.WHATSAPP: ("content_sid", "name", "language"),
    Channel.CALL: ("voice", "language", "play", "confirm"),
}
_NUMBERS: dict[Channel, tuple[str, ...]] = {
    Channel.EMAIL: (),
    Channel.SMS: (),
    Channel.WHATSAPP: ("parameters",),
    Channel.CALL: ("repeat", "timeout"),
}


def columns(form: Fields, channel: Channel) -> dict[str, Any]:
    """What was typed, as a request of /v1; raises `Problem` 422 if a field cannot be read."""
    is_mail = channel is Channel.EMAIL
    return {
        "name": form.get("name", "").strip(),
        "subject": forms.text(form, "subject") if is_mail else None,
        "content": forms.lines(form, "content"),
        "description": forms.lines(form, "description").strip() or None,
        "category": forms.text(form, "category"),
        "tags": [tag.strip() for tag in form.get("tags", "").split(",") if tag.strip()],
        "is_active": forms.is_set(form, "is_active"),
        "options": _options(form, channel),
    }


def typed(form: Fields) -> dict[str, Any]:
    """What was typed, to be shown in the form again."""
    shown: dict[str, Any] = {name: forms.lines(form, name) for name in FIELDS}
    for name in BOXES:
        shown[name] = forms.is_set(form, name)
    return shown


def shown(row: Mapping[str, Any] | None) -> dict[str, Any]:
    """The values that the form shows for a stored template, or for a new one."""
    row = row or {}
    options = as_object(row.get("options"))
    found: dict[str, Any] = {
        name: row.get(name) or "" for name in ("name", "subject", "content", "description")
    }
    found |= {
        "category": row.get("category") or "",
        "tags": ", ".join(row.get("tags") or []),
        "is_active": row.get("is_active", True),
    }
    for name in FIELDS:
        if name.startswith("options."):
            found[name] = options.get(name.removeprefix("options."), "")
    found["options.unsubscribe"] = options.get("unsubscribe", True)
    variables = as_object(options.get("variables"))
    found["options.variables"] = "\n".join(f"{name} = {text}" for name, text in variables.items())
    components = options.get("components")
    found["options.components"] = (
        json.dumps(components, indent=2, ensure_ascii=False) if components else ""
    )
    return found


def seen(row: Mapping[str, Any]) -> str:
    """A hash of each value that the form shows; the form sends them back to `merged`."""
    return json.dumps({name: _mark(name, value) for name, value in shown(row).items()})


def merged(form: Fields, row: Mapping[str, Any]) -> tuple[Fields, dict[str, Any]]:
    """The form after others have saved the template, too; and their values of conflicting fields.

    A field that was not changed here gets the value that others have saved. A field that was
    changed both here and there is in conflict.
    """
    was, here = _marks(form.get("seen", "")), typed(form)
    both: dict[str, Any] = {}
    found = MultiDict(form)
    for name, value in shown(row).items():
        mark = _mark(name, value)
        if mark == was.get(name, mark):
            continue
        if _mark(name, here[name]) not in (was[name], mark):
            both[name] = value
            continue
        found.popall(name, None)
        if name not in BOXES or value:
            found[name] = "true" if name in BOXES else str(value)
    return MultiDictProxy(found), both


def values(form: Fields) -> dict[str, Any]:
    """The variables of a preview that were filled in; lists and objects are written as JSON."""
    found: dict[str, Any] = {}
    for field, text in form.items():
        if field.startswith("variables.") and text.strip():
            found[field.removeprefix("variables.")] = forms.variable(text)
    return found


def _marks(text: str) -> dict[str, Any]:
    try:
        found = from_json(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _mark(name: str, value: object) -> str:
    text = str(bool(value) if name in BOXES else value)
    return hashlib.sha256(text.replace("\r\n", "\n").strip().encode()).hexdigest()[:16]


def _options(form: Fields, channel: Channel) -> dict[str, Any] | None:
    said: dict[str, Any] = {
        name: forms.text(form, f"options.{name}") for name in _TEXTS[channel]
    } | {name: forms.number(form, f"options.{name}") for name in _NUMBERS[channel]}
    said = {name: value for name, value in said.items() if value is not None}
    if channel is Channel.EMAIL and not forms.is_set(form, "options.unsubscribe"):
        said["unsubscribe"] = False
    if channel is Channel.CALL and forms.is_set(form, "options.detect_machine"):
        said["detect_machine"] = True
    if channel is Channel.WHATSAPP:
        said |= _whatsapp(form)
    return said or None


def _whatsapp(form: Fields) -> dict[str, Any]:
    said: dict[str, Any] = {}
    variables: dict[str, str] = {}
    for line in forms.lines(form, "options.variables").splitlines():
        name, equals, source = line.partition("=")
        if not line.strip():
            continue
        if not equals or not name.strip():
            text = "must have a line for each variable, such as: 1 = {{ first_name }}"
            raise invalid([FieldError("options.variables", text)])
        variables[name.strip()] = source.strip()
    if variables:
        said["variables"] = variables
    if components := forms.text(form, "options.components"):
        try:
            # As in /v1: what it nests deeper than that, cannot be written again.
            said["components"] = from_json(components, allow_inf_nan=False)
        except ValueError:
            text = "must be a list in JSON, as Meta documents it"
            raise invalid([FieldError("options.components", text)]) from None
    return said
