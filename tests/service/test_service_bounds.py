"""What a send may take at most, and what it takes from others meanwhile."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs

import time_machine
from aiohttp import web

from channels.model import Channel
from gateway import setup
from gateway.accept.falling_back import FallingBack
from gateway.ids import new_id
from gateway.metrics import Metrics
from gateway.store import queue
from gateway.worker import Worker
from tests.servers import FakeApi, serving
from tests.service.test_service_worker import NoDeliveries, NoErrands
from tests.service.wires import connect, row_of, send, step

if TYPE_CHECKING:
    from gateway.receive.errands import Errands
    from gateway.subscriptions.delivering import Deliveries
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
    may take, has surely not left: it is tried again, and leaves once, also when the first wait ends
    then."""
    await connect(gateway, "postmark", Channel.EMAIL)
    api.answers = postmark
    sent = await send(ask, "email", "ada@customer.example", subject="Hi", body="Hello")
    freed = threading.Event()
    threads = ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(threads)
    threads.submit(freed.wait, 60)
    assert 1 == await step(api.worker(gateway, longest_send=0.2))
    assert ("sending", []) == ((await row_of(ask, sent))["status"], api.asked)
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.queue SET run_at = now()")
    (again,) = await api.worker(gateway).claim(1)
    freed.set()
    await api.worker(gateway).work(again)

    assert ["POST"] == [request.method for request, _ in api.asked if request.method == "POST"]
    assert "sent" == (await row_of(ask, sent))["status"]


@dataclass
class Holding(FakeApi):
    """Twilio's API, which lets one sender's messages wait until they are freed.

    Those of others take `seconds`.
    """

    sender: str = ""
    seconds: float = 0
    freed: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    taken: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take a message, at once or when it is freed."""
        (sender,) = parse_qs(await request.text())["From"]
        self.taken.append(sender)
        if sender == self.sender:
            await self.freed.acquire()
        else:
            await asyncio.sleep(self.seconds)
        return web.json_response({"sid": f"SM{new_id().hex}"}, status=201)

    async def has_taken(self, count: int, sender: str) -> None:
        """Wait until so many of a sender's messages have come."""
        async with asyncio.timeout(5):
            while self.taken.count(sender) < count:  # noqa: ASYNC110 - a server's list
                await asyncio.sleep(0.02)


def worker_of(gateway: Gateway, api: Api, places: int = 8) -> Worker:
    """One with so many places, to which a third of a second is slow."""
    return Worker(
        gateway.database,
        api.worker(gateway),
        cast("Errands", NoErrands()),
        FallingBack(gateway.database, Metrics()),
        cast("Deliveries", NoDeliveries()),
        str(gateway.settings.database_url),
        places,
        slow_after=0.3,
    )


