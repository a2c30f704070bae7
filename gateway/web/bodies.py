"""Bodies of requests: a limit on the memory for large ones, whoever sends them."""

from __future__ import annotations

from aiohttp import StreamReader

from gateway.observability.logs import logger
from gateway.problems import Problem

_log = logger(__name__)

# In bytes: a smaller body is never refused.
LARGE = 256 * 2**10
# As 10 MiB bodies, so many that a processor would be busy with them for half a minute.
MOST = 256 * 2**20


class Bodies:
    """The large bodies of the requests under way, together about `most` bytes.

    Beyond that, the one that has been arriving for the longest time is refused: it is slow, as in
    an attack, while a fast one is soon complete.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._size = 0
        # In the order in which they became large.
        self._sizes: dict[StreamReader, int] = {}

    def grew(self, body: StreamReader) -> None:
        """More of a large body has arrived."""
        if body.exception() is not None:
            return  # already refused
        self._size += body.total_bytes - self._sizes.get(body, 0)
        self._sizes[body] = body.total_bytes
        if self._size > self._most:
            self._refuse_one()

    def done(self, body: StreamReader) -> None:
        """Its request is answered: the body is no longer in memory."""
        self._size -= self._sizes.pop(body, 0)

    def _refuse_one(self) -> None:
        oldest = next((body for body in self._sizes if not body.is_eof()), None)
        if oldest is None:
            return
        _log.warning("a large body was refused", bytes=self._sizes[oldest])
        self.done(oldest)
        # The handler gets it when it reads on, and the middleware answers.
        oldest.set_exception(
            Problem(
                503,
                "Too many large requests are on their way: send it again, or in smaller parts.",
                headers={"Connection": "close", "Retry-After": "1"},
            )
        )
