"""What a worker that stops cuts before it leaves: nobody took it, and that is said."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import aiohttp
import pytest

from channels.errors import CutOff
from channels.http import Limits, ask
from channels.model import Account
from channels.providers import mailgun, postmark, resend, sendgrid, ses
from channels.providers.smtp import Smtp
from channels.smtp_pool import CONNECTIONS
from tests.servers import serving
from tests.smtp.values import ID, Server, account, outbound
from tests.units.test_units_http import Silent, Slow

PATIENT = Limits(connect=20, total=60)


async def until(is_so: Callable[[], bool]) -> None:
    """Return when it is so."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - a server's list
            await asyncio.sleep(0.001)


async def cut(*sending: Awaitable[object]) -> None:
    """Cancel what is under way; each was cut off before it left."""
    tasks = [asyncio.ensure_future(each) for each in sending]
    await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [CutOff] * len(tasks) == [type(end) for end in ends]


@asynccontextmanager
async def no_thread() -> AsyncIterator[None]:
    """While the block runs the loop's only thread is busy: whatever needs one waits."""
    freed, loop = threading.Event(), asyncio.get_running_loop()
    threads = ThreadPoolExecutor(1)
    loop.set_default_executor(threads)
    threads.submit(freed.wait)
    try:
        yield
    finally:
        freed.set()


async def test_while_it_is_built(session: aiohttp.ClientSession) -> None:
    """A mail that is being built has not begun to leave, whoever carries it."""
    held = {
        "api_key": "k", "domain": "clinic.example", "server_token": "t", "access_key_id": "a",
        "secret_access_key": "s", "region": "eu-west-1",
    }  # fmt: skip
    by_http = Account(id=ID, organization_id=ID, provider="any", credentials=held)
    async with no_thread():
        for module in (mailgun, postmark, resend, sendgrid, ses):
            await cut(module.half.send(by_http, outbound(), session, ""))
        await cut(Smtp().send(account(1), outbound(), session, ""))


async def post(session: aiohttp.ClientSession, url: str) -> None:
    """One request whose answer nobody needs."""
    await ask(session, "POST", url, provider="Acme", headers={}, body=b"x", limits=PATIENT)


async def test_while_a_request_waits_for_its_connection() -> None:
    """Until the name is known, a connection is free, and TLS stands, no byte has left."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Silent())) as session:
        await cut(post(session, "https://api.acme.example/"))
    connector = aiohttp.TCPConnector(limit=1)
    async with serving(Slow()) as slow, aiohttp.ClientSession(connector=connector) as session:
        first = asyncio.create_task(post(session, slow.url))
        await slow.reached.wait()
        await cut(post(session, slow.url))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):  # all of it has left: nobody knows
            await first
        assert 1 == len(slow.asked)
    async with Server({"greeting": None}) as silent, aiohttp.ClientSession() as session:
        sending = asyncio.create_task(post(session, f"https://127.0.0.1:{silent.port}/"))
        await until(lambda: silent.connections == 1)
        await cut(sending)


def heard(server: Server) -> list[str]:
    """How often which answer of the server's was waited for."""
    return ["greeting"] * server.connections + [line.split(" ")[0] for line in server.commands]


@pytest.mark.parametrize("verb", ["greeting", "EHLO", "MAIL", "DATA"])
async def test_while_a_mail_waits_for_the_server(session: aiohttp.ClientSession, verb: str) -> None:
    """Until the server wants the content, it has no mail; nor of one that waits for the others."""
    half = Smtp()
    async with Server({verb: None}) as server:
        sending = [
            asyncio.create_task(half.send(account(server.port), outbound(), session, ""))
            for _ in range(CONNECTIONS + 1)
        ]
        await until(lambda: CONNECTIONS == heard(server).count(verb))
        await cut(*sending)
    await half.close()
