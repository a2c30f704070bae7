"""How a request leaves: in pieces, known to be whole at the other side or not, and cut for good.

What was written to a connection keeps leaving after the connection was closed, from our buffers
and the kernel's, for minutes if the line is slow or was away: long after the provider was asked,
and did not have it. So a request that is given up is cut: nothing of it leaves any more.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

import aiohttp

from channels.errors import CutOff
from channels.moment import Moment

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

T = TypeVar("T")

# Bytes that are handed to a connection at once: what waits in it is no more than a few of these.
PIECE = 2**16
# What is larger may take longer, as on a line that carries no more than so many bytes a second.
_LARGE, _SLOWEST = 2**20, 2**17
# https://man7.org/linux/man-pages/man7/socket.7.html, SO_LINGER: on, for no time
_DROP = struct.pack("ii", 1, 0)
# https://man7.org/linux/man-pages/man7/tcp.7.html, TCP_INFO: its first byte is the state
_ESTABLISHED = 1


async def built(build: Callable[..., T], *given: object) -> T:
    """What `build` makes of a message, in a thread: files make it a work of its own, and nobody is
    to wait for it. Raises `CutOff` where it is cancelled: nothing has left."""
    try:
        return await asyncio.to_thread(build, *given)
    except asyncio.CancelledError as error:
        raise CutOff from error


def seconds_more(size: int) -> float:
    """How many seconds a request of so many bytes may take beyond what a small one may."""
    return max(0, size - _LARGE) / _SLOWEST


def waiting(transport: asyncio.BaseTransport | None) -> int:
    """How many bytes of what was written have surely not left; 0 where that is not known."""
    if transport is None:
        return 0
    return cast("asyncio.WriteTransport", transport).get_write_buffer_size()


def connector(**options: Any) -> aiohttp.TCPConnector:  # noqa: ANN401 - aiohttp's own
    """Connections that drop what has not left when they are closed, as aiohttp closes that of a
    failed request before anybody could `cut` it. What was answered has left."""
    return aiohttp.TCPConnector(socket_factory=_dropping, **options)


def cut(transport: asyncio.BaseTransport | None) -> None:
    """End a connection at once, with a reset: what waits in it, and in the kernel, is dropped."""
    if transport is not None:
        if (connection := transport.get_extra_info("socket")) is not None:
            with suppress(OSError, ValueError):  # closed by now: uvloop's ValueError
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP)
        cast("asyncio.WriteTransport", transport).abort()


def _dropping(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP)
    return made


def _is_ended(transport: asyncio.BaseTransport | None) -> bool:
    """Whether the other side has ended a connection, also where the loop has not heard of it yet;
    False where the system does not tell."""
    held = transport.get_extra_info("socket") if transport is not None else None
    if held is None or not hasattr(socket, "TCP_INFO"):
        return False
    try:
        info = held.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except (OSError, ValueError):  # closed by now: uvloop's ValueError
        return True
    return bool(info[0] != _ESTABLISHED)


class TooLateError(Exception):
    """No byte of a request has left, and none may any more."""


class Body(aiohttp.Payload):
    """The body of a request; `is_partial` tells of one that was given up, `cut` ends it.

    It does not begin to leave more than `seconds` after it was made.
    """

    _autoclose = True  # bytes alone: there is nothing to close

    def __init__(self, content: bytes, seconds: float) -> None:
        super().__init__(content)
        self._content = content
        self._made = Moment.now()
        self._seconds = seconds
        self._size = len(content)
        self._transport: asyncio.BaseTransport | None = None
        self._is_written = False

    @property
    def is_partial(self) -> bool:
        """Whether some of it has surely not left: a server cannot take half a request."""
        return not self._is_written or waiting(self._transport) > 0

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The content as text."""
        return self._content.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write it piece by piece, each when there is room for it."""
        await self.write_with_length(writer, None)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write it, or what `content_length` allows, piece by piece; raises `TooLateError`."""
        # Its headers have not left either.
        if self._made.age() > self._seconds:  # the machine stood still, and its clocks of time-outs
            raise TooLateError("the time of this request is over")
        self._transport = getattr(writer, "transport", None)
        if _is_ended(self._transport):  # a kept one: what leaves on it now is taken by nobody
            raise TooLateError("the connection was ended at the other side")
        content = memoryview(self._content)[:content_length]
        for start in range(0, len(content), PIECE):
            await writer.write(content[start : start + PIECE])
        self._is_written = True

    def cut(self) -> None:
        """It is given up: nothing of it leaves any more."""
        cut(self._transport)
