"""`/_sim`, and the simulator as a process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from gateway.simulator import build_simulator, run

if TYPE_CHECKING:
    from tests.simulator.conftest import Hook, Sim

SID = "AC" + "0" * 31 + "1"
TOKEN = "0123456789abcdef0123456789abcdef"
ACCOUNT = {"provider": "twilio", "account_sid": SID, "auth_token": TOKEN}


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        ("plan", "{", 400, "JSON"),
        ("plan", "[]", 422, "object"),
        ("plan", '{"faults": ["duplicate", "explode"]}', 422, "explode"),
        ("plan", '{"outcome": "lost"}', 422, "lost"),
        ("plan", '{"colour": 1}', 422, "colour"),
        ("plan", '{"match": {"subject": "x"}}', 422, "match.subject"),
        ("plan", '{"delay_ms": -1}', 422, "delay_ms"),
        ("plan", '{"times": 0}', 422, "times"),
        ("accounts", '{"account_sid": "AC1"}', 422, "provider"),
        ("accounts", '{"provider": "pigeon"}', 422, "pigeon"),
        ("accounts", '{"provider": "twilio"}', 422, "auth_token"),
        ("accounts", '{"provider": "twilio", "credentials": 1}', 422, "credentials"),
        (
            "accounts",
            '{"provider": "twilio", "auth_token": "a", "credentials": {"auth_token": "b"}}',
            422,
            "credentials.auth_token",
        ),
        (
            "accounts",
            '{"provider": "twilio", "account_sid": "AC1", "auth_token": "a", "webhook": {}}',
            422,
            "webhook",
        ),
        (
            "accounts",
            '{"provider": "twilio", "auth_token": "a", "webhooks": {"status": "file:///x"}}',
            422,
            "webhooks.status",
        ),
        ("inbound", '{"channel": "sms", "from": "+15551230001"}', 422, "to"),
        ("inbound", '{"channel": "smoke", "from": "a", "to": "b"}', 422, "smoke"),
    ],
)
async def test_a_wrong_body_is_a_problem_that_names_it(
    bare_sim: Sim, path: str, body: str, status: int, named: str
) -> None:
    """Malformed JSON is 400, an unknown field or word 422, by name."""
    answered, answer = await bare_sim.ask("POST", f"/_sim/{path}", data=body)

    assert answered == status
    assert answer["status"] == status
    assert named in answer["detail"]


async def test_null_is_absent(bare_sim: Sim) -> None:
    """The contract's plan with every field null is the default plan."""
    fields = ("match", "outcome", "error_code", "delay_ms", "faults", "times")

    status, answer = await bare_sim.ask("POST", "/_sim/plan", json=dict.fromkeys(fields))

    default = {"outcome": "delivered", "delay_ms": 20, "answer_delay_ms": 0, "faults": []}
    assert (status, answer) == (201, default)


async def test_secrets_are_not_told(bare_sim: Sim) -> None:
    """What is said of an account, right or wrong, does not hold its token."""
    _, made = await bare_sim.ask("POST", "/_sim/accounts", json=ACCOUNT)
    _, wrong = await bare_sim.ask("POST", "/_sim/accounts", json={**ACCOUNT, "numbers": 1})

    assert made == {"provider": "twilio", "id": SID, "webhooks": {}}
    assert TOKEN not in str(wrong)


async def test_unknown_paths_are_problems(bare_sim: Sim) -> None:
    """Paths of no provider are 404 and 405 as problem+json."""
    answers = [
        await bare_sim.ask("GET", "/_sim/nothing"),
        await bare_sim.ask("GET", "/_sim/inbound"),
        await bare_sim.ask("GET", "/_sim/health"),
    ]

    assert [status for status, _ in answers] == [404, 405, 200]
    assert "/_sim/nothing" in answers[0][1]["detail"]


