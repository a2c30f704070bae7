"""Rows; JSON as parameters of statements; foreign texts in a form that PostgreSQL can store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any
from uuid import UUID

import orjson

# Columns by name.
Row = dict[str, Any]

# Bytes of JSON in one statement, so that it ends in time, and writing it does not block others.
_PIECE_BYTES = 8 * 2**20
# Levels of lists and objects: orjson writes 254 of them.
_DEEPEST = 250
_SIGN_IN = re.compile(r"(inbox(?:/|%2F)link(?:/|%2F))[\w-]{20,64}", re.IGNORECASE | re.ASCII)


def columns(rows: Sequence[tuple[Any, ...]]) -> Iterator[list[Any]]:
    """The columns of rows, at least one, as the parameters of a statement that unnests them."""
    return map(list, zip(*rows, strict=True))


def as_json(value: object) -> str:
    """JSON text for a parameter; UUIDs and times become strings that PostgreSQL casts."""
    return as_json_bytes(value).decode()


def as_json_bytes(value: object) -> bytes:
    """JSON of rows; asyncpg's own UUID is a subclass, which orjson leaves to its caller."""
    return orjson.dumps(value, default=_uuid_text, option=orjson.OPT_UTC_Z)


def as_json_pieces(rows: Sequence[Row], most: int = _PIECE_BYTES) -> Iterator[str]:
    """JSON text of rows, in order, in pieces that each end once they have `most` bytes.

    Without rows it is one piece, too.
    """
    piece: list[bytes] = []
    left = most
    for row in rows:
        if left <= 0:
            yield _listed(piece)
            piece, left = [], most
        written = as_json_bytes(row)
        piece.append(written)
        left -= len(written)
    yield _listed(piece)


def _listed(piece: Sequence[bytes]) -> str:
    return f"[{b','.join(piece).decode()}]"


def as_stored(value: object) -> str:
    """JSON text of rows (dicts or dataclasses) that contain foreign texts; see `storable`."""
    try:
        text = as_json_bytes(value)
    except TypeError:  # a lone surrogate, a number that is too large, or too many levels
        return as_json(storable(value))
    # Rare, so the whole JSON is searched once: checking each text would take five times as long.
    is_odd = b"\\u0000" in text or b"inbox" in text
    return as_json(storable(value)) if is_odd else text.decode()


def storable(value: Any, level: int = 0) -> Any:  # noqa: ANN401 - any JSON
    """A foreign value as PostgreSQL can store it: without U+0000 and lone surrogates.

    Sign-in links are masked: a click report names them and a reply may quote them, and colleagues
    can read both. Numbers that need more than 64 bits become texts; values that are nested too deep
    are replaced by "…".
    """
    if isinstance(value, str):
        if value.isascii() and "\0" not in value and "inbox" not in value:
            return value
        text = value.replace("\x00", "").encode("utf-8", "replace").decode()
        return _SIGN_IN.sub(r"\1***", text) if "inbox" in text else text
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    if level >= _DEEPEST and isinstance(value, Mapping | list | tuple):
        return "…"
    level += 1
    if isinstance(value, Mapping):
        return {storable(key): storable(item, level) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item, level) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: storable(getattr(value, each.name), level) for each in fields(value)}
    return value


def _uuid_text(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
