"""Processes that are killed, and processes that are told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from time import monotonic

import aiohttp

from tests.embedded.machine import Machine
from tests.faults import kill9
from tests.faults.kill9 import Plan, own_database
from tests.faults.processes import WEB, WORKER, Process, Supervisor, environment
from tests.faults.quick_worker import QUICK
from tests.faults.stage import (
    Stage,
    Tenant,
    by_message,
    message_id_of,
    seeded,
    until,
)


async def test_kill_web_and_worker(database: str) -> None:
    """kill -9 of web and worker under load loses no accepted message and sends none twice."""
    seed = seeded().getrandbits(32)
    with tempfile.TemporaryDirectory(prefix="gwk-") as data:
        plan = Plan(seed=seed, rounds=5, longest=0.4, quick=True, drain=60)
        outcome = await kill9.run(plan, Path(data), database)
    print(outcome)  # noqa: T201 - shown, with its seed, when the test fails
    assert outcome.wrong == []
    assert outcome.kills.total() == 5


async def test_kill_embedded_postgresql() -> None:
    """kill -9 of the embedded PostgreSQL and its holder under load: the same holds."""
    seed = seeded().getrandbits(32)

    async def strike(chance: Random, processes: Sequence[Supervisor]) -> str:
        data = Path(processes[0].process.environment["GATEWAY_DATA"])
        found = await asyncio.to_thread(Machine(data, ExitStack()).processes)
        holders = [pid for pid, words in found.items() if "embedded/holder.py" in words]
        masters = [pid for pid, words in found.items() if "/bin/postgres -D" in words]
        what, victims = chance.choice(
            [("holder", holders), ("postmaster", masters), ("both", holders + masters)]
        )
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        # What is left of it must go, and another come, before that can be killed again.
        await asyncio.sleep(1.0)
        return what

    async with own_database() as (data, dsn):
        plan = Plan(seed=seed, rounds=3, longest=0.5, quick=True, rate=30, drain=60)
        outcome = await kill9.run(plan, data, dsn, embedded=True, strike=strike)
    print(outcome)  # noqa: T201 - shown, with its seed, when the test fails
    assert outcome.wrong == []


@asynccontextmanager
async def running(
    stage: Stage, data: Path, *words: str, **variables: str
) -> AsyncIterator[Process]:
    """A process on the stage's database, up."""
    told = environment(
        port=stage.settings.port,
        simulator_url=stage.simulator_url,
        data=data,
        dsn=stage.settings.database_url,
    )
    process = Process(words, told | variables)
    await process.start()
    try:
        await asyncio.wait_for(process.ready.wait(), 30)
        yield process
    finally:
        await process.end()


async def test_sigterm_of_a_worker(stage: Stage, tenant: Tenant, tmp_path: Path) -> None:
    """A worker that is told to stop under load finishes or gives back all, and ends with 0."""
    await stage.plan(outcome="queued", answer_delay_ms=300)
    ids = await stage.send_many(
        tenant, [{"to": f"+1555010{n:04}", "body": f"stop {n}"} for n in range(300)]
    )
    async with running(stage, tmp_path, *WORKER) as worker:

        async def is_busy() -> bool:
            return len(await stage.requests()) >= 80

        await until(is_busy, 20)
        told = monotonic()
        worker.send(signal.SIGTERM)
        code = await asyncio.wait_for(worker.wait(), 35)
        assert (code, worker.defects) == (0, []), list(worker.last_words)
        assert monotonic() - told < 30

    asked = by_message(await stage.requests())
    statuses = await stage.statuses()
    assert 80 <= len(asked) < 300
    assert {i: statuses[i] for i in asked} == dict.fromkeys(asked, "sent")
    left = await stage.pool.fetch(
        "SELECT phase, attempts, lease_id IS NULL, count(*) FROM gateway.queue GROUP BY 1, 2, 3"
    )
    assert [tuple(row) for row in left] == [("send", 0, True, 300 - len(asked))]
    assert set(statuses.values()) <= {"pending", "sending", "sent"}

    stage.start_worker()
    await stage.until_statuses(dict.fromkeys(ids, "sent"), 30)
    assert Counter(map(message_id_of, await stage.requests())) == Counter(ids)


