"""An answer that is sent in parts, to a client that may be slow or gone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Self

import aiohttp
from aiohttp import web

from gateway.web.in_flight import IN_FLIGHT


class GoneError(Exception):
    """The client has gone away, or has read nothing for too long."""


class Stream:
    """The parts of one answer; only what the client has not read yet is kept in memory.

    A client that reads nothing for a minute (`patience`, in seconds) is cut off. Use as a context,
    in which `send` is called; at its end the answer is complete. If an error ends it, the
    connection is cut, so that the client sees that the answer is incomplete.
    """

    def __init__(
        self, request: web.Request, headers: Mapping[str, str], *, patience: float = 60
    ) -> None:
        self._request = request
        self._patience = patience
        self.response = web.StreamResponse(headers={"Cache-Control": "no-store", **headers})
        self._watched = request.app[IN_FLIGHT].streaming(self.cut)

    async def __aenter__(self) -> Self:
        # First: if the client has gone already, this raises, and `__aexit__` is not called.
        await self.response.prepare(self._request)
        self._watched.__enter__()
        return self

    async def send(self, part: bytes) -> None:
        """Send a part; raises `GoneError`."""
        try:
            async with asyncio.timeout(self._patience):
                await self.response.write(part)
        except (ConnectionError, aiohttp.ClientError, TimeoutError) as error:
            raise GoneError from error

    def cut(self) -> None:
        """End the connection at once: the answer is incomplete."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._watched.__exit__(None, None, None)
        if kind is None:
            return False
        self.cut()
        return issubclass(kind, GoneError)
