"""Messages as lines of a file: CSV in which no spreadsheet finds formulas, or JSON."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gateway.shapes.messages import Message
from gateway.store.values import as_json, as_json_bytes

Row = Mapping[str, Any]

COLUMNS = tuple(Message.model_fields)

# What makes a cell a formula (https://owasp.org/www-community/attacks/CSV_Injection), also as
# full-width characters and after spaces; a phone number is none.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]")
_NUMBER = re.compile(r"\+\d{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Format:
    """How rows become bytes: `head` comes first, then the `lines` of each part."""

    media_type: str
    head: bytes
    lines: Callable[[Iterable[Row]], bytes]


def csv_lines(rows: Iterable[Row]) -> bytes:
    """RFC 4180 with every field quoted, because spreadsheets differ in their separators."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerows([_cell(row[name]) for name in COLUMNS] for row in rows)
    return text.getvalue().encode()


def json_lines(rows: Iterable[Row]) -> bytes:
    """One JSON object per line."""
    return b"".join(as_json_bytes(row) + b"\n" for row in rows)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, dict | list):
        return as_json(value)
    text = str(value)
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


FORMATS = {
    "csv": Format(
        "text/csv; charset=utf-8; header=present",
        csv_lines([dict(zip(COLUMNS, COLUMNS, strict=True))]),
        csv_lines,
    ),
    "jsonl": Format("application/jsonl; charset=utf-8", b"", json_lines),
}
