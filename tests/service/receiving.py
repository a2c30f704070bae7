"""A service that subscribes: it notes what it is told, and answers as each test wants."""

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
# Each attempt follows the one before at once.
QUICK = Patience(seconds=5, waits=(0.01,) * 9, rest=0.02, pause=0.0, last=0.05)


@dataclass(frozen=True, kw_only=True)
class Told:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def id(self) -> str:
        """The event's, the same with each attempt."""
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        """What it says."""
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
    """What it was told, in order; what it answers, and which paths it leaves without an
    answer until one of them may `go_on`."""

    url: str = ""
    told: list[Told] = field(default_factory=list)
    answer: Callable[[Told], web.Response] = lambda _: web.Response(status=204)
    hanging: set[str] = field(default_factory=set)
    go_on: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Note the request, and answer it."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        told = Told(path=request.path, headers=headers, raw=await request.read())
        self.told.append(told)
        self.more.set()
        if request.path in self.hanging:
            await self.go_on.acquire()
        return self.answer(told)

    async def has(self, count: int, path: str | None = None) -> list[Told]:
        """What it was told (at a path), once that is so much."""
        async with asyncio.timeout(10):
            while True:
                self.more.clear()
                found = [each for each in self.told if path in (None, each.path)]
                if len(found) >= count:
                    return found
                await self.more.wait()


async def subscribe(gateway: Gateway, path: str = "/", **more: Any) -> Answer:
    """A subscription of A, or of whoever has the `key`."""
    key = more.pop("key", None)
    (url,) = gateway.settings.gateway_subscription_origins
    answer = await gateway.ask("POST", "/v1/subscriptions", {"url": url + path, **more}, key=key)
    assert 201 == answer.status, answer.body
    return answer


async def subscription(gateway: Gateway, made: Answer) -> Any:
    """How it stands now."""
    return (await gateway.ask("GET", f"/v1/subscriptions/{made.body['id']}")).body


async def settled(gateway: Gateway, made: Answer, **expected: Any) -> Any:
    """How it stands, once it stands so."""
    async with asyncio.timeout(10):
        while True:
            found = await subscription(gateway, made)
            if expected.items() <= found.items():
                return found
            await asyncio.sleep(0.02)


async def send(gateway: Gateway, *bodies: str, key: str | None = None) -> list[str]:
    """The ids of messages that were accepted, one after the other."""
    made = [
        await gateway.ask("POST", "/v1/messages", {**SMS, "body": body}, key=key) for body in bodies
    ]
    return [each.body["id"] for each in made]


async def report(gateway: Gateway, message_id: str, status: str | None, kind: str = "") -> None:
    """Record what became of a message of A."""
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
    """What a worker has."""
    vault = Vault(gateway.settings.gateway_secret_keys)
    return Deliveries(gateway.database, vault, poster, Metrics(), patience=patience, **more)


@asynccontextmanager
async def telling(
    gateway: Gateway, patience: Patience = QUICK, **more: Any
) -> AsyncIterator[asyncio.Task[None]]:
    """A worker's deliveries, while the block runs."""
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
