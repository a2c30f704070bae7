"""Errors that a caller can act on: RFC 9457 problems, with every field that is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with one field of a request."""

    field: str
    message: str


class Problem(Exception):
    """An answer that is an error; `detail` says what to do in one sentence."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = headers or {}

    def as_json(self) -> dict[str, Any]:
        """The members of `application/problem+json`."""
        members: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            members["errors"] = [
                {"field": error.field, "message": error.message} for error in self.errors
            ]
        return members


def invalid(errors: Sequence[FieldError]) -> Problem:
    """422 for a request that names every field that is wrong."""
    named = ", ".join(dict.fromkeys(error.field for error in errors))
    return Problem(422, f"Correct these fields and send the request again: {named}.", errors)


def not_found(what: str) -> Problem:
    """404; the same for what does not exist and for what is another organization's."""
    return Problem(404, f"There is no {what} with that id in your organization.")


def found(what: str, value: T | None) -> T:
    """What was looked up by its id; raises `Problem` 404 where there is none."""
    if value is None:
        raise not_found(what)
    return value


def not_now(detail: str, seconds: int = 1) -> Problem:
    """503 for what is worth another try after so many seconds."""
    return Problem(503, detail, headers={"Retry-After": str(seconds)})


def unknown_coding() -> Problem:
    """415 for a body that nobody can decode."""
    text = "The body is encoded in a way that the gateway does not know: send it plain, or as gzip."
    return Problem(415, text, headers={"Accept-Encoding": "gzip, deflate"})


def refused_by_a_rule() -> Problem:
    """503 for what a rule of another program's on our tables refuses."""
    text = (
        "A rule of the database refuses to store this: tell the operator, and try again. With an "
        "Idempotency-Key: with the same one, or with another one and never again with this one."
    )
    return not_now(text, 60)


def changed_meanwhile() -> Problem:
    """409 for what refers to something that has gone since it was read."""
    return Problem(409, "What this refers to has changed in the meantime: read it again.")
