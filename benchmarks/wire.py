"""Just enough HTTP/1.1 for a measurement: headers, and bodies with a Content-Length."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import cast


class Wire(asyncio.Protocol, ABC):
    """One connection; complete requests or answers are passed to `got`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._given = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; those of uvloop are not subclasses of asyncio's."""
        self._transport = cast("asyncio.Transport", transport)

    def write(self, data: bytes) -> None:
        """Write, unless the connection is closing."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Collect data, and pass on what is complete."""
        self._given = self._given + data if self._given else data
        while (end := self._given.find(b"\r\n\r\n")) >= 0:
            head = self._given[:end]
            size = _content_length(head)
            if len(self._given) < end + 4 + size:
                return
            body = self._given[end + 4 : end + 4 + size]
            self._given = self._given[end + 4 + size :]
            self.got(head, body)

    @abstractmethod
    def got(self, head: bytes, body: bytes) -> None:
        """Handle one complete request or answer."""


def _content_length(head: bytes) -> int:
    at = head.find(b"Content-Length:")
    if at < 0:
        at = head.lower().find(b"content-length:")
    return 0 if at < 0 else int(head[at + 15 :].split(b"\r\n", 1)[0])
