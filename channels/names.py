"""Host names, looked up in threads of their own.

An event loop has few threads for all look-ups (uvloop has two). A name whose servers do not answer
occupies one for 10 s or more: two such names, which a tenant may choose, would keep everybody from
connecting. Here callers that want the same name share a look-up, and so a thread.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

THREADS = 16


# (family, type, protocol, canonical name, the address that a socket takes)
Found = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]]


class OwnThreads(AbstractResolver):
    """Asks the system's resolver (`look_up`) for `threads` names at a time; the others wait."""

    def __init__(
        self, threads: int = THREADS, look_up: Callable[..., Any] = socket.getaddrinfo
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="names")
        self._look_up = look_up
        self._asked: dict[tuple[str, int], asyncio.Future[Found]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name; raises `OSError` if it has none."""
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in await self.addresses(host, port, family)
        ]

    async def addresses(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> Found:
        """The socket addresses of a name; raises `OSError` if it has none."""
        wanted = (host, int(family))
        asked = self._asked.get(wanted)
        if asked is None:
            asked = self._asked[wanted] = self._ask(host, family)
            asked.add_done_callback(lambda _: self._asked.pop(wanted))
        # A caller that is cancelled must not cancel the look-up for the others.
        await asyncio.wait([asked])
        try:
            return [
                (kind, sort, protocol, name, (address[0], port, *address[2:]))
                for kind, sort, protocol, name, address in asked.result()
            ]
        except UnicodeError as error:  # two dots in a row, or a label of more than 63 characters
            raise socket.gaierror(socket.EAI_NONAME, "This is not a host name.") from error

    def _ask(self, host: str, family: int) -> asyncio.Future[Found]:
        look_up = partial(
            self._look_up,
            host,
            0,  # whoever chooses a name chooses its ports, too: all of them share the look-up
            family=family,
            type=socket.SOCK_STREAM,
            flags=socket.AI_ADDRCONFIG,
        )
        asked = asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        asked.add_done_callback(_heed)
        return asked

    async def close(self) -> None:
        """End without waiting for running look-ups: nobody needs them any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _heed(asked: asyncio.Future[Found]) -> None:
    """Retrieve an error that nobody may be waiting for, so that the loop does not log it."""
    if not asked.cancelled():
        asked.exception()
