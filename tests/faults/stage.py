"""The real parts of the gateway in one event loop: web and simulator on TCP ports, and workers."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import aiohttp
import asyncpg
from aiohttp import web
from twilio.request_validator import RequestValidator

from channels.model import Channel
from gateway.config import Settings
from gateway.dispatch.pace import Pace
from gateway.manage import setup
from gateway.registry import webhook_urls
from gateway.serve import bind, serve_web, serve_worker
from gateway.simulator import build_simulator
from gateway.store.database import Database
from gateway.vault import Vault
from tests.cli.shell import free_port
from tests.faults.quick_worker import QUICK

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]

SENDER = "+15551230001"
SECRET_KEY = bytes(range(32))

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """An organization with an API key, a Twilio account and a default sender."""

    organization_id: UUID
    account_id: UUID
    key: str
    account_sid: str
    auth_token: str
    url: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers of its requests."""
        return {"Authorization": f"Bearer {self.key}"}

    def status_url(self, message_id: UUID | str | None = None) -> str:
        """The URL to which Twilio reports statuses: of one message, or of the whole account."""
        query = f"?message_id={message_id}" if message_id else ""
        return f"{self.url}/webhooks/twilio/{self.account_id}/status{query}"


@dataclass(kw_only=True)
class Stage:
    """A running gateway with its database and the simulator."""

    settings: Settings
    database: Database
    pool: Pool
    http: aiohttp.ClientSession
    simulator_url: str
    _web: asyncio.Task[None] | None = None
    _web_over: asyncio.Event = field(default_factory=asyncio.Event)
    _workers: list[tuple[asyncio.Task[None], asyncio.Event]] = field(default_factory=list)

    # What runs

    async def start_web(self) -> None:
        """Serve the application on the port of `settings`; returns when it is ready."""
        up = asyncio.Event()
        self._web_over = asyncio.Event()
        bound = bind("127.0.0.1", self.settings.port)
        self._web = asyncio.create_task(serve_web(self.settings, bound, self._web_over, up.set))
        waiting = asyncio.create_task(up.wait())
        await asyncio.wait({self._web, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._web.done():
            self._web.result()

    async def stop_web(self) -> None:
        """Stop it as SIGTERM does."""
        self._web_over.set()
        if self._web is not None:
            await self._web
            self._web = None

    def start_worker(self, pace: Pace = QUICK, *, concurrency: int = 64) -> None:
        """Start one more worker."""
        over = asyncio.Event()
        settings = self.settings.model_copy(update={"worker_concurrency": concurrency})
        self._workers.append((asyncio.create_task(serve_worker(settings, over, pace)), over))

    async def stop_workers(self) -> None:
        """Stop all of them as SIGTERM does."""
        workers, self._workers = self._workers, []
        for _, over in workers:
            over.set()
        await asyncio.gather(*(task for task, _ in workers))

    # What is set up

    async def tenant(self, name: str = "Clinic", *, rate: float | None = None) -> Tenant:
        """Make an organization, and register its account with the simulator."""
        tenant = await make_tenant(self.database, self.settings, name, rate=rate)
        await tell_simulator(self.http, self.simulator_url, tenant)
        return tenant

    async def plan(self, body: str | None = None, **words: Any) -> None:
        """Tell the simulator what to do with the messages that have `body` in their text."""
        match = None if body is None else {"body": body}
        await self._ask("POST", f"{self.simulator_url}/_sim/plan", json={"match": match} | words)

    # What is done

    async def send(self, tenant: Tenant, to: str, body: str, **words: Any) -> Json:
        """Have one message accepted; returns the answer."""
        wanted = {"channel": "sms", "to": to, "body": body} | words
        return await self._ask(
            "POST", f"{self.settings.base_url}/v1/messages", json=wanted, headers=tenant.headers
        )

    async def send_many(self, tenant: Tenant, wanted: Sequence[Json]) -> list[str]:
        """Have messages accepted, a thousand per request; returns their ids in order."""
        ids: list[str] = []
        for start in range(0, len(wanted), 1000):
            some = [{"channel": "sms", **each} for each in wanted[start : start + 1000]]
            answer = await self._ask(
                "POST",
                f"{self.settings.base_url}/v1/messages/batch",
                json={"messages": some},
                headers=tenant.headers,
            )
            ids += [item["message"]["id"] for item in answer["data"]]
        return ids

    async def report(self, tenant: Tenant, url: str, **form: str) -> int:
        """Post a signed status report as Twilio does; returns the status of the answer."""
        params = {"AccountSid": tenant.account_sid, **form}
        signature = RequestValidator(tenant.auth_token).compute_signature(url, params)
        headers = {"X-Twilio-Signature": signature}
        async with self.http.post(url, data=params, headers=headers) as response:
            return response.status

    # Results

    async def requests(self, ids: Sequence[str] | None = None) -> list[Json]:
        """The requests to the simulator for these messages (default: for all), in order."""
        all_of_them = (await self._ask("GET", f"{self.simulator_url}/_sim/requests"))["data"]
        return [one for one in all_of_them if ids is None or message_id_of(one) in ids]

    async def rows(self, ids: Sequence[str] | None = None) -> dict[str, Json]:
        """Messages (default: all) as they are stored, by id."""
        rows = await self.pool.fetch(
            "SELECT * FROM public.messages WHERE $1::uuid[] IS NULL OR id = ANY ($1)", ids
        )
        return {str(row["id"]): dict(row) for row in rows}

    async def queued(self) -> set[str]:
        """The ids of the messages in the queue."""
        rows = await self.pool.fetch("SELECT message_id FROM gateway.queue")
        return {str(row["message_id"]) for row in rows}

    async def events(self) -> dict[str, list[Json]]:
        """The events of all messages by message id, in the order in which they were recorded."""
        found: dict[str, list[Json]] = defaultdict(list)
        for row in await self.pool.fetch(
            "SELECT * FROM gateway.message_events ORDER BY recorded_at, id"
        ):
            found[str(row["message_id"])].append(dict(row))
        return found

    async def statuses(self) -> dict[str, str]:
        """The statuses of all messages, by id."""
        rows = await self.pool.fetch("SELECT id, status FROM public.messages")
        return {str(row["id"]): row["status"] for row in rows}

    async def until_statuses(self, wanted: Mapping[str, str], seconds: float) -> None:
        """Wait until messages have these statuses and are out of the queue."""

        async def wrong() -> list[str]:
            found, queued = await self.statuses(), await self.queued()
            return [
                f"{message_id}: {found.get(message_id)}, not {status}"
                for message_id, status in wanted.items()
                if found.get(message_id) != status
            ] + [f"{message_id} is in the queue" for message_id in queued & wanted.keys()]

        await until_nothing(wrong, seconds)

    async def until_delivered(self, ids: Sequence[str], seconds: float) -> None:
        """Wait until messages with `read_at` also have `delivered_at`, which may come later."""

        async def only_read() -> list[str]:
            rows = await self.rows(ids)
            return [i for i, row in rows.items() if row["read_at"] and not row["delivered_at"]]

        await until_nothing(only_read, seconds)

    async def _ask(self, method: str, url: str, **words: Any) -> Json:
        async with self.http.request(method, url, **words) as response:
            answer: Json = await response.json(content_type=None)
            assert response.status < 300, (method, url, response.status, answer)
            return answer


@asynccontextmanager
async def new_stage(dsn: str, *, seed: int = 1, through: str | None = None) -> AsyncIterator[Stage]:
    """A stage on a migrated database: web and simulator run, but no worker yet.

    If `through` is given, the gateway connects through that pooler, and directly where it must.
    """
    async with AsyncExitStack() as stack:
        simulator_url = await stack.enter_async_context(running_simulator(seed=seed))
        port = free_port()  # reserved, because web may be started on it again
        settings = Settings(
            database_url=through or dsn,
            database_direct_url=dsn if through else None,
            port=port,
            public_url=f"http://127.0.0.1:{port}",
            gateway_secret_keys=(SECRET_KEY,),
            provider_api_urls={"twilio": simulator_url},
        )
        database = await Database.connect(dsn, size=3)
        stack.push_async_callback(database.close)
        pool = await stack.enter_async_context(asyncpg.create_pool(dsn, min_size=1, max_size=4))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )
        stage = Stage(
            settings=settings,
            database=database,
            pool=pool,
            http=http,
            simulator_url=simulator_url,
        )
        await stage.start_web()
        try:
            yield stage
        finally:
            # Workers would wait for requests that the simulator holds.
            async with http.delete(f"{simulator_url}/_sim"):
                pass
            await stage.stop_workers()
            await stage.stop_web()


@asynccontextmanager
async def running_simulator(
    *, seed: int | None = None, retry_wait: float = 0.1
) -> AsyncIterator[str]:
    """Run the simulator on a free port; yields its address."""
    app = build_simulator(seed=seed, retry_wait=retry_wait)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def make_tenant(
    database: Database, settings: Settings, name: str, *, rate: float | None = None
) -> Tenant:
    """Make an organization with everything that it needs to send."""
    organization_id = await setup.create_organization(database, name, country="US")
    made = await setup.create_key(database, organization_id, "faults", is_test=False)
    sid, token = f"AC{secrets.token_hex(16)}", secrets.token_hex(16)
    account_id = await setup.add_account(
        database,
        Vault(settings.gateway_secret_keys),
        organization_id,
        "twilio",
        {"account_sid": sid, "auth_token": token},
    )
    await setup.add_sender(database, account_id, Channel.SMS, SENDER, is_default=True, rate=rate)
    return Tenant(
        organization_id=organization_id,
        account_id=account_id,
        key=made.key,
        account_sid=sid,
        auth_token=token,
        url=settings.base_url,
    )


async def tell_simulator(http: aiohttp.ClientSession, url: str, tenant: Tenant) -> None:
    """Register the tenant's account with the simulated Twilio."""
    account = {
        "provider": "twilio",
        "account_sid": tenant.account_sid,
        "auth_token": tenant.auth_token,
        "webhooks": webhook_urls(tenant.url, "twilio", tenant.account_id),
    }
    async with http.post(f"{url}/_sim/accounts", json=account) as response:
        assert response.status == 201, await response.text()


def seeded(seed: int | None = None) -> random.Random:
    """Repeatable randomness. A seed that is not given is printed, or comes from FAULTS_SEED."""
    if seed is None:
        seed = int(os.environ.get("FAULTS_SEED") or secrets.randbits(32))
        print(f"FAULTS_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    return random.Random(seed)  # noqa: S311 - repeatable is worth more than unpredictable


def message_id_of(asked: Json) -> str:
    """The id of the message that a request to the simulator was about."""
    query = parse_qs(urlsplit(str(asked["params"]["StatusCallback"])).query)
    return query["message_id"][0]


def by_message(requests: Sequence[Json]) -> dict[str, list[Json]]:
    """The requests to the simulator, by the id of our message."""
    found: dict[str, list[Json]] = defaultdict(list)
    for asked in requests:
        found[message_id_of(asked)].append(asked)
    return found


def moment(asked: Json) -> datetime:
    """The time of a request to the simulator."""
    return datetime.fromisoformat(asked["at"])


async def until(true: Callable[[], Awaitable[Any]], seconds: float) -> None:
    """Wait until something is true."""

    async def wrong() -> list[str]:
        return [] if await true() else ["it never was"]

    await until_nothing(wrong, seconds)


async def until_nothing(wrong: Callable[[], Awaitable[Sequence[str]]], seconds: float) -> None:
    """Wait until nothing is wrong any more; fails with what is."""
    deadline = monotonic() + seconds
    while found := await wrong():
        assert monotonic() < deadline, "\n".join(found[:20])
        await asyncio.sleep(0.03)


@dataclass
class Lateness:
    """The greatest lateness of the event loop, in seconds, which is that of a busy machine.

    At most a second counts: if the loop is blocked for longer, that is a defect of ours.
    """

    seconds: float = 0.0

    @property
    def delta(self) -> timedelta:
        """The lateness as a duration."""
        return timedelta(seconds=self.seconds)


@asynccontextmanager
async def watched() -> AsyncIterator[Lateness]:
    """Watch the lateness of the loop in which web, simulator and workers run."""
    late, loop = Lateness(), asyncio.get_running_loop()

    async def tick() -> None:
        while True:
            due = loop.time() + 0.02
            await asyncio.sleep(0.02)
            late.seconds = min(1.0, max(late.seconds, loop.time() - due))

    ticking = asyncio.create_task(tick())
    try:
        yield late
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