async def test_a_slow_provider_is_slow_for_its_tenant(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Of one tenant, whose messages wait for their provider, there is a backlog: when some places
    are free the other one gets them, and goes on getting them."""
    slow, quick = gateway.a.sender, gateway.b.sender
    sms = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
    async with serving(Holding(sender=slow)) as holding:
        api.url = holding.url
        worker = worker_of(gateway, api)
        await ask("POST", "/v1/messages/batch", {"messages": [sms] * 40})
        running = asyncio.create_task(worker.run())
        await holding.has_taken(8, slow)
        await ask("POST", "/v1/messages/batch", {"messages": [sms] * 12}, key=gateway.b.key)
        await asyncio.sleep(0.4)
        for _ in range(4):
            holding.freed.release()
        try:
            await holding.has_taken(12, quick)
        finally:
            for _ in range(40):
                holding.freed.release()
            worker.stop()
            await running


async def test_a_slow_provider_has_what_nobody_waits_for(
    gateway: Gateway, ask: Ask, api: Api
) -> None:
    """While nobody else has messages that wait, one tenant's slow ones get the places of others,
    but for a quarter, which is there at once for whoever comes."""
    slow, quick = gateway.a.sender, gateway.b.sender
    sms = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
    async with serving(Holding(sender=slow)) as holding:
        api.url = holding.url
        worker = worker_of(gateway, api)
        await ask("POST", "/v1/messages/batch", {"messages": [sms] * 40})
        running = asyncio.create_task(worker.run())
        try:
            await holding.has_taken(8, slow)
            await asyncio.sleep(0.4)
            for _ in range(4):
                holding.freed.release()
            await holding.has_taken(10, slow)
            await asyncio.sleep(0.6)
            await ask("POST", "/v1/messages/batch", {"messages": [sms] * 12}, key=gateway.b.key)
            await holding.has_taken(12, quick)
            assert 10 == holding.taken.count(slow)
        finally:
            for _ in range(40):
                holding.freed.release()
            worker.stop()
            await running


async def test_a_slow_provider_beside_another_sender(gateway: Gateway, ask: Ask, api: Api) -> None:
    """The same tenant's other senders do not wait behind the backlog of the one that is slow, as
    SMS behind the mails of a mail server that does not answer; also when those end all at once, and
    however much another tenant sends meanwhile."""
    slow, quick = gateway.a.sender, "+15551230009"
    await setup.add_sender(
        gateway.database, gateway.a.account_id, Channel.SMS, quick, is_default=False, rate=None
    )
    sms = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
    hers = {"messages": [sms] * 120}
    async with serving(Holding(sender=slow, seconds=0.05)) as holding:
        api.url = holding.url
        worker = worker_of(gateway, api)
        await ask("POST", "/v1/messages/batch", {"messages": [sms] * 100})
        running = asyncio.create_task(worker.run())
        try:
            await holding.has_taken(8, slow)
            await ask("POST", "/v1/messages/batch", hers, key=gateway.b.key)
            await asyncio.sleep(0.3)
            for _ in range(8):
                holding.freed.release()
            await holding.has_taken(120, gateway.b.sender)
            await ask("POST", "/v1/messages/batch", {"messages": [{**sms, "from": quick}] * 12})
            await holding.has_taken(12, quick)
            assert 10 <= holding.taken.count(slow) <= 14
        finally:
            for _ in range(100):
                holding.freed.release()
            worker.stop()
            await running


async def test_a_slow_provider_and_one_place(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A worker with one place keeps none: the next slow message follows the one that has ended."""
    sms = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
    async with serving(Holding(sender=gateway.a.sender)) as holding:
        api.url = holding.url
        worker = worker_of(gateway, api, places=1)
        await ask("POST", "/v1/messages/batch", {"messages": [sms] * 2})
        running = asyncio.create_task(worker.run())
        try:
            await holding.has_taken(1, gateway.a.sender)
            await asyncio.sleep(0.4)
            holding.freed.release()
            await holding.has_taken(2, gateway.a.sender)
        finally:
            holding.freed.release()
            worker.stop()
            await running


async def test_a_message_that_is_over_by_the_time_it_would_leave(
    gateway: Gateway, ask: Ask, api: Api
) -> None:
    """What waits here beyond its `expires_at`, for its turn or its files, does not leave."""
    api.says(201, {"sid": "SM" + "1" * 32})
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    sent = await send(ask, "sms", "+447700900123", body="Hi", expires_at=soon.isoformat())
    worker = api.worker(gateway)
    (turn,) = await worker.claim(1)
    await asyncio.sleep(1.6)
    await worker.work(turn)

    row = await row_of(ask, sent)
    assert (("failed", "expired"), []) == ((row["status"], row["error_code"]), api.asked)


async def test_a_message_may_wait_at_twilio_as_long_as_it_is_wanted(
    gateway: Gateway, ask: Ask, api: Api
) -> None:
    """Twilio drops an SMS whose `expires_at` passes in its queue; one without is not told so."""
    api.says(201, {"sid": "SM" + "1" * 32})
    soon = datetime.now(UTC) + timedelta(minutes=10)
    for more in ({}, {"expires_at": soon.isoformat()}):
        await send(ask, "sms", "+447700900123", body="Hi", **more)
        await step(api.worker(gateway))
        api.says(201, {"sid": "SM" + "2" * 32})
    (_, without), (_, until) = api.asked
    assert "ValidityPeriod" not in parse_qs(without.decode())
    assert 570 <= int(parse_qs(until.decode())["ValidityPeriod"][0]) <= 600


async def test_a_message_that_another_program_lets_be_valid_for_ever(
    gateway: Gateway, ask: Ask, api: Api
) -> None:
    """`infinity` is a time that PostgreSQL holds: it keeps nobody's messages from being sent."""
    api.says(201, {"sid": "SM" + "1" * 32})
    sent = await send(ask, "sms", "+447700900123", body="Hi")
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET expires_at = 'infinity'")
    await step(api.worker(gateway))
    assert "sent" == (await row_of(ask, sent))["status"]
    assert ["36000"] == parse_qs(api.asked[0][1].decode())["ValidityPeriod"]


async def test_a_machine_that_was_suspended(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What was claimed before the machine slept does not leave when it wakes up: its lease is over,
    and another worker may have sent it. By the loop's clock no time has gone by."""
    sent = await send(ask, "sms", "+447700900123", body="Hi")
    worker = api.worker(gateway)
    with time_machine.travel(datetime.now(UTC), tick=True) as travel:
        (turn,) = await worker.claim(1)
        travel.shift(3600)
        await worker.work(turn)
    assert (0, "sending") == (len(api.asked), (await row_of(ask, sent))["status"])
    async with gateway.database.as_service() as db:
        assert await db.fetchval(WAITS)


async def test_a_large_mail_has_more_time(gateway: Gateway, ask: Ask, api: Api) -> None:
    """It is not cut off when a small message would be."""
    await connect(gateway, "postmark", Channel.EMAIL)
    api.answers = postmark
    sent = await send(ask, "email", "ada@customer.example", subject="Hi", body="Hello " * 100_000)
    await step(api.worker(gateway, longest_send=0))
    assert "sent" == (await row_of(ask, sent))["status"]


async def test_whether_a_large_mail_was_taken(gateway: Gateway, ask: Ask, api: Api) -> None:
    """As long as a request with its files may still be on its way, nobody is sure that the provider
    does not have the mail."""
    await connect(gateway, "postmark", Channel.EMAIL)
    api.answers = postmark
    files = [{"url": "https://files.example/large.pdf"}]
    await send(ask, "email", "ada@customer.example", subject="Hi", body="Hi", attachments=files)
    worker = api.worker(gateway)
    await worker.claim(1)
    async with gateway.database.as_service() as db:
        await queue.end_dead_leases(db, new_id())
    await step(api.worker(gateway))  # whoever had it is gone, its answer is lost
    for minutes, phase in ((1, "ask"), (10, "send")):
        async with gateway.database.as_service() as db:
            await db.execute(
                "UPDATE gateway.queue SET run_at = now(), attempted_at = now() - $1::interval",
                timedelta(minutes=minutes),
            )
        await step(worker)
        async with gateway.database.as_service() as db:
            assert phase == await db.fetchval("SELECT phase FROM gateway.queue")