async def test_sigterm_of_a_paced_worker(stage: Stage, tmp_path: Path) -> None:
    """What waits for its turn at a sender's rate is sent or given back at once."""
    tenant = await stage.tenant("Paced", rate=3)
    await stage.plan(outcome="queued")
    ids = await stage.send_many(
        tenant, [{"to": f"+1555020{n:04}", "body": f"stop {n}"} for n in range(10)]
    )
    async with running(stage, tmp_path, *WORKER) as worker:

        async def has_begun() -> bool:
            return len(await stage.requests()) >= 2

        await until(has_begun, 20)
        worker.send(signal.SIGTERM)
        assert await asyncio.wait_for(worker.wait(), 30) == 0
    sent = len(await stage.requests())
    assert sent < 10
    leased = "SELECT count(*) FROM gateway.queue WHERE lease_id IS NOT NULL"
    assert (await stage.pool.fetchval(leased), len(await stage.queued())) == (0, 10 - sent)
    assert set((await stage.statuses()).values()) <= {"pending", "sending", "sent"}
    stage.start_worker()
    await stage.until_statuses(dict.fromkeys(ids, "sent"), 30)
    assert Counter(map(message_id_of, await stage.requests())) == Counter(ids)


async def test_sigterm_of_web(stage: Stage, tenant: Tenant, tmp_path: Path) -> None:
    """Web that is told to stop finishes every request that it has begun, and ends with 0."""
    await stage.stop_web()
    url = f"{stage.settings.base_url}/v1/messages"
    answers: list[tuple[int, str]] = []

    async def post_until_it_is_gone(http: aiohttp.ClientSession) -> None:
        message = {"channel": "sms", "to": "+15550300001", "body": "busy"}
        with suppress(aiohttp.ClientError):
            while True:
                async with http.post(url, json=message, headers=tenant.headers) as response:
                    answers.append((response.status, (await response.json()).get("id")))

    async def post_client(http: aiohttp.ClientSession, n: int) -> int:
        client = {"first_name": "Slow", "email": f"slow{n}@people.example"}
        path = f"{stage.settings.base_url}/v1/clients"
        async with http.post(path, json=client, headers=tenant.headers) as response:
            return response.status

    async def is_busy() -> bool:
        return len(answers) >= 30

    async def all_wait() -> bool:
        waiting: int = await stage.pool.fetchval(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return waiting == 3

    async def is_closed() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", stage.settings.port)
        except OSError:
            return True
        writer.close()
        return False

    half = b'{"channel": "sms", "to": "+15550300001", "body": "half"}'
    head = (
        f"POST /v1/messages HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {tenant.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(half)}\r\n\r\n"
    )
    async with running(stage, tmp_path, *WEB) as web, aiohttp.ClientSession() as http:
        posting = [asyncio.create_task(post_until_it_is_gone(http)) for _ in range(8)]
        await until(is_busy, 20)
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.settings.port)
        writer.write(head.encode() + half[:20])
        await writer.drain()
        async with stage.pool.acquire() as blocking, blocking.transaction():
            await blocking.execute("LOCK TABLE clients IN SHARE MODE")
            slow = [asyncio.create_task(post_client(http, n)) for n in range(3)]
            await until(all_wait, 10)
            web.send(signal.SIGTERM)
            await until(is_closed, 10)
        writer.write(half[20:])
        assert (await reader.readline()).startswith(b"HTTP/1.1 202")
        writer.close()
        assert [201] * 3 == await asyncio.gather(*slow)
        await asyncio.gather(*posting)
        code = await asyncio.wait_for(web.wait(), 15)
    assert (code, web.defects) == (0, [])
    assert {status for status, _ in answers} == {202}
    rows = await stage.rows()
    assert {message_id for _, message_id in answers} <= set(rows)
    bodies = Counter(row["body"] for row in rows.values())
    assert bodies["half"] == 1
    await stage.start_web()


