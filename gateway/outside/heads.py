"""A limit on what a server sends before its answer.

aiohttp limits each line, but not the number of interim answers (1xx) before the final one: a server
that sends them without end would block the event loop and fill the memory.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

if TYPE_CHECKING:
    from aiohttp.http import RawResponseMessage

HEAD_BYTES = 2**16
_PIECE = 2**13


class BoundedHandler(ResponseHandler):
    """A connection that breaks after `HEAD_BYTES` that are not the body of an answer. Unless we
    read bodies (`reads_bodies`), they count, too: their framing may be endless as well."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, reads_bodies: bool) -> None:
        super().__init__(loop)
        self._reads_bodies = reads_bodies
        self._said = 0
        self._body: aiohttp.StreamReader | None = None

    def set_response_params(self, **params: Any) -> None:  # noqa: ANN401 - aiohttp's own
        """Begin another request."""
        self._said, self._body = 0, None
        super().set_response_params(**params)

    def feed_data(
        self, data: tuple[RawResponseMessage, aiohttp.StreamReader], size: int = 0
    ) -> None:
        """Take an answer, with its body, from the parser."""
        self._body = data[1]
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Take received bytes, in pieces until a body begins; what follows its end counts, too."""
        while data and self.exception() is None and not self._is_body():
            piece, data = data[:_PIECE], data[_PIECE:]
            self._said += len(piece)
            if self._said > HEAD_BYTES:
                self.set_exception(aiohttp.ClientPayloadError("too much before the answer"))
                if self.transport is not None:
                    self.transport.abort()
                return
            super().data_received(piece)
            if not data:
                return
        if self.exception() is None:
            super().data_received(data)

    def _is_body(self) -> bool:
        return self._reads_bodies and self._body is not None and not self._body.is_eof()


def bounded(connector: aiohttp.TCPConnector, *, reads_bodies: bool = True) -> aiohttp.TCPConnector:
    """The connector, with `BoundedHandler` for its connections."""
    # aiohttp has no public way to do this.
    loop = asyncio.get_running_loop()
    connector._factory = partial(_handler, loop, reads_bodies)  # noqa: SLF001
    return connector


def _handler(loop: asyncio.AbstractEventLoop, reads_bodies: bool) -> ResponseHandler:  # noqa: FBT001
    return BoundedHandler(loop, reads_bodies=reads_bodies)
