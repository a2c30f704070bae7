"""The full circle through PgBouncer in transaction mode: accept, send, reports, answers, reads."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from gateway.store.database import Database
from gateway.store.errors import DatabaseAwayError
from gateway.store.listening import hear, listen
from tests.faults.stage import SENDER, Stage, Tenant, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pooler.conftest import Bouncer


async def get(stage: Stage, tenant: Tenant, path: str) -> Any:
    """What a tenant reads."""
    url = f"{stage.settings.base_url}{path}"
    async with stage.http.get(url, headers=tenant.headers) as response:
        assert 200 == response.status, (path, await response.text())
        return await response.json()


async def test_full_circle(stage: Stage) -> None:
    """Messages of two organizations at once are stored, sent once, reported and answered."""
    tenants = [await stage.tenant(name) for name in ("Alpha", "Beta")]
    stage.start_worker()
    stage.start_worker()
    numbers = [f"+1555700{n:04}" for n in range(60)]
    sent = await asyncio.gather(
        *(stage.send(tenants[n % 2], to, f"Hello {n}") for n, to in enumerate(numbers)),
    )
    ids = [row["id"] for row in sent]
    ids += await stage.send_many(tenants[0], [{"to": to, "body": "Hi"} for to in numbers])
    await stage.until_statuses(dict.fromkeys(ids, "delivered"), 60)
    assert len(ids) == len(await stage.requests())

    for n, tenant in enumerate(tenants):
        async with stage.http.post(
            f"{stage.simulator_url}/_sim/inbound",
            json={
                "provider": "twilio",
                "channel": "sms",
                "from": numbers[n],
                "to": SENDER,
                "body": "Yes, please",
                "account": tenant.account_sid,
            },
        ) as response:
            assert response.status < 300, await response.text()
    for n, tenant in enumerate(tenants):
        own = str(tenant.organization_id)
        found: dict[str, Any] = {}

        async def answered(tenant: Tenant = tenant, found: dict[str, Any] = found) -> bool:
            page = await get(stage, tenant, "/v1/messages?direction=inbound")
            found["inbound"] = page["data"]
            return bool(page["data"])

        await until(answered, 30)
        assert [numbers[n]] == [row["from_address"] for row in found["inbound"]]
        searched = (await get(stage, tenant, "/v1/messages?q=please"))["data"]
        assert [own] == [row["organization_id"] for row in searched]
        conversations = (await get(stage, tenant, "/v1/conversations?limit=100"))["data"]
        assert {own} == {row["organization_id"] for row in conversations}


async def test_a_worker_is_woken(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker hears of each message at once: by its clock alone each in turn would take 20 s."""
    monkeypatch.setattr("gateway.worker._POLL", 20)
    tenant = await stage.tenant()
    stage.start_worker()
    await stage.until_statuses(
        {(await stage.send(tenant, "+15557000001", "0"))["id"]: "delivered"}, 30
    )

    took = []
    for n in range(3):
        began = monotonic()
        sent = await stage.send(tenant, "+15557000001", str(n))

        async def asked(message_id: str = sent["id"]) -> bool:
            return bool(await stage.requests([message_id]))

        await until(asked, 30)
        took.append(monotonic() - began)
    assert sorted(took)[1] < 5, took


async def test_what_must_be_direct(stage: Stage, bouncer: Bouncer, database: str) -> None:
    """Through the pooler nobody is taken for alive or for hearing, also where one connection alone
    would hear itself; directly everybody is."""

    async def notify(channel: str) -> None:
        await stage.database.at_once(f"NOTIFY {channel}")

    through, alive, hearing = bouncer.dsn(database), asyncio.Event(), asyncio.Event()
    for waiting in (
        listen(through, uuid4(), alive, lambda: None, patience=0.2),
        hear(through, hearing, {}, notify, patience=0.2),
    ):
        with pytest.raises(DatabaseAwayError, match="is a transaction pooler"):
            await waiting

    async def let_go() -> bool:  # by connections that have been closed a moment ago
        return not await stage.pool.fetch(  # not those of other tests' workers
            "SELECT FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )

    await until(let_go, 30)

    woken: list[int] = []
    task = asyncio.create_task(listen(database, uuid4(), alive, lambda: woken.append(1)))
    await asyncio.wait_for(alive.wait(), 30)
    tenant = await stage.tenant()
    await stage.send(tenant, "+15557000001", "Hello")

    async def heard() -> bool:
        return len(woken) > 1

    await until(heard, 30)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_pooler_that_goes(make_bouncer: Callable[..., Bouncer], database: str) -> None:
    """While the pooler is away requests are told so, and afterwards everything goes on."""
    bouncer = make_bouncer()
    gateway = await Database.connect(bouncer.dsn(database), size=2, pooled=True)
    try:
        for _ in range(2):
            async with gateway.as_service() as db:
                assert 1 == await db.fetchval("SELECT 1 + $1::int", 0)
            bouncer.stop()
            with pytest.raises(DatabaseAwayError):
                async with gateway.as_service() as db:
                    await db.fetchval("SELECT 1")
            bouncer.start()
    finally:
        await gateway.close()
