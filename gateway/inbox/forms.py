"""Reading forms: what was typed, the request that it means, and what is wrong with it."""

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
    """What is wrong, by field; a field without errors has the empty text."""

    def __missing__(self, field: str) -> str:
        """The empty text: nothing is wrong with a field that is not here."""
        return ""

    @classmethod
    def of(cls, errors: Iterable[FieldError], fields: Collection[str] = ()) -> Findings:
        """The first message for each field; if the page has no such field, at the one around it.

        `options.components.0.text` goes to `options.components`; without any such field, to `all`.
        """
        found = cls()
        for error in errors:
            found.setdefault(_place(error.field, fields), error.message)
        return found

    def placed(self, fields: Collection[str]) -> Findings:
        """The same errors, each at a field that the page has."""
        return Findings.of((FieldError(name, text) for name, text in self.items()), fields)


def read(model: type[M], values: Mapping[str, object]) -> M:
    """The values of a form, read as /v1 would; raises `Problem` 422 with every error."""
    return read_json(model, as_json_bytes(values))


def text(form: Fields, name: str) -> str | None:
    """A field of one line, without surrounding spaces; None if it is empty."""
    return form.get(name, "").strip() or None


def variable(text: str) -> Any:  # noqa: ANN401 - any JSON
    """A template's variable: a list or an object if it is written as JSON, otherwise the text.

    Numbers stay text, so that 007 and 12.50 stay as they were typed.
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
    """A number; any other text is returned as it is, for the model to refuse."""
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
