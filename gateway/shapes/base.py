"""What all shapes share: strictness, texts that can be stored, pages, problems."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

T = TypeVar("T")

URL_CHARACTERS = 4096
_JSON_BYTES = 64 * 2**10
_NUL = "must not contain the character U+0000"
_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def _whole(value: object) -> object:
    # JSON has only one kind of number: according to JSON Schema 7.0 is an integer, "7" is not.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def without_nul(value: str) -> str:
    # PostgreSQL cannot store U+0000 in a text, and UTF-8 has no lone surrogates.
    if "\x00" in value:
        raise ValueError(_NUL)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be well-formed Unicode, it has a lone surrogate") from None
    return value


def moment(value: object) -> datetime:
    """A time of RFC 3339 (https://www.rfc-editor.org/rfc/rfc3339#section-5.6), as UTC.

    Raises `ValueError` for another text, and for a time outside of the calendar.
    """
    if not isinstance(value, str) or _RFC_3339.fullmatch(value) is None:
        raise ValueError("must be an RFC 3339 time with its offset, such as 2030-01-31T09:30:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a valid time") from None


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    try:
        text = orjson.dumps(value)
    except TypeError:
        # The parser has already refused anything else that orjson cannot write.
        raise ValueError("must not contain an integer of more than 64 bits") from None
    # Checked first, because walking through ten megabytes takes ten seconds.
    if len(text) > _JSON_BYTES:
        raise ValueError(f"must be at most 64 KiB; as JSON it has {len(text)} bytes")
    if rb"\u0000" in text and _holds_nul(value):
        raise ValueError(_NUL)
    if b"null" in text and _holds_infinity(value):
        raise ValueError("must not contain a number too large for a double: it would become null")
    return value


def _holds_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_holds_nul(item) for item in value)


def _holds_infinity(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(_holds_infinity, value.values()))
    return isinstance(value, list) and any(map(_holds_infinity, value))


def _given(value: object) -> object:
    # Defaults are not validated, so None means that null was given, not that the field is missing.
    if value is None:
        raise ValueError("cannot be null")
    return value


def _never_null(schema: dict[str, Any]) -> None:
    del schema["default"]
    (only,) = [one for one in schema.pop("anyOf") if one != {"type": "null"}]
    schema.update(only)


# A field that may be left out of a request, but must not be null.
Given = Annotated[T | None, BeforeValidator(_given), Field(json_schema_extra=_never_null)]
Moment = Annotated[datetime, BeforeValidator(moment)]
JsonObject = Annotated[dict[str, Any], AfterValidator(_storable)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Integer = Annotated[int, BeforeValidator(_whole)]
Text = Annotated[str, AfterValidator(without_nul)]
Long = Annotated[str, Field(max_length=2**20), AfterValidator(without_nul)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(without_nul)]
Short = Annotated[str, Field(max_length=255), AfterValidator(without_nul)]
# Surrounding spaces, as in addresses copied from a table, are removed.
Address = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=255), AfterValidator(without_nul)
]
Line = Annotated[str, Field(max_length=1000), AfterValidator(without_nul)]
# URLs that a file store has signed may have thousands of characters.
Url = Annotated[str, Field(max_length=URL_CHARACTERS), AfterValidator(without_nul)]


class Shape(BaseModel):
    """A request: strict types, and no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Answer(BaseModel):
    """A response."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Listed(Answer, Generic[T]):
    """One page, newest first; `next_cursor` is null at the end."""

    data: list[T]
    next_cursor: str | None


class ProblemAnswer(Answer):
    """RFC 9457; `errors` with 422."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] | None = None


class PageQuery(Shape):
    """`limit` 1 to 200; `cursor` from the page before."""

    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None
