"""The fault plan: what goes wrong on purpose, and that it does so exactly as told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from gateway.simulator import build_simulator

if TYPE_CHECKING:
    from tests.simulator.conftest import Hook, Sim

SID = "AC" + "0" * 31 + "1"
TOKEN = "0123456789abcdef0123456789abcdef"
MESSAGES = f"/2010-04-01/Accounts/{SID}/Messages.json"


async def _statuses(sim: Sim, times: int, **params: Any) -> list[int | None]:
    """What `times` attempts of one message are answered, None where nothing came back."""
    answers: list[int | None] = []
    for _ in range(times):
        try:
            answers.append((await sim.send(**params))[0])
        except (aiohttp.ClientConnectionError, ConnectionError):
            answers.append(None)
    return answers


@pytest.mark.parametrize(
    ("faults", "times", "answers"),
    [
        (["429"], None, [429, 201, 201]),
        ([429], 2, [429, 429, 201]),
        (["500"], -1, [500, 500, 500]),
        (["500", "429"], None, [500, 429, 201]),
        (["502"], None, [502, 201, 201]),
        (["503"], None, [503, 201, 201]),
        (["504"], None, [504, 201, 201]),
        (["reset"], None, [None, 201, 201]),
        (["reset_after_accept"], None, [None, 201, 201]),
        (["429", "reset_after_accept"], None, [429, None, 201]),
        (["duplicate"], None, [201, 201, 201]),
    ],
)
async def test_the_first_attempts_of_a_message_go_wrong(
    sim: Sim, faults: list[Any], times: int | None, answers: list[int | None]
) -> None:
    """Each fault of the answer meets the first attempts only, `times` over, and is recorded."""
    await sim.plan(match=None, faults=faults, times=times)

    assert await _statuses(sim, 3) == answers
    asked = await sim.data("requests")
    assert [one["status"] for one in asked] == answers
    accepted = sum(one["sid"] is not None for one in asked)
    assert accepted == len(await sim.data("messages"))
    lost = [one for one in asked if one["fault"] == "reset_after_accept"]
    assert all(one["sid"] is not None and one["status"] is None for one in lost)


async def test_attempts_are_told_apart_by_message(sim: Sim) -> None:
    """Another recipient, text or callback URL makes another message with its own attempts."""
    await sim.plan(match=None, faults=["429"])

    answers = [
        (await sim.send(**params))[0]
        for params in (
            {},
            {},
            {"Body": "other"},
            {"To": "+15551230009"},
            {"StatusCallback": f"{sim.hook.base}/1"},
            {"StatusCallback": f"{sim.hook.base}/2"},
            {"StatusCallback": f"{sim.hook.base}/2"},
        )
    ]

    assert answers == [429, 201, 429, 429, 429, 429, 201]


@pytest.mark.parametrize(("fault", "code"), [("429", 20429), ("500", 20500), ("503", 20503)])
async def test_a_refusal_has_twilios_body(sim: Sim, fault: str, code: int) -> None:
    """429, 500 and 503 are Twilio's own words; 429 says when to come back."""
    await sim.plan(match=None, faults=[fault])

    async with sim.session.post(
        sim.base + MESSAGES,
        data={"To": "+15551230001", "From": "+15551230002", "Body": "x"},
        headers={"Authorization": aiohttp.encode_basic_auth(SID, TOKEN)},
    ) as response:
        body = await response.json()

    assert (response.status, body["code"], body["status"]) == (int(fault), code, int(fault))
    assert response.headers.get("Retry-After") == ("1" if fault == "429" else None)


async def test_a_lost_answer_is_a_message_in_the_list(sim: Sim, hook: Hook) -> None:
    """timeout_after_accept: no answer ever, yet the message is listed and its reports come."""
    await sim.plan(match=None, faults=["timeout_after_accept"])

    sending = asyncio.create_task(sim.send())
    await hook.count(3)
    _, listed = await sim.ask("GET", MESSAGES, (SID, TOKEN))

    assert not sending.done()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert [message["status"] for message in listed["messages"]] == ["delivered"]
    (asked,) = await sim.data("requests")
    assert (asked["status"], asked["sid"]) == (None, listed["messages"][0]["sid"])


async def test_a_client_that_gives_up_frees_its_held_request(sim: Sim) -> None:
    """The handler of a held request ends soon after its client has gone."""
    await sim.plan(match=None, outcome="queued", faults=["timeout_after_accept"])
    before = len(asyncio.all_tasks())

    async with aiohttp.ClientSession() as session:
        sending = asyncio.create_task(replace(sim, session=session).send())
        for _ in range(3000):
            if await sim.data("requests"):
                break
            await asyncio.sleep(0.01)
        held = len(asyncio.all_tasks() - {sending})
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    for _ in range(3000):
        if len(asyncio.all_tasks()) == before:
            break
        await asyncio.sleep(0.01)

    assert held > before
    assert len(asyncio.all_tasks()) == before


async def test_a_hanging_receiver_does_not_hold_up_the_answer_for_ever(
    aiohttp_server: Callable[..., Awaitable[TestServer]], sim: Sim, hook: Hook
) -> None:
    """before_response waits for its callbacks within a bound, then the answer goes out."""
    server = await aiohttp_server(build_simulator(patience=0.05))
    hasty = replace(sim, base=str(server.make_url("")).rstrip("/"))
    account = {"provider": "twilio", "account_sid": SID, "auth_token": TOKEN}
    await hasty.ask("POST", "/_sim/accounts", json=account)
    await hasty.plan(match=None, faults=["before_response"])
    hook.wait = 10.0

    status, _ = await asyncio.wait_for(hasty.send(StatusCallback=f"{hook.base}/status"), 8)

    assert status == 201


