"""What a worker does with one entry, step by step, against a provider that answers as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.dispatch.dispatching import Dispatching
from gateway.dispatch.pace import Pace, wait_after
from gateway.observability.metrics import Metrics
from gateway.store import queue
from gateway.vault import Vault
from tests.service.conftest import PUBLIC, files_of

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
SID = "SM" + "3" * 32


@dataclass
class Provider:
    """Twilio's API, answering as it is told."""

    url: str = ""
    session: aiohttp.ClientSession | None = None
    posts: list[dict[str, str]] = field(default_factory=list)
    answer: Callable[[], web.Response] = lambda: web.json_response({"sid": SID}, status=201)
    listed: list[dict[str, Any]] = field(default_factory=list)
    slow_by: timedelta = timedelta()

    @property
    def now(self) -> str:
        """The time by its own clock."""
        return format_datetime(datetime.now(UTC) - self.slow_by, usegmt=True)

    async def create(self, request: web.Request) -> web.Response:
        self.posts.append({k: str(v) for k, v in (await request.post()).items()})
        return self.answer()

    async def list(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"messages": self.listed, "next_page_uri": None}, headers={"Date": self.now}
        )

    def worker(self, gateway: Gateway, **pace: float) -> Dispatching:
        """A new worker that sends here."""
        assert self.session is not None
        return Dispatching(
            gateway.database,
            Vault(gateway.settings.gateway_secret_keys),
            self.session,
            Metrics(),
            base_url=PUBLIC,
            api_urls={"twilio": self.url},
            files=files_of(gateway),
            pace=Pace(**pace),  # type: ignore[arg-type]
        )


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A provider on a real port."""
    made = Provider()
    app = web.Application()
    path = "/2010-04-01/Accounts/{sid}/Messages.json"
    app.router.add_post(path, made.create)
    app.router.add_get(path, made.list)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        made.url, made.session = str(server.make_url("")).rstrip("/"), session
        yield made


async def step(worker: Dispatching) -> int:
    """Claim what is due and work on it; how many entries that were."""
    turns = await worker.claim(100)
    for turn in turns:
        await worker.work(turn)
    return len(turns)


async def events_of(ask: Ask, message_id: str) -> list[str]:
    """The types of a message's events, oldest first."""
    answer = await ask("GET", f"/v1/messages/{message_id}/events")
    return [event["type"] for event in reversed(answer.body["data"])]


async def hurry(gateway: Gateway) -> None:
    """Let everything that waits be due now, as if it had waited."""
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.queue SET run_at = now(),"
            " attempted_at = attempted_at - greatest(run_at - now(), interval '0')"
        )


async def test_test_key_asks_nobody(gateway: Gateway, ask: Ask, provider: Provider) -> None:
    """A message of a test key ends delivered without a request to anybody."""
    sent = (await ask("POST", "/v1/messages", SMS, key=gateway.a.test_key)).body
    await step(provider.worker(gateway))
    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body

    assert [] == provider.posts
    assert ("delivered", {"test": True}) == (row["status"], row["metadata"]["provider"])
    assert row["sent_at"]
    assert row["delivered_at"]
    assert 0 == await gateway.count("gateway.queue")


async def test_expired(gateway: Gateway, ask: Ask, provider: Provider) -> None:
    """What was not sent in time is not sent: it has failed, code `expired`."""
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    sent = (await ask("POST", "/v1/messages", SMS | {"expires_at": soon})).body
    async with gateway.database.as_service() as db:  # the hour is over
        await db.execute("UPDATE messages SET expires_at = expires_at - interval '1 hour 1 s'")
    await step(provider.worker(gateway))
    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body

    assert [] == provider.posts
    assert ("failed", "expired") == (row["status"], row["error_code"])


async def test_expired_while_the_provider_wants_no_more(
    gateway: Gateway, ask: Ask, provider: Provider
) -> None:
    """What a provider puts off until after expires_at has failed then, not when its turn comes."""
    provider.answer = lambda: web.Response(status=429, headers={"Retry-After": "3600"})
    until = datetime.now(UTC) + timedelta(seconds=2)
    sent = (await ask("POST", "/v1/messages", SMS | {"expires_at": until.isoformat()})).body
    worker = provider.worker(gateway)
    await step(worker)
    assert 0 == await step(worker)
    await asyncio.sleep((until - datetime.now(UTC)).total_seconds() + 0.1)
    await step(worker)

    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body
    assert (1, "failed", "expired") == (len(provider.posts), row["status"], row["error_code"])


