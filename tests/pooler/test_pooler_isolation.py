"""Callers of two organizations mixed over three server connections: nobody is taken for another."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from gateway.config import Settings
from gateway.store.database import ApiKey, Database, Staff
from gateway.store.errors import DatabaseAwayError
from tests.service.conftest import PUBLIC, SECRET, Gateway, Tenant, make_tenants, running
from tests.service.test_service_events import reading
from tests.service.wires import from_twilio

if TYPE_CHECKING:
    from gateway.store.database import Caller
    from tests.pooler.conftest import Bouncer

WHO = """
SELECT session_user <> current_user AS is_another, current_user AS role, pg_backend_pid() AS pid,
  coalesce(current_setting('request.jwt.claims', true), '') AS claims,
  coalesce(current_setting('gateway.organization_id', true), '') AS organization,
  current_setting('statement_timeout') AS patience, $1::int AS turn
"""


@pytest.fixture
async def gateway(database: str, bouncer: Bouncer, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A running gateway behind a pooler, with tenants A and B."""
    settings = Settings(
        database_url=bouncer.dsn(database),
        database_direct_url=database,
        gateway_data=tmp_path,
        public_url=PUBLIC,
        gateway_secret_keys=(b"k" * 32,),
        supabase_jwt_secret=SECRET,
    )
    tenants = await make_tenants(database, settings.gateway_secret_keys)
    async with running(settings, database, tenants) as gateway:
        yield gateway


def organizations(found: Any) -> set[str]:
    """Every organization that is named anywhere in an answer."""
    if isinstance(found, list):
        return set().union(*(organizations(each) for each in found))
    if isinstance(found, dict):
        inner = set().union(*(organizations(each) for each in found.values()))
        return inner | ({found["organization_id"]} if "organization_id" in found else set())
    return set()


async def test_nobody_sees_anothers_rows(gateway: Gateway) -> None:
    """Keys and staff of A and B read and write at once: each answer has its own rows alone."""
    paths = (
        "messages?limit=50",
        "messages?q=hello",
        "conversations",
        "accounts",
        "senders",
        "leads",
    )
    expected: Counter[str] = Counter()

    async def write(tenant: Tenant, n: int) -> None:
        body = {"channel": "sms", "to": f"+4477009{n:05}", "body": f"hello {tenant.sender}"}
        answer = await gateway.ask("POST", "/v1/messages", body, key=tenant.key)
        assert (202, tenant.sender) == (answer.status, answer.body["from_address"])
        expected[tenant.key] += 1

    async def receive(tenant: Tenant, n: int) -> None:
        form = {"MessageSid": f"SM{n:032x}", "From": f"+4477008{n:05}", "To": tenant.sender}
        form |= {"Body": "hello back", "AccountSid": "AC" + "a" * 32}
        answer = await from_twilio(gateway, "message", form, account_id=tenant.account_id)
        assert answer.status in (200, 204), answer.body
        expected[tenant.key] += 1

    async def read(tenant: Tenant, n: int) -> None:
        who = (tenant.key, tenant.owner, tenant.member, tenant.test_key)[n % 4]
        path = paths[n % len(paths)]
        answer = await gateway.ask("GET", f"/v1/{path}", key=who)
        may_not = who != tenant.owner and path in ("accounts", "senders")
        assert (403 if may_not else 200) == answer.status, (path, answer.body)
        assert organizations(answer.body) <= {str(tenant.organization_id)}, path

    turns = [
        do(tenant, n)
        for n in range(24)
        for tenant in (gateway.a, gateway.b)
        for do in (write, receive, read, read)
    ]
    random.Random(7).shuffle(turns)  # noqa: S311
    together = asyncio.Semaphore(32)  # all 192 would wait too long for each other, and get a 503

    async def take(turn: Coroutine[Any, Any, None]) -> None:
        async with together:
            await turn

    async with reading(gateway) as a, reading(gateway, gateway.b.member) as b:
        await asyncio.gather(*map(take, turns))
        for tenant, stream in ((gateway.a, a), (gateway.b, b)):
            own = str(tenant.organization_id)
            events = await stream.some(expected[tenant.key])
            assert {own} == organizations([each.data for each in events])
            found = (await gateway.ask("GET", "/v1/messages?limit=200", key=tenant.member)).body
            assert expected[tenant.key] == len(found["data"])
            assert {own} == organizations(found)


