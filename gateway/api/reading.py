"""Reads a request to send, as far as it can be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import pydantic_core
from pydantic import ValidationError

from channels.model import Channel
from gateway.accept.malformed import Malformed
from gateway.ids import new_id
from gateway.shapes.messages import SendRequest
from gateway.web.http import MOST_ERRORS, field_errors

R = TypeVar("R", bound=SendRequest)

_FILE = {"url": "https://example.com/"}


def read_request(model: type[R], raw: bytes, given: object) -> R | Malformed[R]:
    """The request, or what can be read of it; `given` is `raw` as parsed JSON."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        return _malformed(model, given, error)


def _malformed(model: type[R], given: object, error: ValidationError) -> Malformed[R]:
    errors = tuple(field_errors(error))
    if error.error_count() > MOST_ERRORS or not isinstance(given, dict):
        return Malformed(errors=errors)
    found = error.errors(include_url=False, include_input=False, include_context=False)
    places = [one["loc"] for one in found]
    unread = frozenset(str(place[0]) for place in places if place)
    unread |= {f"fallback.{n}" for n in _unread_steps(given, places)}
    rest = {name: value for name, value in given.items() if name not in unread}
    rest |= {name: value for name, value in _stand_ins(given, places).items() if name in unread}
    if "channel" not in unread:
        wanted = [rest]
    elif model.model_fields["channel"].is_required():
        wanted = [{**rest, "channel": channel} for channel in Channel]
    else:  # a reply has the channel of the last message
        wanted = []
    return Malformed(
        errors=errors,
        unread=unread,
        rest=tuple(model.model_validate_json(pydantic_core.to_json(each)) for each in wanted),
    )


def _stand_ins(given: dict[str, Any], places: Sequence[tuple[int | str, ...]]) -> dict[str, Any]:
    """A value for each unreadable field whose mere presence matters for the other errors.

    These are addresses and ids that nobody has, and valid texts and files. Other fields are left
    out.
    """
    nobodys = str(new_id())
    stand_ins: dict[str, Any] = {
        **dict.fromkeys(("template", "lead_id", "client_id"), nobodys),
        **dict.fromkeys(("to", "from", "body", "subject", "html_body"), "-"),
        "variables": {"-": None},
        "options": {"-": None},
        "attachments": _files(given.get("attachments"), places),
        "fallback": _steps(given, places, nobodys),
    }
    return {name: value for name, value in stand_ins.items() if name in given}


def _files(files: object, places: Sequence[tuple[int | str, ...]]) -> list[Any]:
    """The files that can be read, and a valid one in place of each of the others."""
    if not isinstance(files, list):
        return [_FILE]
    wrong = {place[1] for place in places if place[0] == "attachments"}
    return [_FILE if n in wrong else file for n, file in enumerate(files)]


def _steps(
    given: dict[str, Any], places: Sequence[tuple[int | str, ...]], nobodys: str
) -> list[Any]:
    """The steps that can be read, and in place of the others one that uses all that a step may."""
    steps = given.get("fallback")
    stand_in = {"channel": Channel.EMAIL, "template": nobodys, "after": 0}
    unread = _unread_steps(given, places)
    return [stand_in if n in unread else step for n, step in enumerate(_listed(steps))]


def _unread_steps(given: dict[str, Any], places: Sequence[tuple[int | str, ...]]) -> set[int]:
    """Which steps of a fallback cannot be read; all if it is not a list of steps, or too long."""
    wrong = [place[1:] for place in places if place and place[0] == "fallback"]
    if all(wrong):
        return {int(place[0]) for place in wrong}
    return set(range(len(_listed(given.get("fallback")))))


def _listed(steps: object) -> list[Any]:
    """The steps of a fallback, up to the limit; a single None if it is not a list."""
    return steps[:5] if isinstance(steps, list) else [None]
