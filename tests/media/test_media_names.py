"""Names that others chose are looked up without a thread of the event loop's own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver

from channels.names import OwnThreads
from gateway.outside.public import ForbiddenAddress, PublicResolver


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


async def test_a_name_that_is_being_looked_up() -> None:
    """Who asks for a name that somebody has asked for, with whatever port, waits with them, and
    holds no thread more; who waits no longer leaves it to the others."""
    answered, asked = threading.Event(), []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        if host == "slow.example":
            answered.wait(10)
        address = ("192.0.2.1", port)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]

    resolver = OwnThreads(2, look_up)
    waiting = [asyncio.create_task(resolver.resolve("slow.example", 25 + n)) for n in range(8)]
    await asyncio.sleep(0)
    waiting.pop(0).cancel()
    async with asyncio.timeout(5):
        await resolver.resolve("quick.example", 25)
    answered.set()
    found = await asyncio.gather(*waiting)
    ports = [(each["host"], each["port"]) for hosts in found for each in hosts]
    assert [("192.0.2.1", 26 + n) for n in range(7)] == ports
    assert ["quick.example", "slow.example"] == sorted(asked)  # each by a thread of its own
    await resolver.resolve("quick.example", 25)
    assert 3 == len(asked)  # what was answered is asked anew
    await resolver.close()


async def test_names_that_nobody_answers_for() -> None:
    """As many as one organization has under way leave a thread to the names of others."""
    answered = threading.Event()

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        if host.startswith("dead"):
            answered.wait(10)
        address = ("1.1.1.1", port)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]

    resolver = PublicResolver()
    resolver._resolver._look_up = look_up  # type: ignore[attr-defined]
    dead = [asyncio.create_task(resolver.resolve(f"dead{n}.example", 443)) for n in range(64)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert ["1.1.1.1"] == [each["host"] for each in await resolver.resolve("b.example", 443)]
    answered.set()
    await asyncio.gather(*dead)
    await resolver.close()
