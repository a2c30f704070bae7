"""A running simulator, a webhook that keeps its requests, and Twilio's own client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import MultiDict
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from gateway.simulator import build_simulator

SID = "AC" + "0" * 31 + "1"
TOKEN = "0123456789abcdef0123456789abcdef"
MESSAGES = f"/2010-04-01/Accounts/{SID}/Messages.json"
AiohttpServer = Callable[..., Awaitable[TestServer]]


@dataclass
class Received:
    """One request to the webhook: `url` as it was requested, the form in its order."""

    url: str
    headers: MultiDict[str]
    params: dict[str, str]
    method: str = "POST"
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path of the URL."""
        return urlsplit(self.url).path

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def status(self) -> str:
        """The reported status."""
        return self.params["MessageStatus"]

    def is_signed(self, url: str | None = None, token: str = TOKEN) -> bool:
        """Whether Twilio's library accepts the signature for `url` (default: the requested one)."""
        signature = self.headers["X-Twilio-Signature"]
        return bool(RequestValidator(token).validate(url or self.url, self.params, signature))


@dataclass
class Hook:
    """A webhook: answers with the statuses in `answers`, then 200; each after `wait` seconds.

    `documents` are the texts of its answers by path; at other paths it answers with Meta's
    challenge, or an empty TwiML response.
    """

    base: str = ""
    received: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    documents: dict[str, str] = field(default_factory=dict)
    content_type: str = "text/xml"
    _more: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.Response:
        """Keep the request, and answer it."""
        body = await request.read()
        is_form = request.content_type == "application/x-www-form-urlencoded"
        form = body.decode() if is_form else request.query_string
        self.received.append(
            Received(
                url=self.base + request.raw_path,
                headers=MultiDict(request.headers),
                params=dict(parse_qsl(form, keep_blank_values=True)),
                method=request.method,
                body=body,
            )
        )
        async with self._more:
            self._more.notify_all()
        await asyncio.sleep(self.wait)
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(
            status=status,
            text=self.documents.get(
                request.path, request.query.get("hub.challenge", "<Response/>")
            ),
            content_type=self.content_type,
            headers=self.headers,
        )

    async def count(self, number: int) -> list[Received]:
        """The requests, once there are at least `number`."""
        async with self._more:
            await asyncio.wait_for(
                self._more.wait_for(lambda: len(self.received) >= number), timeout=30
            )
        return self.received

    @property
    def statuses(self) -> list[str]:
        """The reported statuses in the order in which they came."""
        return [received.status for received in self.received]


@dataclass
class Sim:
    """The simulator over HTTP."""

    base: str
    session: aiohttp.ClientSession
    hook: Hook

    async def ask(
        self, method: str, path: str, login: tuple[str, str] | None = None, **kwargs: Any
    ) -> tuple[int, Any]:
        """Make a request; returns the status, and the JSON or text of the answer."""
        headers = {"Authorization": aiohttp.encode_basic_auth(*login)} if login else {}
        headers.update(kwargs.pop("headers", {}))
        async with self.session.request(
            method, self.base + path, headers=headers, **kwargs
        ) as response:
            text = await response.text()
            is_json = response.content_type.endswith("json")
            return response.status, await response.json(content_type=None) if is_json else text

    async def send(self, **params: Any) -> tuple[int, Any]:
        """Ask Twilio to send a message; an argument `None` leaves a parameter out."""
        form = {"To": "+15551230001", "From": "+15551230002", "Body": "Hello"} | params
        pairs: list[tuple[str, str]] = []
        for name, value in form.items():
            values = value if isinstance(value, list) else [value]
            pairs += [(name, one) for one in values if one is not None]
        return await self.ask("POST", MESSAGES, (SID, TOKEN), data=aiohttp.FormData(pairs))

    async def plan(self, **body: Any) -> None:
        """Add a plan."""
        status, answer = await self.ask("POST", "/_sim/plan", json={"delay_ms": 0} | body)
        assert status == 201, answer

    async def data(self, what: str) -> list[dict[str, Any]]:
        """The simulator's `requests` or `messages`."""
        _, answer = await self.ask("GET", f"/_sim/{what}")
        return list(answer["data"])

    async def account(self, provider: str, **fields: Any) -> Any:
        """Register an account; returns the answer."""
        status, answer = await self.ask(
            "POST", "/_sim/accounts", json={"provider": provider, **fields}
        )
        assert status == 201, answer
        return answer

    async def inbound(self, **body: Any) -> tuple[int, Any]:
        """Somebody writes in, or calls."""
        return await self.ask("POST", "/_sim/inbound", json=body)

    async def settled(self, number: int = 1) -> list[dict[str, Any]]:
        """The messages, once `number` callbacks are done."""
        for _ in range(3000):
            messages = await self.data("messages")
            done = [one for message in messages for one in message["callbacks"] if one["done"]]
            if len(done) >= number:
                return messages
            await asyncio.sleep(0.01)
        raise AssertionError(messages)


@pytest.fixture
async def hook(aiohttp_server: AiohttpServer) -> Hook:
    """A webhook that answers 200."""
    hook = Hook()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", hook.handle)
    server = await aiohttp_server(app)
    hook.base = str(server.make_url("")).rstrip("/")
    return hook


@pytest.fixture
async def bare_sim(aiohttp_server: AiohttpServer, hook: Hook) -> AsyncIterator[Sim]:
    """A simulator without accounts."""
    server = await aiohttp_server(build_simulator(seed=7, retry_wait=0.01))
    async with aiohttp.ClientSession() as session:
        yield Sim(str(server.make_url("")).rstrip("/"), session, hook)


@pytest.fixture
async def sim(bare_sim: Sim) -> Sim:
    """A simulator with one account, whose statuses and messages go to the webhook."""
    status, answer = await bare_sim.ask(
        "POST",
        "/_sim/accounts",
        json={
            "provider": "twilio",
            "account_sid": SID,
            "auth_token": TOKEN,
            "webhooks": {
                "status": f"{bare_sim.hook.base}/status",
                "message": f"{bare_sim.hook.base}/message",
            },
        },
    )
    assert status == 201, answer
    await bare_sim.plan(match=None)
    return bare_sim


@pytest.fixture
def twilio(sim: Sim) -> Iterator[Client]:
    """Twilio's own client, directed to the simulator; it must be called in a thread."""
    http = TwilioHttpClient(timeout=30)
    client = Client(SID, TOKEN, http_client=http)
    client.api.base_url = sim.base
    yield client
    http.session.close()
