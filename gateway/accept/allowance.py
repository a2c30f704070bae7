"""Allowance: how many bytes the messages of one request may have; a short request may ask for
gigabytes."""

from __future__ import annotations

from collections.abc import Hashable

from channels.lines import FullError, Places
from channels.model import Content
from gateway.accept.contents import Composed
from gateway.problems import FieldError, not_now
from gateway.shapes.messages import SendRequest
from gateway.store.values import Row

# Of subjects, texts and HTML as they are stored, including all steps of fallbacks.
MOST_BYTES = 128 * 2**20
# From so many bytes on, a request takes a second or more to compose.
_LARGE_BYTES = 4 * 2**20
# How many large requests are composed at once, to bound memory (one of each organization, so that
# none keeps others waiting); how many may wait, and for how many seconds.
_LARGE_AT_ONCE, _LARGE_WAITING, _SECONDS = 2, 64, 30.0


def large_places() -> Places:
    """The places of large requests."""
    return Places(_LARGE_AT_ONCE, room=_LARGE_WAITING, one_each=True)


class Allowance:
    """Counts what is composed for one request, and refuses to compose more than `most` bytes."""

    def __init__(self, most: int, places: Places, owner: Hashable) -> None:
        self._most = most
        self._bytes = 0
        self._places = places
        self.owner = owner
        self._has_place = False

    def refused(self, request: SendRequest) -> Composed | None:
        """The refusal of a message, if those before it have used up the bytes; else None."""
        if self._bytes < self._most:
            return None
        field = "body" if request.template is None else "template"
        text = (
            "was not composed: the messages of this request before it come to "
            f"{self._most / 2**20:g} MiB with their texts and HTML; send it with another request"
        )
        return Composed(errors=[FieldError(field, text)])

    def add(self, content: Content | None) -> None:
        """Count a composed content, whatever becomes of it."""
        if content is not None:
            self._bytes += _bytes(content.subject, content.body, content.html_body)

    @property
    def needs_place(self) -> bool:
        """Whether the request has become a large one, and must wait for a place."""
        return self._bytes >= _LARGE_BYTES and not self._has_place

    async def take_place(self) -> None:
        """Wait for a place; raises `Problem` 503."""
        try:
            await self._places.take(self.owner, _SECONDS)
        except (FullError, TimeoutError):
            text = "Other large requests are being read: send fewer messages at once, or try again."
            raise not_now(text, 10) from None
        self._has_place = True

    def end(self) -> None:
        """Give the place back: nothing more is composed."""
        if self._has_place:
            self._places.give(self.owner)


def bytes_of(row: Row) -> int:
    """The bytes of text in a row that is to be stored, including those of its steps."""
    own = _bytes(row["subject"], row["body"], row["html_body"])
    return own + sum(map(bytes_of, row.get("steps") or ()))


def _bytes(*texts: str | None) -> int:
    total = 0
    for text in texts:
        if text:  # `isascii` is known at once, and most texts need not be encoded
            total += len(text) if text.isascii() else len(text.encode())
    return total
