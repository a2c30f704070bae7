"""Names that others chose are looked up without a thread of the event loop's own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver

from channels.names import OwnThreads
from channels.public import ForbiddenAddress, PublicResolver


class Busy(asyncio.SelectorEventLoop):
    """A loop whose few threads for names are all held by some that nobody answers for."""

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        """Wait for a thread."""
        await asyncio.sleep(60)


async def resolved(make: Callable[[], AbstractResolver]) -> list[str]:
    """The addresses of this machine, by a name that needs no server."""
    resolver = make()
    async with asyncio.timeout(10):
        found = await resolver.resolve("localhost", 80, socket.AF_INET)
    await resolver.close()
    return [each["host"] for each in found]


def test_names_wait_for_no_thread_of_the_loop() -> None:
    """A provider is found, and a stranger's URL judged, while the loop can look up nothing."""
    with asyncio.Runner(loop_factory=Busy) as runner:
        assert ["127.0.0.1"] == runner.run(resolved(OwnThreads))
        with pytest.raises(ForbiddenAddress):
            runner.run(resolved(PublicResolver))


async def test_a_name_that_there_is_none_of() -> None:
    """What cannot be looked up is an error of the network."""
    resolver = OwnThreads(threads=1)
    with pytest.raises(socket.gaierror):
        await resolver.resolve("no such name.invalid", 80)
    await resolver.close()
