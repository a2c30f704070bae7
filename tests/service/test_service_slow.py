"""What the messages of a slow provider take from others meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs

from aiohttp import web

from channels.model import Channel
from gateway.accept.falling_back import FallingBack
from gateway.ids import new_id
from gateway.manage import setup
from gateway.observability.metrics import Metrics
from gateway.receive.unmatched import UnmatchedReports
from gateway.worker import Worker
from tests.servers import FakeApi, serving
from tests.service.test_service_worker import NoDeliveries, NoErrands

if TYPE_CHECKING:
    from gateway.receive.errands import Errands
    from gateway.subscriptions.delivering import Deliveries
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api


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
        async with asyncio.timeout(30):
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
        UnmatchedReports(gateway.database, Metrics()),
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
