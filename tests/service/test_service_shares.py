"""What one organization's requests wait for leaves connections to the others'."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from gateway.store.database import ApiKey, Database
from gateway.store.errors import BusyError, DatabaseAwayError
from gateway.store.shares import Place, Shares
from tests.service.test_service_held import CHANGE_LEAD, held, until
from tests.service.wires import from_twilio

if TYPE_CHECKING:
    from tests.service.conftest import Gateway

# The first waits for the transaction, those behind it for the row.
WAITING = """
SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
WHERE NOT granted AND locktype = 'tuple' AND d.datname = current_database()
"""


async def test_requests_that_wait_leave_connections(gateway: Gateway) -> None:
    """However many requests of one tenant wait for a row that its CRM holds, another's are answered
    at once, and its own when the row is free."""
    b = gateway.b.key
    lead = (await gateway.ask("POST", "/v1/leads", {"phone": "+447700900123"}, key=b)).body["id"]

    async def are_waiting() -> bool:
        async with gateway.database.as_service() as db:
            return bool(await db.fetchval(WAITING) >= 3)

    async with held(gateway, CHANGE_LEAD, lead):
        changing = [
            asyncio.create_task(gateway.ask("PATCH", f"/v1/leads/{lead}", {"notes": str(n)}, key=b))
            for n in range(12)
        ]
        await until(are_waiting)
        async with asyncio.timeout(4):
            sent = {"channel": "sms", "to": "+447700900124", "body": "Hello"}
            assert 202 == (await gateway.ask("POST", "/v1/messages", sent)).status
            assert 200 == (await gateway.ask("GET", "/v1/leads")).status
            # What it reads to accept is no wait, and keeps nobody's from being accepted.
            assert 202 == (await gateway.ask("POST", "/v1/messages", sent, key=b)).status
    assert {200} == {each.status for each in await asyncio.gather(*changing)}


async def test_webhooks_that_wait_leave_connections(gateway: Gateway) -> None:
    """However many webhooks of one tenant wait for a conversation that its CRM holds, each in a
    transaction of its own, another tenant's requests are answered at once."""
    b = gateway.b

    async def stop(n: int) -> int:
        said = {"MessageSid": f"SM{n:032x}", "From": "+447700900123", "Body": "STOP"}
        account_id = b.account_id
        answer = await from_twilio(
            gateway, "message", said | {"To": b.sender}, account_id=account_id
        )
        return answer.status

    assert 200 == await stop(0)
    async with gateway.database.as_service() as db:
        conversation = await db.fetchval("SELECT id FROM gateway.conversations")

    async def are_waiting() -> bool:
        async with gateway.database.as_service() as db:
            return bool(await db.fetchval(WAITING) >= 3)

    held_row = "SELECT FROM gateway.conversations WHERE id = $1 FOR UPDATE"
    async with held(gateway, held_row, str(conversation)):
        stopping = [asyncio.create_task(stop(n)) for n in range(1, 41)]
        await until(are_waiting)
        async with asyncio.timeout(4):
            assert 200 == (await gateway.ask("GET", "/v1/leads")).status
    assert {200} == set(await asyncio.gather(*stopping))


async def test_a_share_that_is_taken(gateway: Gateway) -> None:
    """One of an organization whose share others of it hold is told so; another organization's, and
    what is brief, have a connection. A place that is left is there for the next."""
    a, b = (
        ApiKey(id=each.organization_id, organization_id=each.organization_id, is_test=False)
        for each in (gateway.a, gateway.b)
    )
    database = await Database.connect(str(gateway.settings.database_url), size=2, patience=1)
    try:
        async with database.as_caller(a):
            for taken in (database.as_caller(a), database.as_service(on_behalf=a)):
                with pytest.raises(BusyError, match="same organization"):
                    async with taken:
                        pass
            for free in (database.as_caller(b), database.as_caller(a, is_brief=True)):
                async with free as db:
                    assert 1 == await db.fetchval("SELECT 1")
        async with database.as_service(share_of=a.organization_id) as db:
            assert 1 == await db.fetchval("SELECT 1")
    finally:
        await database.close()


async def test_a_database_that_is_silent() -> None:
    """No organization is blamed while none of its requests has got a connection, and each waits as
    long as it should, once."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    silent = f"postgresql://u:p@127.0.0.1:{port}/x?sslmode=disable"
    database = await Database.connect(silent, patience=1.5)
    one = ApiKey(id=UUID(int=1), organization_id=UUID(int=1), is_test=False)

    async def ask(seconds: float) -> type[DatabaseAwayError]:
        await asyncio.sleep(seconds)
        with pytest.raises(DatabaseAwayError) as raised:
            async with asyncio.timeout(2.9), database.as_caller(one):  # twice would be 3.0
                pass
        return raised.type

    try:
        asked = await asyncio.gather(*(ask(n / 50) for n in range(15)))
    finally:
        await database.close()
        server.close()
    assert {DatabaseAwayError} == {*asked}


async def test_a_place_that_comes_just_in_time(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gets one as their patience ends is connected all the same."""
    database = await Database.connect(str(gateway.settings.database_url), patience=0.5)
    take = Shares.take

    async def late(shares: Shares, organization_id: UUID | None, until: float) -> Place:
        await asyncio.sleep(until - asyncio.get_running_loop().time() - 0.001)
        return await take(shares, organization_id, until)

    monkeypatch.setattr(Shares, "take", late)
    async with database.as_service() as db:
        assert 1 == await db.fetchval("SELECT 1")
    await database.close()
