"""Requests with fields that cannot be read: errors in their other fields are reported, too.

The readable fields are drafted together with stand-ins for the others, so that one answer names all
errors. Nothing of such a request is ever stored, and a well-formed one costs nothing extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Generic, TypeVar

from channels.model import Channel
from gateway.accept.draft import Draft
from gateway.accept.drafting import Drafting
from gateway.problems import FieldError
from gateway.shapes.messages import SendRequest
from gateway.store.database import Caller

R_co = TypeVar("R_co", bound=SendRequest, covariant=True)

# The stand-ins for these are invalid as well: errors about them say nothing about what was given.
_ODD = frozenset(
    {"to", "from", "template", "lead_id", "client_id", "variables", "options", "in_reply_to"}
)
# If one of these cannot be read, no content can be previewed.
_OF_CONTENT = frozenset(
    {"template", "variables", "body", "subject", "html_body", "attachments", "options"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Malformed(Generic[R_co]):
    """What is wrong with the fields that cannot be read (`unread`), and the rest of the request.

    Each step of a fallback is a field of its own, such as `fallback.0`. The `rest` is one request,
    or, if the channel cannot be read, one for each channel.
    """

    errors: tuple[FieldError, ...]
    unread: frozenset[str] = frozenset()
    rest: tuple[R_co, ...] = ()

    @property
    def channel(self) -> Channel | None:
        """The channel, if it can be read."""
        return self.rest[0].channel if len(self.rest) == 1 else None

    def about_given(self, errors: Sequence[FieldError]) -> list[FieldError]:
        """The errors of the rest, without those about stand-ins."""
        return [error for error in errors if not self._is_of_stand_in(error.field.split("."))]

    def _is_of_stand_in(self, path: Sequence[str]) -> bool:
        odd = self.unread & _ODD
        if path[0] != "fallback":
            return path[0] in odd
        # A step is given the request's variables.
        is_step_unread = ".".join(path[:2]) in self.unread
        return is_step_unread or ("variables" in odd and path[2:3] == ["variables"])


async def drafts(
    drafting: Drafting, caller: Caller, requests: Sequence[SendRequest | Malformed[SendRequest]]
) -> list[Draft]:
    """A draft of each request, in order; that of a malformed one has all its errors."""
    read = [each for request in requests for each in _readable(request)]
    made = iter(await drafting.read(caller, read))
    return [
        _judged(request, list(islice(made, len(request.rest))))
        if isinstance(request, Malformed)
        else next(made)
        for request in requests
    ]


def _readable(request: SendRequest | Malformed[SendRequest]) -> Sequence[SendRequest]:
    return request.rest if isinstance(request, Malformed) else (request,)


def _judged(malformed: Malformed[SendRequest], made: Sequence[Draft]) -> Draft:
    found = [malformed.about_given(draft.errors) for draft in made]
    # If the channel is not known, report only what is wrong on every channel.
    shared = (
        [error for error in found[0] if all(error in other for other in found)] if found else []
    )
    errors = tuple(dict.fromkeys((*malformed.errors, *shared)))
    if len(made) != 1:
        return Draft(errors=errors)
    (draft,) = made
    return replace(
        draft, errors=errors, content=None if malformed.unread & _OF_CONTENT else draft.content
    )
