"""Bodies of requests: what a process keeps of large ones has a limit, whoever sends them."""

from __future__ import annotations

from aiohttp import StreamReader

from gateway.observability.logs import logger
from gateway.problems import Problem

_log = logger(__name__)

# In bytes: a smaller body is never refused.
LARGE = 256 * 2**10
# So many of 10 MiB at once that a processor would be busy with them for half a minute.
MOST = 256 * 2**20


class Bodies:
    """The large bodies of the requests under way, together about `most` bytes.

    Where they become more, the one that has been on its way for longest is refused: it comes
    slowly, as those do that are sent to do harm, and one that comes fast is done soon.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._size = 0
        # In the order in which they became large.
        self._sizes: dict[StreamReader, int] = {}

    def grew(self, body: StreamReader) -> None:
        """More of a large body has come."""
        if body.exception() is not None:
            return  # it is refused already
        self._size += body.total_bytes - self._sizes.get(body, 0)
        self._sizes[body] = body.total_bytes
        if self._size > self._most:
            self._refuse_one()

    def done(self, body: StreamReader) -> None:
        """Its request is answered: nobody keeps it any more."""
        self._size -= self._sizes.pop(body, 0)

    def _refuse_one(self) -> None:
        oldest = next((body for body in self._sizes if not body.is_eof()), None)
        if oldest is None:
            return
        _log.warning("a large body was refused", bytes=self._sizes[oldest])
        self.done(oldest)
        # The handler reads it next, and its middleware answers.
        oldest.set_exception(
            Problem(
                503,
                "Too many large requests are on their way: send it again, or in smaller parts.",
                headers={"Connection": "close", "Retry-After": "1"},
            )
        )