async def test_nothing_of_a_transaction_stays(database: str, bouncer: Bouncer) -> None:
    """Each transaction begins as its own caller alone, whatever others do on the same server
    connections: commit, fail, are cut or canceled."""
    pool = await Database.connect(bouncer.dsn(database), size=8, patience=60, pooled=True)
    server = await asyncpg.connect(database)
    servers: set[int] = set()
    seen: Counter[str] = Counter()

    def callers() -> list[Caller]:
        organization = uuid4()
        return [
            ApiKey(id=uuid4(), organization_id=organization, is_test=False),
            Staff(id=uuid4(), auth_id=uuid4(), organization_id=organization, role="owner"),
        ]

    async def as_caller(caller: Caller, n: int) -> None:
        async with pool.as_caller(caller) as db:
            row = await db.fetchrow(WHO, n)
            assert row is not None
            assert (n, "20s", True) == (row["turn"], row["patience"], row["is_another"])
            if isinstance(caller, Staff):
                assert ("authenticated", "") == (row["role"], row["organization"])
                assert str(caller.auth_id) == json.loads(row["claims"])["sub"]
            else:
                assert ("gateway_api", "") == (row["role"], row["claims"])
                assert str(caller.organization_id) == row["organization"]
            servers.add(row["pid"])
            seen[type(caller).__name__] += 1

    async def leaves(caller: Caller, n: int) -> None:
        async with pool.as_caller(caller) as db:
            await db.fetchrow(WHO, n)
            raise ValueError(f"turn {n}")

    async def fails(caller: Caller, n: int) -> None:
        with pytest.raises(ValueError, match=f"turn {n}"):
            await leaves(caller, n)

    async def is_cut(caller: Caller, n: int) -> None:
        async with pool.as_caller(caller) as db:
            row = await db.fetchrow(WHO, n)
            assert row is not None
            await server.execute(f"SELECT pg_terminate_backend({row['pid']}, 5000)")
            await db.fetchrow(WHO, n)

    async def is_canceled(caller: Caller, n: int) -> None:
        async def waits() -> None:
            async with pool.as_caller(caller) as db:
                await db.fetchrow(WHO, n)
                await db.execute("SELECT pg_sleep(5)")

        task = asyncio.create_task(waits())
        await asyncio.sleep(0.02 * (n % 7))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    try:
        turns = [
            do(caller, n)
            for n in range(60)
            for caller in callers()
            for do in (
                as_caller,
                as_caller,
                *([fails] if n % 5 == 0 else []),
                *([is_canceled] if n % 20 == 0 else []),
            )
        ]
        random.Random(8).shuffle(turns)  # noqa: S311
        await asyncio.gather(*turns)
        with pytest.raises(DatabaseAwayError):
            await is_cut(callers()[0], 1)
        await asyncio.gather(*(as_caller(each, n) for n in range(8) for each in callers()))
        assert {"ApiKey": 128, "Staff": 128} == seen
        assert 3 <= len(servers)
    finally:
        await server.close()
        await pool.close()


async def test_types_are_read(database: str, bouncer: Bouncer) -> None:
    """Values of every kind that rows have come as they went, also those whose type must be asked
    for first, on whichever connection."""
    pool = await Database.connect(bouncer.dsn(database), size=6, pooled=True)
    ids = [uuid4(), uuid4()]

    async def ask(n: int) -> None:
        async with pool.as_service() as db:
            row = await db.fetchrow(
                """
                SELECT $1::jsonb AS one, ARRAY[$1::jsonb, 'null'] AS many, $2::uuid[] AS ids,
                  ARRAY[ROW('a'::name, $3::int)] AS pairs,
                  'x'::information_schema.sql_identifier AS word
                """,
                '{"n": 1}',
                ids,
                n,
            )
        assert row is not None
        assert {"n": 1} == row["one"]
        assert [{"n": 1}, None] == row["many"]
        assert [UUID(str(each)) for each in row["ids"]] == ids
        assert [("a", n)] == [tuple(each) for each in row["pairs"]]
        assert "x" == row["word"]

    try:
        await asyncio.gather(*(ask(n) for n in range(60)))
    finally:
        await pool.close()