async def test_requests_tell_what_was_asked_and_answered(sim: Sim) -> None:
    """Requests stand in order with their parameters, repeated ones as a list."""
    await sim.send(Body="one", MediaUrl=["https://a.test/1", "https://a.test/2"])
    await sim.send(Body=None)

    first, second = await sim.data("requests")

    (message,) = await sim.data("messages")
    assert first.pop("at") <= second.pop("at")
    assert first == {
        "provider": "twilio",
        "method": "POST",
        "path": f"/2010-04-01/Accounts/{SID}/Messages.json",
        "params": {
            "To": "+15551230001",
            "From": "+15551230002",
            "Body": "one",
            "MediaUrl": ["https://a.test/1", "https://a.test/2"],
        },
        "status": 201,
        "sid": message["sid"],
        "error_code": None,
        "fault": None,
    }
    assert (second["status"], second["error_code"], second["sid"]) == (400, 21602, None)


async def test_an_account_can_be_replaced(sim: Sim) -> None:
    """The same sid again: the new token opens it, the old one no longer."""
    await sim.ask("POST", "/_sim/accounts", json={**ACCOUNT, "auth_token": "new"})

    old, _ = await sim.send()
    new, _ = await sim.ask("GET", f"/2010-04-01/Accounts/{SID}/Messages.json", (SID, "new"))

    assert (old, new) == (401, 200)


async def test_delete_forgets_everything(sim: Sim, hook: Hook) -> None:
    """Accounts, plans, requests, messages and callbacks under way are gone; ids stay unique."""
    await sim.plan(match=None, delay_ms=1500, outcome="failed")
    _, before = await sim.send()

    status, _ = await sim.ask("DELETE", "/_sim")

    assert status == 204
    assert (await sim.data("requests"), await sim.data("messages")) == ([], [])
    assert (await sim.send())[0] == 401
    await asyncio.sleep(1.6)
    assert hook.received == []
    await sim.ask("POST", "/_sim/accounts", json=ACCOUNT)
    _, after = await sim.send()
    assert before["sid"] != after["sid"]


async def test_the_seed_decides_the_ids(
    aiohttp_server: Callable[..., Awaitable[TestServer]],
) -> None:
    """Two simulators with one seed give the same sids, without a seed they differ."""
    sids = []
    for seed in (1, 1, None, None):
        server = await aiohttp_server(build_simulator(seed=seed, keep_requests=1))
        async with aiohttp.ClientSession() as session:
            await session.post(server.make_url("/_sim/accounts"), json=ACCOUNT)
            async with session.post(
                server.make_url(f"/2010-04-01/Accounts/{SID}/Messages.json"),
                data={"To": "+15551230001", "From": "+15551230002", "Body": "x"},
                headers={"Authorization": aiohttp.encode_basic_auth(SID, TOKEN)},
            ) as response:
                sids.append((await response.json())["sid"])

    assert sids[0] == sids[1]
    assert len(set(sids)) == 3


async def test_run_serves_until_cancelled() -> None:
    """`run` tells its address once it answers, and leaves nothing behind when cancelled."""
    took = [await _seconds_to_stop() for _ in range(2)]
    assert min(took) < 1.9, took  # the quicker one has less of what else the machine is doing


async def _seconds_to_stop() -> float:
    """How long it takes to end while a request is held; all that ran before runs afterwards."""
    told: asyncio.Queue[str] = asyncio.Queue()
    before = asyncio.all_tasks()
    task = asyncio.create_task(run("127.0.0.1", 0, told.put_nowait, seed=1))
    base = await asyncio.wait_for(told.get(), 30)
    async with aiohttp.ClientSession() as session:
        await session.post(f"{base}/_sim/accounts", json=ACCOUNT)
        async with session.get(f"{base}/_sim/health") as response:
            assert response.status == 200
        await session.post(f"{base}/_sim/plan", json={"faults": ["timeout_after_accept"]})
        held = asyncio.create_task(
            session.post(
                f"{base}/2010-04-01/Accounts/{SID}/Messages.json",
                data={"To": "+15551230001", "From": "+15551230002", "Body": "x"},
                headers={"Authorization": aiohttp.encode_basic_auth(SID, TOKEN)},
            )
        )
        await asyncio.sleep(0.1)

        start = monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        took = monotonic() - start
        with pytest.raises((aiohttp.ClientConnectionError, ConnectionError)):
            await held
    assert asyncio.all_tasks() == before
    return took
