"""What a send may take at most, and what it takes from others meanwhile."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from aiohttp import web

from channels.model import Channel
from gateway.store import queue
from tests.service.wires import connect, row_of, send, step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

WAITS = "SELECT phase = 'send' AND lease_id IS NULL FROM gateway.queue"


def postmark(request: web.Request) -> web.Response:
    """Take every mail, and know of none."""
    if request.method == "GET":
        return web.json_response({"Messages": []})
    return web.json_response({"MessageID": "pm-1", "ErrorCode": 0})


async def test_a_send_that_does_not_begin(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A mail that waits here, as for threads that a file system holds up, for longer than a send
    may take, does not leave after another worker was sure that the provider does not have it."""
    await connect(gateway, "postmark", Channel.EMAIL)
    api.answers = postmark
    sent = await send(ask, "email", "ada@customer.example", subject="Hi", body="Hello")
    stuck, other = api.worker(gateway, longest_send=0.2), api.worker(gateway, sure_after=0)
    freed = threading.Event()
    threads = ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(threads)
    threads.submit(freed.wait, 60)
    (turn,) = await stuck.claim(1)
    sending = asyncio.create_task(stuck.work(turn))
    await asyncio.sleep(0.5)
    async with gateway.database.as_service() as db:
        await queue.end_dead_leases(db, other.lease_id)
    is_waiting = False
    while not is_waiting:
        async with gateway.database.as_service() as db:
            await db.execute("UPDATE gateway.queue SET run_at = now()")
        await step(other)
        async with gateway.database.as_service() as db:
            is_waiting = await db.fetchval(WAITS)
    (again,) = await other.claim(1)
    freed.set()
    await asyncio.gather(sending, other.work(again))

    assert ["POST"] == [request.method for request, _ in api.asked if request.method == "POST"]
    assert "sent" == (await row_of(ask, sent))["status"]
