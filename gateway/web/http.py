"""Reading requests into models, and writing answers: as JSON, or as a problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pydantic_core
from aiohttp import web
from pydantic import BaseModel, ValidationError

from channels.json_text import outside_strings
from gateway.problems import FieldError, Problem, invalid
from gateway.store.paging import Page
from gateway.store.values import Row, as_json_bytes

M = TypeVar("M", bound=BaseModel)

# Listing a million errors would take ten seconds, and an answer of fifty megabytes.
MOST_ERRORS = 100
TOO_MANY_ERRORS = (
    f"More than {MOST_ERRORS} fields of this request are wrong: compare it with /openapi.json."
)


# The codings of a body that aiohttp decodes before a handler sees it, or refuses.
_CODINGS = ("identity", "gzip", "deflate", "br", "zstd")
# The characters that begin a part of JSON, and how many a body may have. In ten megabytes, reading
# a million fields takes two seconds, and three million lists five, while nobody else is answered;
# up to these limits it takes a fifth of a second. All messages of a batch share them.
_MOST = (
    (b"[{", 100_000, "lists and objects"),
    (b":", 200_000, "fields"),
    (b",", 500_000, "values"),
)
_FEWEST = min(most for _, most, _ in _MOST)
_COUNTED = b"".join(begins for begins, _, _ in _MOST)


def has_known_coding(request: web.Request) -> bool:
    """Whether aiohttp knows the Content-Encoding of the body, or there is no body."""
    coding = request.headers.get("Content-Encoding", "identity")
    return not request.can_read_body or coding.lower() in _CODINGS


def wrong_coding() -> Problem:
    """The problem of a body that cannot be decoded."""
    return Problem(400, "The body is not encoded as its Content-Encoding says.")


def parse_json(raw: bytes) -> Any:  # noqa: ANN401 - any JSON
    """The body as JSON; raises `Problem` 400."""
    # Most bodies are short, and most others have few, even if those in strings are counted.
    if (
        len(raw) > _FEWEST
        and _too_many(raw)
        and (many := _too_many(outside_strings(raw, _COUNTED)))
    ):
        raise Problem(400, f"The body has more than {many}.")
    try:
        # The parser of the models: integers of any size, and the same limit of nesting.
        return pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise Problem(400, f"The body is not well-formed JSON: {error}.") from None


def _too_many(raw: bytes) -> str | None:
    """What a body has too many of, if anything."""
    for begins, most, named in _MOST:
        if sum(raw.count(one) for one in begins) > most:
            return f"{most} {named}"
    return None


def read_body(model: type[M], raw: bytes) -> M:
    """The body as a model; raises `Problem` 400 or 422."""
    parse_json(raw)
    return read_json(model, raw)


def read_json(model: type[M], raw: bytes) -> M:
    """Well-formed JSON as a model; raises `Problem` 422 with every field that is wrong."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise invalid(field_errors(error)) from None


def read_query(model: type[M], request: web.Request) -> M:
    """The query string as a model; raises `Problem` 422."""
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given:
            raise invalid([FieldError(name, "is given twice")])
        given[name] = value
    try:
        return model.model_validate_strings(given)
    except ValidationError as error:
        raise invalid(field_errors(error)) from None


def field_errors(error: ValidationError) -> list[FieldError]:
    """pydantic's errors in the words of this API; a single one if there are too many to read."""
    if error.error_count() > MOST_ERRORS:
        return [FieldError("body", TOO_MANY_ERRORS)]
    found = []
    for one in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(part) for part in one["loc"]) or "body"
        text = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            text = "is not a field of this request"
        elif one["type"] == "missing":
            text = "is required"
        found.append(FieldError(name, text))
    return found


def refuse(problem: Problem) -> web.Response:
    """The answer for a problem."""
    return web.Response(
        body=as_json_bytes(problem.as_json()),
        status=problem.status,
        content_type="application/problem+json",
        headers=dict(problem.headers),
    )


def respond(
    value: object, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """A JSON answer."""
    return web.Response(
        body=as_json_bytes(value), status=status, content_type="application/json", headers=headers
    )


def respond_page(page: Page, shown: Callable[[Row], Row] | None = None) -> web.Response:
    """One page of rows, each as it is stored, or as `shown` returns it."""
    data = page.rows if shown is None else [shown(row) for row in page.rows]
    return respond({"data": data, "next_cursor": page.next_cursor})
