"""Requests read into models, and answers written: as JSON, or as a problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pydantic_core
from aiohttp import web
from pydantic import BaseModel, ValidationError

from gateway.problems import FieldError, Problem, invalid
from gateway.store.paging import Page
from gateway.store.values import Row, as_json_bytes

M = TypeVar("M", bound=BaseModel)

# To name a million of them takes ten seconds, and an answer of fifty megabytes.
MOST_ERRORS = 100
TOO_MANY_ERRORS = (
    f"More than {MOST_ERRORS} fields of this request are wrong: compare it with /openapi.json."
)


# Of a body: what aiohttp has decoded before a handler sees it, or has refused.
_CODINGS = ("identity", "gzip", "deflate", "br", "zstd")
# Of a body of ten megabytes three million would take five seconds, and a gigabyte of memory.
_MOST_NESTED = 500_000
_OTHER = bytes({*range(256)} - {*b'"[{'})


def has_known_coding(request: web.Request) -> bool:
    """Whether the body, if there is one, is what it says that it is encoded as."""
    coding = request.headers.get("Content-Encoding", "identity")
    return not request.can_read_body or coding.lower() in _CODINGS


def wrong_coding() -> Problem:
    """A body that cannot be decoded."""
    return Problem(400, "The body is not encoded as its Content-Encoding says.")


def parse_json(raw: bytes) -> Any:  # noqa: ANN401 - any JSON
    """The body as JSON; raises `Problem` 400."""
    # Most bodies have fewer, also with those in their texts.
    if raw.count(b"[") + raw.count(b"{") > _MOST_NESTED and _nested(raw) > _MOST_NESTED:
        raise Problem(400, f"The body has more than {_MOST_NESTED} lists and objects.")
    try:
        # With the models' own parser: integers of any size, and the same limit of nesting.
        return pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise Problem(400, f"The body is not well-formed JSON: {error}.") from None


def _nested(raw: bytes) -> int:
    """How many lists and objects begin outside of texts.

    Of ten megabytes in a quarter of a second at most, where an expression for texts takes a whole.
    """
    plain = raw.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _OTHER)
    return sum(map(len, plain.split(b'"')[::2]))


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
    """pydantic's findings in the words of this API; a single one if nobody would read them all."""
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
    """The answer that is a problem."""
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
    """One page of rows, each as it is stored, or as it is `shown`."""
    data = page.rows if shown is None else [shown(row) for row in page.rows]
    return respond({"data": data, "next_cursor": page.next_cursor})
