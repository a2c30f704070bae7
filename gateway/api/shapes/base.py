"""What all shapes share: strictness, text that can be stored, pages, problems."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

T = TypeVar("T")


def _whole(value: object) -> object:
    # JSON has one kind of number: 7.0 is an integer (JSON Schema says so), "7" is none.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def without_nul(value: str) -> str:
    # PostgreSQL's text holds no U+0000, and UTF-8 no lone surrogate.
    if "\x00" in value:
        raise ValueError("must not contain the character U+0000")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be well-formed Unicode, it has a lone surrogate") from None
    return value


Integer = Annotated[int, BeforeValidator(_whole)]
Text = Annotated[str, AfterValidator(without_nul)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(without_nul)]
Line = Annotated[str, Field(max_length=1000), AfterValidator(without_nul)]


class Shape(BaseModel):
    """A request: strict, and nothing that is not named here."""

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