@pytest.mark.parametrize("change", ["is_active = false", None])
async def test_account_that_is_gone(
    gateway: Gateway, ask: Ask, provider: Provider, change: str | None
) -> None:
    """A message whose account was turned off or removed has failed, with a reason."""
    sent = (await ask("POST", "/v1/messages", SMS)).body
    path = f"/v1/accounts/{gateway.a.account_id}"
    if change:
        await ask("PATCH", path, {"is_active": False}, key=gateway.a.owner)
    else:
        await ask("DELETE", path, key=gateway.a.owner)
    await step(provider.worker(gateway))
    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body

    assert ("failed", "no_sender") == (row["status"], row["error_code"])
    assert "turned off" in row["error_message"]


async def test_not_before_send_at(gateway: Gateway, ask: Ask, provider: Provider) -> None:
    """A scheduled message waits, and can be canceled until a worker takes it up."""
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    sent = (await ask("POST", "/v1/messages", SMS | {"send_at": later})).body
    worker = provider.worker(gateway)
    assert 0 == await step(worker)
    async with gateway.database.as_service() as db:  # the hour is over
        await db.execute("UPDATE gateway.queue SET run_at = run_at - interval '1 hour'")
    (turn,) = await worker.claim(10)
    refused = await ask("POST", f"/v1/messages/{sent['id']}/cancel")
    await worker.work(turn)

    assert (409, 1) == (refused.status, len(provider.posts))


async def test_credentials_that_do_not_open(gateway: Gateway, ask: Ask, provider: Provider) -> None:
    """While the key for the credentials is missing, messages wait instead of failing."""
    sent = (await ask("POST", "/v1/messages", SMS)).body
    worker = provider.worker(gateway)
    worker._vault = Vault([b"z" * 32])
    await step(worker)
    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body

    assert ("sending", []) == (row["status"], provider.posts)
    await hurry(gateway)
    await step(provider.worker(gateway))
    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body
    assert ("sent", SID) == (row["status"], row["external_id"])


async def test_refusals_come_to_an_end(gateway: Gateway, ask: Ask, provider: Provider) -> None:
    """What the provider refuses for now again and again has failed in the end, with its code."""
    provider.answer = lambda: web.json_response(
        {"code": 20429, "message": "Too many"}, status=429, headers={"Retry-After": "0"}
    )
    sent = (await ask("POST", "/v1/messages", SMS)).body
    worker = provider.worker(gateway, most_refusals=2)
    for _ in range(3):
        assert 1 == await step(worker)
        await hurry(gateway)
    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body

    assert (3, "failed", "20429") == (len(provider.posts), row["status"], row["error_code"])
    assert [
        "accepted",
        "attempt",
        "refused_for_now",
        "attempt",
        "refused_for_now",
        "attempt",
        "failed",
    ] == await events_of(ask, sent["id"])


@pytest.mark.parametrize("minutes", [0, 10, -10])
async def test_lost_answer_is_found(
    gateway: Gateway, ask: Ask, provider: Provider, minutes: int
) -> None:
    """A message whose answer was lost is looked up, and never sent again when it is there,
    whatever the provider's clock says."""
    provider.slow_by = timedelta(minutes=minutes)
    provider.answer = lambda: web.Response(status=502)
    sent = (await ask("POST", "/v1/messages", SMS)).body
    worker = provider.worker(gateway, sure_after=0)
    await step(worker)
    assert "unknown" == (await ask("GET", f"/v1/messages/{sent['id']}")).body["status"]
    provider.listed = [
        {
            "sid": SID,
            "to": SMS["to"],
            "from": gateway.a.sender,
            "body": "Hello",
            "direction": "outbound-api",
            "status": "sent",
            "date_created": provider.now,
        }
    ]
    await hurry(gateway)
    await step(worker)
    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body

    assert (1, "sent", SID) == (len(provider.posts), row["status"], row["external_id"])
    assert ["accepted", "attempt", "answer_lost", "found_at_provider"] == await events_of(
        ask, sent["id"]
    )


async def test_lost_answer_is_not_there(gateway: Gateway, ask: Ask, provider: Provider) -> None:
    """Only what the provider surely does not have is sent once more."""
    answers = iter([web.Response(status=504), web.json_response({"sid": SID}, status=201)])
    provider.answer = lambda: next(answers)
    sent = (await ask("POST", "/v1/messages", SMS)).body
    worker = provider.worker(gateway, sure_after=3600)
    await step(worker)
    for _ in range(2):
        await hurry(gateway)
        await step(worker)
    assert 1 == len(provider.posts)

    sure = provider.worker(gateway, sure_after=0)
    await hurry(gateway)
    await step(sure)
    assert "unknown" == (await ask("GET", f"/v1/messages/{sent['id']}")).body["status"]
    await step(sure)
    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body

    assert (2, "sent", SID) == (len(provider.posts), row["status"], row["external_id"])


