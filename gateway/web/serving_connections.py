"""Listening in a web process, with so many connections that descriptors are left for the rest."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from aiohttp import web

from gateway.web.bodies import Bodies
from gateway.web.connections import Connection, Patience, Room

BACKLOG = 1024
# Descriptors that are kept for the database and files: so many, or one in so many if that is more.
_KEPT, _KEPT_OF = 64, 8
# Connections that are accepted, however few descriptors there are.
_FEWEST = 16


def most_connections(descriptors: int) -> int:
    """How many connections clients may have, so that enough descriptors are left for the rest."""
    return max(_FEWEST, descriptors - max(_KEPT, descriptors // _KEPT_OF))


@asynccontextmanager
async def listening(
    runner: web.AppRunner,
    bound: socket.socket,
    most: int,
    patience: Patience | None = None,
    bodies: Bodies | None = None,
) -> AsyncIterator[None]:
    """Accept connections on a bound socket within the block; open ones stay open after it.

    Connections beyond `most` at a time are closed at once, before anything is read.
    """
    patience = patience or Patience()
    server = cast("web.Server", runner.server)  # it is there once the runner is set up
    loop = asyncio.get_running_loop()
    looking: asyncio.TimerHandle

    def look() -> None:
        nonlocal looking
        looking = loop.call_later(patience.look, look)
        now = loop.time()
        for connection in server.connections:
            if isinstance(connection, Connection):
                connection.look(now, patience)

    room = Room(most, bodies or Bodies())
    # uvloop accepts one connection at a time: each is counted before the next one takes a
    # descriptor, however many come at once.
    listener = await loop.create_server(
        lambda: Connection(server, loop, room, patience.idle), sock=bound, backlog=BACKLOG
    )
    looking = loop.call_later(patience.look, look)
    try:
        yield
    finally:
        looking.cancel()
        listener.close()