async def test_several_web_processes(stage: Stage, tenant: Tenant, tmp_path: Path) -> None:
    """Of several web processes a killed one is replaced, and none outlives a killed parent."""
    await stage.stop_web()
    children: dict[int, str] = {}

    async def two_serve() -> bool:
        nonlocal children
        found = await asyncio.to_thread(kill9.processes_of, tmp_path)
        children = {pid: words for pid, words in found.items() if "spawn_main" in words}
        return len(children) == 2 and not killed & children.keys()

    async def are_gone() -> bool:
        return not await asyncio.to_thread(kill9.processes_of, tmp_path)

    async def answers() -> bool:
        try:
            return await accepted_in_the_end(stage, tenant, "several") == message_id
        except aiohttp.ClientError:
            return False

    killed: set[int] = set()
    try:
        async with running(stage, tmp_path, *WEB, WEB_CONCURRENCY="2") as web:
            message_id = await accepted_in_the_end(stage, tenant, "several")
            await until(two_serve, 20)
            killed.add(min(children))
            os.kill(min(children), signal.SIGKILL)
            await until(answers, 10)
            await until(two_serve, 20)
            web.send(signal.SIGKILL)
            await until(are_gone, 15)
    finally:
        for pid in await asyncio.to_thread(kill9.processes_of, tmp_path):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    await stage.start_web()


async def test_new_worker_does_not_take_its_own_messages_for_lost(
    stage: Stage, tenant: Tenant
) -> None:
    """A worker that has just started, beside others that end, calls none of its sends lost."""
    await stage.plan(outcome="queued", answer_delay_ms=250)
    ids: list[str] = []
    for turn in range(5):
        ids += await stage.send_many(
            tenant, [{"to": f"+1555040{n:04}", "body": f"turn {turn}"} for n in range(12)]
        )
        stage.start_worker(QUICK, concurrency=8)
        stage.start_worker(QUICK, concurrency=8)

        async def is_busy(wanted: int = len(ids)) -> bool:
            return len(await stage.requests()) >= wanted - 4

        await until(is_busy, 20)
        await stage.stop_workers()
    stage.start_worker()
    await stage.until_statuses(dict.fromkeys(ids, "sent"), 20)
    assert Counter(map(message_id_of, await stage.requests())) == Counter(ids)
    kinds = Counter(e["type"] for some in (await stage.events()).values() for e in some)
    assert kinds["answer_lost"] == 0


async def test_worker_whose_connections_are_cut(stage: Stage, tenant: Tenant) -> None:
    """All connections to PostgreSQL cut, again and again: every message is sent once."""
    await stage.plan(outcome="delivered", answer_delay_ms=40, delay_ms=5)
    stage.start_worker()
    stage.start_worker()
    ids: list[str] = []
    for turn in range(6):
        await stage.pool.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()
                 AND query NOT LIKE '%pg_terminate_backend%'"""
        )
        ids += [await accepted_in_the_end(stage, tenant, f"{turn}-{n}") for n in range(10)]
    await stage.until_statuses(dict.fromkeys(ids, "delivered"), 60)
    asked = by_message(await stage.requests())
    taken = {i: sum(some["sid"] is not None for some in each) for i, each in asked.items()}
    assert taken == dict.fromkeys(ids, 1)
    assert set(await stage.rows()) == set(ids)


async def accepted_in_the_end(stage: Stage, tenant: Tenant, key: str) -> str:
    """The id of a message that is posted until it is accepted, under one key."""
    body = {"channel": "sms", "to": "+15550500001", "body": key}
    headers = tenant.headers | {"Idempotency-Key": key}
    url = f"{stage.settings.base_url}/v1/messages"
    deadline = monotonic() + 20
    while True:
        async with stage.http.post(url, json=body, headers=headers) as response:
            answer = await response.json()
            if response.status == 202:
                return str(answer["id"])
            assert response.status == 503, answer
            assert response.headers["Retry-After"]
        assert monotonic() < deadline
        await asyncio.sleep(0.05)
