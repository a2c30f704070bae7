"""A sender's rate holds its own messages back, and nothing else."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from channels.model import Channel
from gateway.dispatch.turns import Turn
from gateway.manage import setup
from tests.service.test_service_dispatch import Provider, provider, step

__all__ = ["provider"]  # a fixture

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
OTHER = "+15551230009"


async def slow_sender(ask: Ask, gateway: Gateway, rate: float) -> str:
    """The default sender, which sends at a rate; its id."""
    (sender,) = (await ask("GET", "/v1/senders", key=gateway.a.owner)).body["data"]
    await ask("PATCH", f"/v1/senders/{sender['id']}", {"rate": rate}, key=gateway.a.owner)
    return str(sender["id"])


def at_of(turns: list[Turn]) -> list[float]:
    """When each of them may go."""
    return [turn.not_before for turn in turns]


async def test_paced_sender(gateway: Gateway, ask: Ask, provider: Provider) -> None:
    """A sender with a rate sends what fits into the next second; the rest stays pending."""
    await slow_sender(ask, gateway, 2)
    await ask("POST", "/v1/messages/batch", {"messages": [SMS] * 10})
    began = time.monotonic()
    turns = await provider.worker(gateway).claim(10)
    again = await provider.worker(gateway).claim(10)
    took = time.monotonic() - began  # a busy machine's time between the claims has turns, too

    at = at_of([*turns, *again])
    assert (2, True) == (len(turns), len(again) <= 1 + 2 * took)
    assert all(0.4 - took < b - a < 0.6 + took for a, b in pairwise(at))
    assert all(0.49 < b - a < 0.51 for some in (turns, again) for a, b in pairwise(at_of(some)))
    pending = (await ask("GET", "/v1/messages?status=pending")).body["data"]
    assert 10 == len(pending) + len(at)
    canceled = await ask("POST", f"/v1/messages/{pending[0]['id']}/cancel")
    assert 200 == canceled.status


async def test_paced_backlog(gateway: Gateway, ask: Ask, provider: Provider) -> None:
    """A claim of which nothing has a turn is no reason to come again at once:
    each would move another part of the backlog on by a second."""
    await slow_sender(ask, gateway, 1)
    await ask("POST", "/v1/messages/batch", {"messages": [SMS] * 12})
    claims = [await provider.worker(gateway).claim(4) for _ in range(3)]

    assert claims[0]
    assert claims[0].has_more
    assert [] == [claim for claim in claims if claim.has_more and not claim]


async def waits(gateway: Gateway) -> list[float]:
    """In how many seconds each entry that nobody holds is due, the next first."""
    async with gateway.database.as_service() as db:
        rows = await db.fetch(
            """SELECT extract(epoch FROM run_at - now())::double precision AS seconds
            FROM gateway.queue WHERE lease_id IS NULL ORDER BY run_at"""
        )
    return [row["seconds"] for row in rows]


async def test_paced_backlog_comes_back_one_by_one(
    gateway: Gateway, ask: Ask, provider: Provider
) -> None:
    """What a rate holds back is due at its own turn, and in a minute at the latest: all of it at
    once would be claimed and given back every second, and a rate can be raised meanwhile."""
    await slow_sender(ask, gateway, 2)
    await ask("POST", "/v1/messages/batch", {"messages": [SMS] * 140})
    began = time.monotonic()
    turns = await provider.worker(gateway).claim(140)
    due = await waits(gateway)
    took = time.monotonic() - began  # the first is due in half a second, whoever looks then

    assert (2, 138) == (len(turns), len(due))
    assert all(0.4 < b - a < 0.6 for a, b in pairwise(due[:110]))
    assert (0.4 - took < due[0] < 1.1, due[-1] <= 60) == (True, True)


async def test_a_backlog_beside_another_sender(
    gateway: Gateway, ask: Ask, provider: Provider
) -> None:
    """What a rate holds back is out of the way of the organization's other senders after one claim,
    however much it is."""
    await slow_sender(ask, gateway, 1)
    await setup.add_sender(
        gateway.database, gateway.a.account_id, Channel.SMS, OTHER, is_default=False, rate=None
    )
    await ask("POST", "/v1/messages/batch", {"messages": [SMS] * 500})
    quick = (await ask("POST", "/v1/messages", {**SMS, "from": OTHER})).body
    worker = provider.worker(gateway)
    claimed = [await worker.claim(20) for _ in range(3)]

    assert quick["id"] in {str(turn.claimed.message_id) for turns in claimed for turn in turns}


async def test_a_backlog_is_put_back_once(gateway: Gateway, ask: Ask, provider: Provider) -> None:
    """All of it is due at its own turn, and in a minute at the latest, the urgent first: what would
    be later comes back spread over its last seconds, as all at once would be looked at in vain."""
    await slow_sender(ask, gateway, 0.2)
    await ask("POST", "/v1/messages/batch", {"messages": [SMS] * 200})
    high = (await ask("POST", "/v1/messages", {**SMS, "priority": "high"})).body
    worker = provider.worker(gateway)
    first, second = await worker.claim(4), await worker.claim(4)
    due = await waits(gateway)

    assert high["id"] in {str(turn.claimed.message_id) for turn in first}
    assert ([], False) == (second, second.has_more)
    assert 201 - len(first) == len(due)
    assert 50 < due[120] <= due[-1] <= 60
    assert due[120] - due[40] > 3


async def test_what_has_expired_is_not_put_back(
    gateway: Gateway, ask: Ask, provider: Provider
) -> None:
    """Of what waits for a rate, the expired stays due, so that it fails now; the rest is due no
    later than it expires."""
    await slow_sender(ask, gateway, 0.01)
    hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await ask("POST", "/v1/messages/batch", {"messages": [SMS] * 8})
    await ask("POST", "/v1/messages/batch", {"messages": [{**SMS, "expires_at": hour}] * 60})
    async with gateway.database.as_service() as db:
        await db.execute(
            """UPDATE messages m SET expires_at = now() + make_interval(secs => 20 * (n % 2))
            FROM (SELECT id, row_number() OVER () AS n FROM messages
                WHERE expires_at IS NOT NULL) e WHERE m.id = e.id"""
        )
    worker = provider.worker(gateway)
    assert await worker.claim(4)
    due = await waits(gateway)

    assert [30, 30] == [sum(at <= 0 for at in due), sum(19 < at <= 20 for at in due)]
    assert 30 == sum([len(await worker.claim(16)) for _ in range(3)])


async def test_backlogs_that_alternate(
    gateway: Gateway, ask: Ask, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quick sender's message is found without a pause behind the alternating messages of two slow
    ones: none of the two has all that was searched, and yet there may be more."""
    monkeypatch.setattr("gateway.dispatch.turns._AMONG", 20)
    quick = "+15551230008"
    await slow_sender(ask, gateway, 0.1)
    for address, rate in ((OTHER, 0.1), (quick, None)):
        await setup.add_sender(
            gateway.database,
            gateway.a.account_id,
            Channel.SMS,
            address,
            is_default=False,
            rate=rate,
        )
    await ask("POST", "/v1/messages/batch", {"messages": [SMS, {**SMS, "from": OTHER}] * 100})
    last = (await ask("POST", "/v1/messages", {**SMS, "from": quick})).body
    worker = provider.worker(gateway)
    for _ in range(30):
        turns = await worker.claim(8)
        if last["id"] in {str(turn.claimed.message_id) for turn in turns}:
            break
        assert turns.has_more
    else:
        pytest.fail("it was not found")


