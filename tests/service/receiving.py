"""A service with a subscription: it keeps the events that it gets, and answers as tests want."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiohttp import web
from standardwebhooks import Webhook

from gateway.observability.metrics import Metrics
from gateway.outside.posting import Poster
from gateway.store import reports
from gateway.store.reports import Event, event_id
from gateway.subscriptions.delivering import Deliveries
from gateway.subscriptions.sending import Patience
from gateway.vault import Vault
from tests.service.conftest import Answer, Gateway

SMS = {"channel": "sms", "to": "+447700900123"}
# Attempts follow each other almost at once.
QUICK = Patience(seconds=5, waits=(0.01,) * 9, rest=0.02, pause=0.0, last=0.05)


@dataclass(frozen=True, kw_only=True)
class Told:
    """One request to the service."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def id(self) -> str:
        """The id of the event, the same in each attempt."""
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        """The event, read from JSON."""
        return json.loads(self.raw)

    @property
    def body(self) -> str:
        """The text of the message that it is about."""
        return str(self.event["data"]["body"])

    def verify(self, secret: str) -> None:
        """Raise if it is not signed with this secret."""
        Webhook(secret).verify(self.raw, self.headers)


@dataclass
class Receiver:
    """Keeps its requests in order, and answers them; those to `hanging` paths wait for `go_on`."""

    url: str = ""
    told: list[Told] = field(default_factory=list)
    answer: Callable[[Told], web.Response] = lambda _: web.Response(status=204)
    hanging: set[str] = field(default_factory=set)
    go_on: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Keep the request, and answer it."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        told = Told(path=request.path, headers=headers, raw=await request.read())
        self.told.append(told)
        self.more.set()
        if request.path in self.hanging:
            await self.go_on.acquire()
        return self.answer(told)

    async def has(self, count: int, path: str | None = None) -> list[Told]:
        """The requests (to a path), once there are so many."""
        async with asyncio.timeout(10):
            while True:
                self.more.clear()
                found = [each for each in self.told if path in (None, each.path)]
                if len(found) >= count:
                    return found
                await self.more.wait()


async def subscribe(gateway: Gateway, path: str = "/", **more: Any) -> Answer:
    """Create a subscription of A, or of the organization with `key`."""
    key = more.pop("key", None)
    (url,) = gateway.settings.gateway_subscription_origins
    answer = await gateway.ask("POST", "/v1/subscriptions", {"url": url + path, **more}, key=key)
    assert 201 == answer.status, answer.body
    return answer


async def subscription(gateway: Gateway, made: Answer) -> Any:
    """The subscription as it is now."""
    return (await gateway.ask("GET", f"/v1/subscriptions/{made.body['id']}")).body


async def settled(gateway: Gateway, made: Answer, **expected: Any) -> Any:
    """The subscription, once it has the expected values."""
    async with asyncio.timeout(10):
        while True:
            found = await subscription(gateway, made)
            if expected.items() <= found.items():
                return found
            await asyncio.sleep(0.02)


async def send(gateway: Gateway, *bodies: str, key: str | None = None) -> list[str]:
    """Have messages accepted, one after another; returns their ids."""
    made = [
        await gateway.ask("POST", "/v1/messages", {**SMS, "body": body}, key=key) for body in bodies
    ]
    return [each.body["id"] for each in made]


async def report(gateway: Gateway, message_id: str, status: str | None, kind: str = "") -> None:
    """Record a report about a message of A."""
    event = Event(
        organization_id=gateway.a.organization_id,
        message_id=UUID(message_id),
        id=event_id(UUID(message_id), f"{status} {kind}"),
        type=kind or str(status),
        status=status,
        source="test",
    )
    async with gateway.database.as_service() as db:
        await reports.record(db, [event])


def deliveries_of(gateway: Gateway, poster: Poster, patience: Patience, **more: Any) -> Deliveries:
    """The deliveries of a worker."""
    vault = Vault(gateway.settings.gateway_secret_keys)
    return Deliveries(gateway.database, vault, poster, Metrics(), patience=patience, **more)


@asynccontextmanager
async def telling(
    gateway: Gateway, patience: Patience = QUICK, **more: Any
) -> AsyncIterator[asyncio.Task[None]]:
    """Run a worker's deliveries while the block runs."""
    stopping = asyncio.Event()
    async with Poster(gateway.settings.gateway_subscription_origins) as poster:
        running = asyncio.create_task(
            deliveries_of(gateway, poster, patience, **more).run(stopping)
        )
        try:
            yield running
        finally:
            stopping.set()
            await asyncio.gather(running, return_exceptions=True)
