"""What many do at the same moment for one person."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from channels.model import Channel, Sent
from gateway.accept import pausing
from gateway.accept.lookups import Lookups
from gateway.accept.pausing import Pauses
from gateway.dispatch.outcomes import Outcomes
from gateway.dispatch.pace import Pace
from gateway.observability.metrics import Metrics
from tests.service.conftest import Ask, Gateway
from tests.service.locks import until_somebody_waits
from tests.service.wires import Api, connect, from_twilio, inbound_of, send

ADA = "+447700900123"


@pytest.fixture
async def early_looks(database: str) -> None:
    """Whoever waits for a lock looks for a circle before it gives up waiting (1 s)."""
    connection = await asyncpg.connect(database)
    name = urlsplit(database).path[1:]
    await connection.execute(f"ALTER DATABASE \"{name}\" SET deadlock_timeout = '500ms'")
    await connection.close()


# In the server, so that nothing comes between seeing that somebody waits and closing the circle.
CLOSE_THE_CIRCLE = """
    DO $$ BEGIN
        WHILE NOT EXISTS (
            SELECT FROM pg_locks
            WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))
        ) LOOP PERFORM pg_sleep(0.005); END LOOP;
        PERFORM FROM gateway.conversations WHERE id = '{}' FOR UPDATE;
    END $$"""


@pytest.mark.usefixtures("early_looks")
async def test_a_circle_of_locks(gateway: Gateway, ask: Ask, database: str) -> None:
    """Two transactions that wait for each other: PostgreSQL ends the one that accepts, and it is
    done once more when the other one is over."""
    people = [f"+4477009001{n}" for n in range(20, 22)]
    for person in people:
        await ask("POST", "/v1/messages", {"channel": "sms", "to": person, "body": "x"})
    async with gateway.database.as_service() as db:
        first, second = await db.fetch("SELECT id FROM gateway.conversations ORDER BY id")
    ours = await asyncpg.connect(database)
    # The other one is ended.
    await ours.execute("SET deadlock_timeout = '1min'; SET statement_timeout = '30s'")
    async with ours.transaction():
        lock = "SELECT FROM gateway.conversations WHERE id = $1 FOR UPDATE"
        await ours.execute(lock, second["id"])
        both = {"messages": [{"channel": "sms", "to": to, "body": "x"} for to in people]}
        batch = asyncio.ensure_future(ask("POST", "/v1/messages/batch", both))
        # It waits for us behind the first one, which it has.
        await ours.execute(CLOSE_THE_CIRCLE.format(first["id"]))
        assert not batch.done()
    await ours.close()

    answer = await batch
    assert (207, [202, 202]) == (answer.status, [one["status"] for one in answer.body["data"]])
    assert 4 == await gateway.count("messages")


async def test_both_write_at_once(gateway: Gateway, ask: Ask) -> None:
    """What a lead writes and what is written to it at the same moment hold nobody up."""
    await ask("POST", "/v1/leads", {"first_name": "Ada", "phone": ADA})
    out = {"channel": "sms", "to": ADA, "body": "x"}
    into = {"AccountSid": "AC" + "a" * 32, "From": ADA, "To": "+15551230001", "Body": "x"}
    for turn in range(12):
        sids = [f"SM{turn:016}{n:016}" for n in range(6)]
        answers = await asyncio.gather(
            *(ask("POST", "/v1/messages", out) for _ in range(8)),
            *(from_twilio(gateway, "message", into | {"MessageSid": sid}) for sid in sids),
        )
        assert [202] * 8 + [200] * 6 == [answer.status for answer in answers]

    assert 72 == len(await inbound_of(ask, limit="200"))
    (lead,) = (await ask("GET", "/v1/leads")).body["data"]
    assert lead["last_contacted_at"] is not None


async def test_mails_taken_together(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Of mails that got other Message-IDs, rows are locked in the order in which accept does."""
    await connect(gateway, "ses", Channel.EMAIL)
    first, last = "ada@customer.example", "zoe@customer.example"
    for to in (first, last):
        await send(ask, "email", to, subject="Hello", body="x")
    worker = api.worker(gateway)
    claimed = {turn.claimed.to_address: turn.claimed for turn in await worker.claim(10)}
    outcomes = Outcomes(gateway.database, Metrics(), worker.lease_id, Pace())
    lock = "SELECT FROM gateway.correspondence WHERE their_address = $1 FOR UPDATE"
    async with gateway.database.as_service() as holding:
        await holding.execute(lock, first)
        recording = asyncio.gather(
            *(
                outcomes.sent(
                    claimed[to], Sent(external_id=to, detail={"message_id": f"1{to}"}), 0.0
                )
                for to in (last, first)
            )
        )
        await until_somebody_waits(holding)
        async with gateway.database.as_service() as db:
            await db.execute(f"{lock} NOWAIT", last)
    await recording


async def test_waiting_is_no_work(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message whose lookups took long gives no turn away for that: others had theirs."""
    taken: list[Pauses] = []
    # A clock that goes on only while they are made: the work itself may take as long as it does.
    passed = [0.0]

    async def take(pauses: Pauses) -> None:
        taken.append(pauses)

    def slow(do: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def slowly(*given: object) -> object:
            passed.append(0.02)
            return await do(*given)

        return slowly

    monkeypatch.setattr(pausing, "time", SimpleNamespace(monotonic=lambda: sum(passed)))
    monkeypatch.setattr(Pauses, "take", take)
    for name in ("known", "standings"):
        monkeypatch.setattr(Lookups, name, slow(getattr(Lookups, name)))
    answer = await ask("POST", "/v1/messages", {"channel": "sms", "to": ADA, "body": "x"})
    assert (202, [0.0, 0.02, 0.02]) == (answer.status, passed)
    assert [] == taken
