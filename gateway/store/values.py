"""Parameters of statements as JSON, and texts of others in a form that PostgreSQL can store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any
from uuid import UUID

import orjson

_SIGN_IN = re.compile(r"(inbox(?:/|%2F)link(?:/|%2F))[\w-]{20,64}", re.IGNORECASE | re.ASCII)


def as_json(value: object) -> str:
    """JSON text for a parameter; UUIDs and times become strings that PostgreSQL casts."""
    return as_json_bytes(value).decode()


def as_json_bytes(value: object) -> bytes:
    """JSON of rows; asyncpg's own UUID is a subclass, which orjson leaves to its caller."""
    return orjson.dumps(value, default=_uuid_text, option=orjson.OPT_UTC_Z)


def as_stored(value: object) -> str:
    """JSON text of rows (dicts or dataclasses) with texts of others in them; see `storable`."""
    try:
        text = as_json_bytes(value)
    except TypeError:  # a lone surrogate
        return as_json(storable(value))
    # Rare, so the whole is searched once: checking each text takes five times as long.
    is_odd = b"\\u0000" in text or b"inbox" in text
    return as_json(storable(value)) if is_odd else text.decode()


def storable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Texts of others as PostgreSQL can store them: without U+0000 and lone surrogates.

    Sign-in links are masked: a click report names one and a reply quotes it, and colleagues may
    read both.
    """
    if isinstance(value, str):
        if value.isascii() and "\0" not in value and "inbox" not in value:
            return value
        text = value.replace("\x00", "").encode("utf-8", "replace").decode()
        return _SIGN_IN.sub(r"\1***", text) if "inbox" in text else text
    if isinstance(value, Mapping):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: storable(getattr(value, each.name)) for each in fields(value)}
    return value


def _uuid_text(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
