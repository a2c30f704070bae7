"""How a request leaves: in pieces, so that we know whether all of it left; and cut if given up.

After a connection is closed, what was written to it still leaves from our buffers and the kernel's,
for minutes if the network is slow or was down: perhaps after we asked the provider, which did not
have the message. So the connection of a request that is given up is reset: nothing leaves any more.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

import aiohttp

from channels.errors import CutOff, SendError, Unwritten
from channels.moment import Moment

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

T = TypeVar("T")

# Bytes that are written to a connection at once: no more than a few of these wait in its buffer.
PIECE = 2**16
# A larger request may take longer, as if the network carried only so many bytes a second.
_LARGE, _SLOWEST = 2**20, 2**17
# https://man7.org/linux/man-pages/man7/socket.7.html, SO_LINGER: on, for no time
_DROP = struct.pack("ii", 1, 0)
# https://man7.org/linux/man-pages/man7/tcp.7.html, TCP_INFO: its first byte is the state
_ESTABLISHED = 1


@contextmanager
def writing() -> Iterator[None]:
    """Around whatever writes a request: an error that nobody expected becomes `Unwritten`."""
    try:
        yield
    except SendError:
        raise
    except Exception as error:
        raise Unwritten from error


async def built(build: Callable[..., T], *given: object) -> T:
    """What `build` makes of a message, in a thread: with files it takes long, and would block the
    loop. Raises `Unwritten`, and `CutOff` if it is cancelled: nothing has left."""
    try:
        return await asyncio.to_thread(_write, build, *given)
    except asyncio.CancelledError as error:
        raise CutOff from error


def _write(build: Callable[..., T], *given: object) -> T:
    # In the thread: that there is none to be had is no defect of the message.
    with writing():
        return build(*given)


def seconds_more(size: int) -> float:
    """How many seconds longer a request of so many bytes may take than a small one."""
    return max(0, size - _LARGE) / _SLOWEST


def waiting(transport: asyncio.BaseTransport | None) -> int:
    """How many bytes were written and have certainly not left; 0 if that is not known."""
    if transport is None:
        return 0
    return cast("asyncio.WriteTransport", transport).get_write_buffer_size()


def connector(**options: Any) -> aiohttp.TCPConnector:  # noqa: ANN401 - aiohttp's own
    """A connector with connections that drop what has not left when they are closed: aiohttp closes
    that of a failed request before we could `cut` it. An answered request has left."""
    return aiohttp.TCPConnector(socket_factory=_dropping, **options)


def cut(transport: asyncio.BaseTransport | None) -> None:
    """Reset a connection at once: what waits in its buffer and the kernel's is dropped."""
    if transport is not None:
        if (connection := transport.get_extra_info("socket")) is not None:
            with suppress(OSError, ValueError):  # already closed; uvloop raises ValueError
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP)
        cast("asyncio.WriteTransport", transport).abort()


def _dropping(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP)
    return made


def _is_ended(transport: asyncio.BaseTransport | None) -> bool:
    """Whether the other side has closed a connection, even if the loop does not know it yet;
    False if the system cannot tell."""
    held = transport.get_extra_info("socket") if transport is not None else None
    if held is None or not hasattr(socket, "TCP_INFO"):
        return False
    try:
        info = held.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except (OSError, ValueError):  # already closed; uvloop raises ValueError
        return True
    return bool(info[0] != _ESTABLISHED)


class TooLateError(Exception):
    """No byte of a request has left, and none may leave any more."""


class Body(aiohttp.Payload):
    """The body of a request that can be given up: see `is_partial` and `cut`.

    It does not begin to leave later than `seconds` after it was made.
    """

    _autoclose = True  # only bytes: there is nothing to close

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
        """Whether a part of it has certainly not left: a server cannot take half a request."""
        return not self._is_written or waiting(self._transport) > 0

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The content as text."""
        return self._content.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write it piece by piece, each as soon as the buffer has room."""
        await self.write_with_length(writer, None)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write it, or its first `content_length` bytes, in pieces; raises `TooLateError`."""
        # At this moment the headers have not left either.
        if self._made.age() > self._seconds:  # the machine was suspended, and so were time-outs
            raise TooLateError("the time of this request is over")
        self._transport = getattr(writer, "transport", None)
        if _is_ended(self._transport):  # a reused connection: the server would not read this
            raise TooLateError("the connection was ended at the other side")
        content = memoryview(self._content)[:content_length]
        for start in range(0, len(content), PIECE):
            await writer.write(content[start : start + PIECE])
        self._is_written = True

    def cut(self) -> None:
        """Give it up: nothing of it leaves any more."""
        cut(self._transport)