async def test_provider_that_cannot_be_asked(
    gateway: Gateway, ask: Ask, provider: Provider
) -> None:
    """While the provider does not answer questions either, the message stays unknown."""
    provider.answer = lambda: web.Response(status=504)
    sent = (await ask("POST", "/v1/messages", SMS)).body
    worker = provider.worker(gateway, sure_after=0)
    await step(worker)
    worker._api_urls["twilio"] = "http://127.0.0.1:9"
    await hurry(gateway)
    await step(worker)

    assert 1 == await gateway.count("gateway.queue")
    await hurry(gateway)
    await step(provider.worker(gateway, most_questions=0))
    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body
    assert ("unknown", 1) == (row["status"], len(provider.posts))
    assert 0 == await gateway.count("gateway.queue")


async def test_worker_that_died(gateway: Gateway, ask: Ask, provider: Provider) -> None:
    """What a dead worker held is not sent blindly by another: the provider is asked first."""
    sent = (await ask("POST", "/v1/messages", SMS)).body
    dead = provider.worker(gateway)
    await dead.claim(10)
    other = provider.worker(gateway)
    assert 0 == await step(other)
    async with gateway.database.as_service() as db:
        ended = await queue.end_dead_leases(db, other.lease_id)
    await step(other)

    assert (1, []) == (ended, provider.posts)
    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body
    assert "unknown" == row["status"]


async def test_frozen_machine(gateway: Gateway, ask: Ask, provider: Provider) -> None:
    """An entry that was claimed long ago is given back, not sent on a lease about to end."""
    await ask("POST", "/v1/messages", SMS)
    frozen = provider.worker(gateway, latest_start=-1)
    await step(frozen)
    assert [] == provider.posts
    await step(provider.worker(gateway))
    assert 1 == len(provider.posts)


async def test_stop_right_after_a_claim(gateway: Gateway, ask: Ask, provider: Provider) -> None:
    """What a dead worker had begun is not given back as if nobody had: it may have been sent."""
    await ask("POST", "/v1/messages", SMS)
    dead, stopping = provider.worker(gateway), provider.worker(gateway)
    await dead.claim(10)
    async with gateway.database.as_service() as db:
        await queue.end_dead_leases(db, stopping.lease_id)
    turns = await stopping.claim(10)
    await stopping.give_back(turns)
    async with gateway.database.as_service() as db:
        await queue.end_dead_leases(db, provider.worker(gateway).lease_id)
    (turn,) = await provider.worker(gateway).claim(10)

    assert (True, True) == (turns[0].claimed.was_leased, turn.claimed.was_leased)


async def test_what_was_given_back_is_not_canceled(
    gateway: Gateway, ask: Ask, provider: Provider
) -> None:
    """A message that a worker had and gave back is `sending` for good: it cannot be canceled."""
    sent = (await ask("POST", "/v1/messages", SMS)).body
    stopping = provider.worker(gateway)
    await stopping.give_back(await stopping.claim(10))
    late = await ask("POST", f"/v1/messages/{sent['id']}/cancel")
    await step(provider.worker(gateway))

    assert 409 == late.status
    assert "This message is sending" in late.body["detail"]
    assert (1, "sent") == (
        len(provider.posts),
        (await ask("GET", f"/v1/messages/{sent['id']}")).body["status"],
    )


async def test_test_key_whose_worker_died(gateway: Gateway, ask: Ask, provider: Provider) -> None:
    """A test key's message asks nobody, also when its first worker died over it."""
    sent = (await ask("POST", "/v1/messages", SMS, key=gateway.a.test_key)).body
    await provider.worker(gateway).claim(10)
    worker = provider.worker(gateway)
    async with gateway.database.as_service() as db:
        await queue.end_dead_leases(db, worker.lease_id)
    await step(worker)

    assert "delivered" == (await ask("GET", f"/v1/messages/{sent['id']}")).body["status"]
    assert [] == provider.posts


async def test_shares_when_there_is_little_room(
    gateway: Gateway, ask: Ask, provider: Provider
) -> None:
    """With room for one, another tenant's single message does not wait for a whole backlog."""
    await ask("POST", "/v1/messages/batch", {"messages": [SMS] * 200})
    sent = (await ask("POST", "/v1/messages", SMS, key=gateway.b.key)).body
    worker = provider.worker(gateway)
    claimed = [str((await worker.claim(1))[0].claimed.message_id) for _ in range(60)]

    assert sent["id"] in claimed


def test_waits_grow() -> None:
    """The first retries come as the provider asks; so many of them span hours all the same."""
    first = [wait_after(n, 1) for n in (1, 2, 3)]
    all_of_them = sum(wait_after(n, 1) for n in range(1, 19))

    assert all(1 <= wait <= 2 for wait in first)
    assert wait_after(1, None) <= 5
    assert wait_after(9, 7200) >= 7200
    assert all_of_them > 3 * 3600
