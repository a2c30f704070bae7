"""What stands in Meta's JSON, as values that PostgreSQL can hold, whatever came instead of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

Given = Mapping[str, Any]

ID_CHARACTERS, DETAIL_CHARACTERS = 256, 1000
ENTRIES, DEPTH, PART_CHARACTERS = 40, 5, 16_000

_MOMENT = re.compile(r"[1-9][0-9]{0,10}")  # not 0: that is no time


def obj(value: object) -> Given:
    """A JSON object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """A JSON array, an empty one for anything else."""
    return value if isinstance(value, list) else []


def text(value: object, most: int | None = None) -> str:
    """A text as PostgreSQL can hold it, empty for anything else: no NUL, no halves of pairs."""
    if not isinstance(value, str):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return ""
        value = str(value)
    if value.isascii() and "\0" not in value:
        return value[:most]
    return value.replace("\0", "").encode(errors="replace").decode()[:most]


def detail(value: object, depth: int = DEPTH) -> Any:  # noqa: ANN401 - any JSON
    """Any JSON that was read, bounded in depth, number and length, texts as they can be stored."""
    if isinstance(value, str):
        return text(value, DETAIL_CHARACTERS)
    if isinstance(value, (dict, list)):
        if depth == 0:
            return None
        if isinstance(value, list):
            return [detail(each, depth - 1) for each in value[:ENTRIES]]
        return {
            text(name, ID_CHARACTERS): detail(each, depth - 1)
            for name, each in islice(value.items(), ENTRIES)
        }
    return value


def filled(**given: object) -> dict[str, Any]:
    """Details without the empty ones; of a part that is too large the beginning of its JSON."""
    kept = {
        name: value
        for name, each in given.items()
        if each is not None and (value := detail(each)) not in (None, "", [], {})
    }
    for name, value in kept.items():
        # Only what may be: a character takes twelve in JSON at most, and texts are bounded.
        is_part = isinstance(value, (dict, list))
        may_be = is_part and 12 * len(repr(value)) > PART_CHARACTERS
        if may_be and len(written := json.dumps(value)) > PART_CHARACTERS:
            kept[name] = written[:DETAIL_CHARACTERS]
    return kept


def moment(value: object) -> datetime | None:
    """A time in seconds since 1970, as a text or a number; None where it is none."""
    digits = text(value, 32)
    return datetime.fromtimestamp(int(digits), UTC) if _MOMENT.fullmatch(digits) else None


def address(value: object) -> str:
    """A number with its +, anything else as it is."""
    given = text(value, ID_CHARACTERS).strip()
    digits = re.sub(r"[\s().+\-]", "", given)
    return f"+{digits}" if re.fullmatch(r"[0-9]+", digits) else given
