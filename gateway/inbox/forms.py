"""What was typed into a form, what it means, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from multidict import MultiDictProxy
from pydantic import BaseModel

from gateway.problems import FieldError, Problem
from gateway.store.values import as_json_bytes
from gateway.web.http import parse_json, read_json

Fields = MultiDictProxy[str]

M = TypeVar("M", bound=BaseModel)

_NUMBER = re.compile(r"-?\d{1,12}(\.\d{1,6})?", re.ASCII)


class Findings(dict[str, str]):
    """What is wrong, by field; empty for a field with nothing wrong."""

    def __missing__(self, field: str) -> str:
        """Nothing is wrong with a field that is not here."""
        return ""

    @classmethod
    def of(cls, errors: Iterable[FieldError], fields: Collection[str] = ()) -> Findings:
        """The first message for each field; if the page has no such field, at the nearest one.

        `options.components.0.text` goes to `options.components`, and what fits nowhere to `all`.
        """
        found = cls()
        for error in errors:
            found.setdefault(_place(error.field, fields), error.message)
        return found

    def placed(self, fields: Collection[str]) -> Findings:
        """The same, each at the nearest field of the page."""
        return Findings.of((FieldError(name, text) for name, text in self.items()), fields)


def read(model: type[M], values: Mapping[str, object]) -> M:
    """What a form means, as /v1 would read it; raises `Problem` 422 with every field."""
    return read_json(model, as_json_bytes(values))


def text(form: Fields, name: str) -> str | None:
    """A line without the spaces around it; None for an empty one."""
    return form.get(name, "").strip() or None


def variable(text: str) -> Any:  # noqa: ANN401 - any JSON
    """A template's variable: a list or an object where that is written as JSON, else the text.

    A number stays as it was typed: 007 or 12.50.
    """
    if text.lstrip()[:1] not in ("[", "{"):
        return text
    try:
        found = parse_json(text.encode())
        as_json_bytes(found)
    except (Problem, TypeError, ValueError):
        return text
    return found


def lines(form: Fields, name: str) -> str:
    """A text of several lines, which browsers send with CRLF."""
    return form.get(name, "").replace("\r\n", "\n")


def number(form: Fields, name: str) -> float | int | str | None:
    """A number; any other text stays as it is, and is refused where a number is required."""
    given = form.get(name, "").strip().replace(",", ".")
    if not given:
        return None
    if _NUMBER.fullmatch(given) is None:
        return given
    return float(given) if "." in given else int(given)


def is_set(form: Fields, name: str) -> bool:
    """Whether a box was ticked."""
    return form.get(name) == "true"


def _place(field: str, fields: Collection[str]) -> str:
    if not fields or field.startswith("variables."):
        return field
    while field and field not in fields:
        field = field.rpartition(".")[0]
    return field or "all"
