"""Compares values and answers with /openapi.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jsonschema import (  # type: ignore[import-untyped]
    Draft202012Validator,
    FormatChecker,
)

if TYPE_CHECKING:
    from tests.service.conftest import Answer


def schema_errors(document: Mapping[str, Any], schema: Mapping[str, Any], value: Any) -> list[str]:
    """The errors of a value by a schema of the document."""
    validator = Draft202012Validator(
        {**schema, "components": document["components"]}, format_checker=FormatChecker()
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def answer_errors(document: Mapping[str, Any], method: str, path: str, answer: Answer) -> list[str]:
    """How an answer differs from the document."""
    described = document["paths"][path][method.lower()]["responses"]
    if str(answer.status) not in described:
        return [f"{answer.status} is not described"]
    content = described[str(answer.status)].get("content", {})
    if not content:
        return [] if answer.body == "" else ["it has a body"]
    sent_as = answer.headers["Content-Type"].partition(";")[0]
    if content.get(sent_as) == {}:  # a file, a stream
        return []
    ((media_type, media),) = content.items()
    if answer.headers["Content-Type"].partition(";")[0] != media_type:
        return [f"it is {answer.headers['Content-Type']}"]
    return schema_errors(document, media["schema"], answer.body)