async def test_forgetting_lets_go_of_a_held_request(sim: Sim) -> None:
    """DELETE /_sim ends a request that was held, by cutting it."""
    await sim.plan(match=None, faults=["timeout_after_accept"])
    held = asyncio.create_task(sim.send())
    await sim.settled()

    status, _ = await sim.ask("DELETE", "/_sim")

    assert status == 204
    with pytest.raises((aiohttp.ClientConnectionError, ConnectionError)):
        await asyncio.wait_for(held, 30)


async def test_duplicate_sends_each_report_twice(sim: Sim, hook: Hook) -> None:
    """Every callback comes twice, in order, each time as a delivery of its own."""
    await sim.plan(match=None, faults=["duplicate"])

    await sim.send()
    await hook.count(6)

    assert hook.statuses == ["sending", "sending", "sent", "sent", "delivered", "delivered"]


async def test_reorder_sends_the_same_reports_in_another_order(sim: Sim, hook: Hook) -> None:
    """No message keeps the straight order, none loses a report."""
    await sim.plan(match=None, faults=["reorder"])
    sids = [(await sim.send(Body=str(number)))[1]["sid"] for number in range(20)]
    await hook.count(60)

    straight = ["sending", "sent", "delivered"]
    for sid in sids:
        order = [one.status for one in hook.received if one.params["MessageSid"] == sid]
        assert sorted(order) == sorted(straight)
        assert order != straight


async def test_drop_loses_every_report_and_not_the_message(sim: Sim, hook: Hook) -> None:
    """The resource reaches its outcome while no callback is made."""
    await sim.plan(match=None, faults=["drop"])

    _, made = await sim.send()
    await asyncio.sleep(0.05)
    _, fetched = await sim.ask("GET", made["uri"], (SID, TOKEN))

    assert (fetched["status"], hook.received) == ("delivered", [])


@pytest.mark.parametrize("faults", [["before_response"], ["before_response", "batch", "duplicate"]])
async def test_before_response_reports_overtake_the_answer(
    sim: Sim, hook: Hook, faults: list[str]
) -> None:
    """All callbacks are over when the answer comes, which still tells the initial status."""
    await sim.plan(match=None, faults=faults)

    _, made = await sim.send()

    assert Counter(hook.statuses).keys() == {"sending", "sent", "delivered"}
    assert made["status"] == "queued"


async def test_batch_sends_all_reports_at_once(sim: Sim, hook: Hook) -> None:
    """Three slow deliveries take the time of one."""
    hook.wait = 1.0
    await sim.plan(match=None, faults=["batch", "before_response"])

    start = monotonic()
    await sim.send()

    assert len(hook.received) == 3
    assert monotonic() - start < 2.5


async def test_delays(sim: Sim, hook: Hook) -> None:
    """`delay_ms` lies between the steps, `answer_delay_ms` before the answer alone."""
    await sim.plan(match=None, outcome="sent", delay_ms=100, answer_delay_ms=50)

    start = monotonic()
    await sim.send()
    answered = monotonic() - start
    await hook.count(2)

    assert answered >= 0.05
    assert monotonic() - start >= 0.2


async def test_steps_override_the_outcome(sim: Sim, hook: Hook) -> None:
    """`steps` are reported as they stand, in any order, also words that Twilio does not have."""
    steps = ["sent", "failed", "delivered", "shredded"]
    await sim.plan(match=None, steps=steps)

    await sim.send()
    await hook.count(4)

    assert hook.statuses == steps


@pytest.mark.parametrize(("given", "code"), [(None, 21211), (21610, 21610), ("30007", 30007)])
async def test_refused_is_an_error_of_the_api(sim: Sim, given: object, code: int) -> None:
    """The outcome `refused` answers 400 with the plan's code and accepts nothing."""
    await sim.plan(match=None, outcome="refused", error_code=given)

    status, answer = await sim.send()

    assert (status, answer["code"]) == (400, code)
    assert await sim.data("messages") == []


async def test_the_newest_plan_that_fits_wins(sim: Sim) -> None:
    """Recipient, sender and text choose the plan; a plan for everything ends all earlier ones."""
    await sim.plan(match={"to": "+1 555 123 0001"}, outcome="failed")
    await sim.plan(match={"from": "+15551230008"}, outcome="sent")
    await sim.plan(match={"body": "urgent", "to": "+15551230001"}, outcome="read")
    params: list[dict[str, str]] = [
        {},
        {"From": "+15551230008"},
        {"Body": "most urgent", "From": "+15551230008"},
        {"To": "+15551230009"},
    ]
    for some in params:
        await sim.send(**some)
    await sim.plan(match=None, outcome="canceled")
    await sim.send()
    messages = await sim.settled(1 + 2 + 4 + 3 + 1)

    statuses = [message["status"] for message in messages]
    assert statuses == ["failed", "sent", "read", "delivered", "canceled"]
    _, plans = await sim.ask("GET", "/_sim/plan")
    assert [plan["outcome"] for plan in plans["data"]] == ["canceled"]
