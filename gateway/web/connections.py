"""The connections of a web process: requests that aiohttp refuses before the application sees them
are answered with a problem like all errors, and those that never become complete are ended.

aiohttp answers a request that it cannot parse with a text that repeats a part of it, and waits for
the rest of a request for ever. Here all open connections are checked every few seconds, so that no
request needs a timer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo

from gateway.observability.logs import logger
from gateway.problems import Problem, unknown_coding
from gateway.web.bodies import LARGE, Bodies
from gateway.web.http import refuse

_log = logger(__name__)

# In bytes. URLs of callbacks and tokens may be long. The two must differ, because aiohttp's error
# tells which one was exceeded only by its value.
MAX_URL = 16 * 2**10
MAX_HEADER = 32 * 2**10
# Seconds for which the rest of a refused body is read and dropped.
_DROP = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """Limits in seconds: for the head of a request, for silence within a body, for a whole body
    (30 MiB at 50 KiB/s), for an answer of which the client reads nothing, and between two requests;
    and the time between two checks.

    The kernel takes answers in steps of one or two MB, so a client must read 3 KB/s not to be cut.
    The limit between requests is longer than load balancers wait (60 to 600 s), so that they never
    send a request on a connection that we are closing.
    """

    head: float = 30.0
    silence: float = 60.0
    body: float = 600.0
    answer: float = 600.0
    idle: float = 620.0
    look: float = 5.0


@dataclass(slots=True)
class Room:
    """How many connections a listener may have open, and how many it has; their large bodies."""

    most: int
    bodies: Bodies
    taken: int = 0


class Connection(web.RequestHandler):
    """One connection as aiohttp serves it, with errors and time limits of our own."""

    __slots__ = (
        "_ended",
        "_gone",
        "_head",
        "_heard",
        "_newest",
        "_owed",
        "_owed_since",
        "_quiet_since",
        "_room",
        "_unread",
        "_unread_since",
    )

    def __init__(
        self, server: web.Server, loop: asyncio.AbstractEventLoop, room: Room, idle: float
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=idle,
            access_log=None,  # type: ignore[arg-type]  # the runner passes this for no log
            max_line_size=MAX_URL,
            max_field_size=MAX_HEADER,
        )
        self._room = room
        # A new connection owes a request; later it only owes the rest of one that has begun.
        self._head: Literal["due", "begun"] | None = "due"
        self._heard = False
        self._owed: tuple[str, int] | None = None
        self._owed_since = self._quiet_since = 0.0
        # How many bytes of an answer the client has not taken, and since when that is so.
        self._unread, self._unread_since = 0, 0.0
        # Set once a request is refused while its body still arrives; done when the client is gone.
        self._gone: asyncio.Future[None] | None = None
        # The body of the last request that began.
        self._newest: StreamReader | None = None
        self._ended = False  # the client sends no more, but waits for answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read, unless there are too many connections."""
        self._room.taken += 1
        super().connection_made(transport)
        if self._room.taken > self._room.most:
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Free its place for others."""
        self._room.taken -= 1
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what has arrived, and note whether it ends in the middle of a head."""
        if self._gone is not None:
            return
        super().data_received(data)
        if self._messages:
            self._newest = self._messages[-1][1]
        self._heard = True
        # With uvloop the first bytes arrive before aiohttp waits for them.
        self._head = "begun" if self._waits() or self._newest is None else None
        request = self._current_request
        if request is not None and request.content.total_bytes > LARGE:
            self._room.bodies.grew(request.content)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio uses the result
        """Whether the connection stays open for answers: a client may close its side as soon as its
        requests are complete. If a part of an answer has left, the client may be gone: then the
        connection is closed, so that no stream goes on for nobody."""
        request = self._current_request
        is_answered = self._waits() or (request is not None and request.writer.output_size > 0)
        self._ended = self._newest is not None and self._newest.is_eof() and not is_answered
        return self._ended

    def look(self, now: float, patience: Patience) -> None:
        """End the connection if the rest of a request takes too long, or if the client reads
        nothing of its answer."""
        unread = self.transport.get_write_buffer_size() if self.transport else 0
        if unread != self._unread:
            self._unread, self._unread_since = unread, now
        elif self.transport and unread and now - self._unread_since >= patience.answer:
            self.transport.abort()
            return
        owed = self._what_is_owed()
        if owed != self._owed:
            self._owed, self._owed_since, self._quiet_since = owed, now, now
        if self._heard:
            self._heard, self._quiet_since = False, now
        if owed is None:
            return
        waited, quiet = now - self._owed_since, now - self._quiet_since
        if owed[0] == "head":
            if waited >= patience.head:
                self._end_head(patience)
        elif quiet >= patience.silence or waited >= patience.body:
            self._end_body()

    def _process_keepalive(self) -> None:
        if self._head == "begun":
            self._keepalive_handle = None  # `patience.head` applies; restarted after the answer
        else:
            super()._process_keepalive()

    def _waits(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _what_is_owed(self) -> tuple[str, int] | None:
        """What the client must still send, `head` or `body`, and the number of the request; None if
        nothing."""
        if self._waits():
            return ("head", self._request_count) if self._head else None
        request = self._current_request
        # If reading is paused, we are the slow ones.
        if request is None or request.content.is_eof() or self._reading_paused:
            return None
        return "body", self._request_count

    def _end_head(self, patience: Patience) -> None:
        if self._head == "due" or self._waiter is None:
            self.force_close()  # no request has begun: some proxies connect in advance
            return
        late = Problem(408, f"The head of the request was not whole after {patience.head:g} s.")
        self._messages.append((_ErrInfo(status=408, exc=late, message=""), EMPTY_PAYLOAD))
        self._waiter.set_result(None)

    def _end_body(self) -> None:
        if self._current_request is not None:
            # The handler gets it when it reads on, and the middleware answers.
            self._current_request.content.set_exception(
                Problem(
                    408,
                    "The body of the request did not come in time: send it again.",
                    headers={"Connection": "close"},
                )
            )

    async def _handle_request(
        self,
        request: web.BaseRequest,
        *more: Any,  # noqa: ANN401 - as in aiohttp
    ) -> tuple[web.StreamResponse, bool]:
        try:
            answered = await super()._handle_request(request, *more)
        finally:
            self._room.bodies.done(request.content)
        if _is_left(request.content):
            await self._drop_rest()
        return answered

    async def _drop_rest(self) -> None:
        """Read the rest of a refused body for a moment: if the connection were closed at once, the
        client would see a reset instead of the answer."""
        self._lingering_time = 0.0  # aiohttp would read it from the content
        if self.transport is None or self.transport.is_closing():
            return
        self._gone = self._loop.create_future()
        self.transport.write_eof()
        self._resume_transport_reading()
        await asyncio.wait([self._gone], timeout=_DROP)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it repeats a part of the request
    ) -> web.StreamResponse:
        """The answer to a request that no handler could answer; it closes the connection."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun: it cannot become another one")
        problem = _problem(status, exc)
        if isinstance(exc, UnicodeEncodeError) and not request.headers.get("Expect", "").isascii():
            problem = Problem(417, _EXPECT)  # aiohttp failed to repeat what the request expects
        if problem.status >= 500:
            _log.error("unexpected", exc_info=exc)
        else:
            # Not the error itself: it repeats a part of the request, which may be a secret.
            _log.info("refused unread", status=problem.status, reason=type(exc).__name__)
        response = _answer(problem)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer, as a problem if the request was refused before any middleware.

        The body is freed first: however slowly the answer is read, others have room for theirs.
        """
        self._room.bodies.done(request.content)
        request._read_bytes = None  # noqa: SLF001 - aiohttp keeps it as long as the request
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            resp = _answer(Problem(resp.status, _EXPECT if resp.status == 417 else resp.reason))
        if _is_left(request.content) or (self._ended and not self._messages):
            resp.force_close()
        return await super().finish_response(request, resp, start_time)


def _is_left(body: StreamReader) -> bool:
    """Whether nothing can be read after this body, because its rest is not read.

    A megabyte of a compressed body may be a gigabyte, which would block everything for seconds.
    """
    if body.exception() is not None:
        return True
    return not body.is_eof() and body.total_compressed_bytes is not None


_EXPECT = "Of what a request may expect, the gateway knows 100-continue alone."


def _problem(status: int, exc: BaseException | None) -> Problem:
    if isinstance(exc, Problem):
        return exc
    if isinstance(exc, LineTooLong):
        if exc.args[1] == MAX_URL:
            return Problem(414, f"The URL is longer than {MAX_URL} bytes.")
        return Problem(431, f"A header is longer than {MAX_HEADER} bytes.")
    if isinstance(exc, ContentEncodingError):
        return unknown_coding()
    if status < 500:
        return Problem(400, "This is no request of HTTP/1.1: look at its method, URL and headers.")
    return Problem(500, "The gateway made a mistake; its log has the details. Try again.")


def _answer(problem: Problem) -> web.Response:
    response = refuse(problem)
    response.headers["Server"] = "gateway"
    return response