async def test_a_rate_that_is_raised(gateway: Gateway, ask: Ask, provider: Provider) -> None:
    """A sender of one message in a quarter of an hour has its next turn within a second or two of
    its rate's being raised, not in a quarter of an hour."""
    sender = await slow_sender(ask, gateway, 0.001)
    await ask("POST", "/v1/messages", SMS)
    assert 1 == await step(provider.worker(gateway))
    await ask("PATCH", f"/v1/senders/{sender}", {"rate": 10}, key=gateway.a.owner)
    await ask("POST", "/v1/messages", SMS)
    assert [] == await provider.worker(gateway).claim(10)
    async with gateway.database.as_service() as db:
        wait = await db.fetchval(
            "SELECT extract(epoch FROM next_at - now())::float8 FROM gateway.sender_paces"
        )

    assert wait < 1.2


async def test_what_does_not_leave_takes_no_turn(
    gateway: Gateway, ask: Ask, provider: Provider
) -> None:
    """What has expired, what only seems to be sent, and all of a sender that was turned off, is
    done at once: none of it keeps others from their turns, nor waits for one of its own."""
    sender = await slow_sender(ask, gateway, 0.1)
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await ask("POST", "/v1/messages/batch", {"messages": [{**SMS, "expires_at": soon}] * 5})
    await ask("POST", "/v1/messages/batch", {"messages": [SMS] * 5}, key=gateway.a.test_key)
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET expires_at = now() WHERE expires_at IS NOT NULL")
    worker = provider.worker(gateway)
    assert 10 == await step(worker)
    await ask("POST", "/v1/messages/batch", {"messages": [SMS] * 5})
    await ask("PATCH", f"/v1/senders/{sender}", {"is_active": False}, key=gateway.a.owner)
    assert 5 == await step(worker)
    await ask("PATCH", f"/v1/senders/{sender}", {"is_active": True}, key=gateway.a.owner)
    await ask("POST", "/v1/messages", SMS)
    assert 1 == await step(worker)

    rows = (await ask("GET", "/v1/messages")).body["data"]
    codes = sorted(str(row["error_code"]) for row in rows)
    assert ["None"] * 6 + ["expired"] * 5 + ["no_sender"] * 5 == codes
    assert 1 == len(provider.posts)
