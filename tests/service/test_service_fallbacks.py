"""Fallbacks: what follows a message that failed, or did not get far enough in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from channels.model import Channel
from gateway.accept.falling_back import FallingBack
from gateway.ids import derived_id
from gateway.observability.metrics import Metrics
from tests.service.falling import (
    ADA,
    BY_MAIL,
    MAIL,
    SMS,
    event,
    follow,
    known,
    late,
    outbound,
    refuse_sms,
    run,
    shown,
    told,
)
from tests.service.wires import OURS, send, step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api


@pytest.fixture(autouse=True)
async def ada(gateway: Gateway, ask: Ask, api: Api) -> dict[str, Any]:
    """A lead who has a number and a mailbox."""
    return await known(gateway, ask, api)


async def test_a_failed_message_is_followed_at_once(
    gateway: Gateway, ask: Ask, api: Api, ada: dict[str, Any]
) -> None:
    """The next step is a message like any other: of the same request, to the same contact, in their
    conversation; each of both names the other, and nothing follows twice."""
    request = SMS | {"reference": "visit 7", "metadata": {"a": 1}, "priority": "high"}
    first = await send(ask, "sms", ADA, **request)
    refuse_sms(api)
    await step(api.worker(gateway))

    assert (1, 0) == (await follow(gateway), await follow(gateway))

    (_, second) = await outbound(ask)
    kept = ("lead_id", "conversation_id", "reference", "body")
    assert {name: first[name] for name in kept} == {name: second[name] for name in kept}
    assert ada["id"] == second["lead_id"]
    assert ("email", "pending") == (second["channel"], second["status"])
    assert (OURS[Channel.EMAIL], MAIL) == (second["from_address"], second["to_address"])
    assert {"a": 1, "fallback_of": first["id"]} == second["metadata"]
    assert "From us" == second["subject"]
    assert {
        "message_id": second["id"],
        "channel": "email",
        "step": 0,
        "reason": "failed",
    } == await event(ask, first, "fallback")
    assert 0 == await run(gateway, "SELECT priority FROM gateway.queue")
    conversation = await ask("GET", f"/v1/conversations/{first['conversation_id']}")
    assert second["id"] == conversation.body["last_message"]["id"]
    api.says(202, None, **{"X-Message-Id": "sg-1"})
    await step(api.worker(gateway))
    assert [("sms", "failed"), ("email", "sent")] == await shown(ask)
    assert 0 == await gateway.count("gateway.fallbacks")


async def test_time(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What was sent and is not delivered in time is followed then, not before; what is heard of it
    later changes nothing of that."""
    first = await send(ask, "sms", ADA, **SMS)
    left = "SELECT round(extract(epoch FROM due_at - now())) FROM gateway.fallbacks"
    assert 58 <= await run(gateway, left) <= 60
    await step(api.worker(gateway))
    assert 0 == await follow(gateway)

    await late(gateway)

    assert 1 == await follow(gateway)
    assert "not_delivered" == (await event(ask, first, "fallback"))["reason"]
    await told(gateway, "delivered")
    assert [("sms", "delivered"), ("email", "pending")] == await shown(ask)


async def test_what_it_has_to_reach(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What got as far as was asked for is followed by nothing."""
    cases = [("delivered", "delivered", 0), ("read", "delivered", 1), ("delivered", "read", 0)]
    for n, (until, status, followers) in enumerate(cases):
        sid = f"SM{n:032}"
        api.says(201, {"sid": sid})
        await send(ask, "sms", ADA, **SMS | {"fallback": [BY_MAIL | {"until": until}]})
        await step(api.worker(gateway))
        await told(gateway, status, sid)
        await late(gateway)
        assert followers == await follow(gateway)
    assert 0 == await gateway.count("gateway.fallbacks")


async def test_what_has_not_left_leaves_no_more(gateway: Gateway, ask: Ask, api: Api) -> None:
    """It would arrive behind what was sent instead: also one that its provider refused for now."""
    api.says(429, {"code": 20429, "message": "Too many", "status": 429})
    for _ in range(2):
        await send(ask, "sms", ADA, **SMS)
        await step(api.worker(gateway))
        await run(gateway, "UPDATE gateway.queue SET run_at = now() + interval '1 hour'")
    first = await send(ask, "sms", ADA, **SMS)
    asked = len(api.asked)
    await late(gateway)

    assert 3 == await follow(gateway)

    await run(gateway, "UPDATE gateway.queue SET run_at = now()")
    api.says(202, None, **{"X-Message-Id": "sg-1"})
    await step(api.worker(gateway))
    assert {"reason": "fallback"} == await event(ask, first, "canceled")
    assert [*[("sms", "canceled")] * 3, *[("email", "sent")] * 3] == sorted(
        await shown(ask), reverse=True
    )
    assert ["/v3/mail/send"] * 3 == [request.path for request, _ in api.asked[asked:]]


async def test_what_may_have_left_is_not_canceled(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Nobody knows whether it arrived: that is no failure, and time moves it on."""
    await send(ask, "sms", ADA, **SMS)
    api.says(502)
    await step(api.worker(gateway))
    assert 0 == await follow(gateway)
    await late(gateway)

    assert 1 == await follow(gateway)
    assert [("sms", "unknown"), ("email", "pending")] == await shown(ask)


async def test_a_worker_that_dies_in_the_middle(gateway: Gateway, ask: Ask) -> None:
    """All of it is stored or nothing is: the next worker begins anew, and stores it once."""
    await send(ask, "sms", ADA, **SMS)
    await late(gateway)
    await run(gateway, "REVOKE DELETE ON gateway.fallbacks FROM service_role")
    assert 0 == await follow(gateway)
    assert (1, 1) == (await gateway.count("messages"), await gateway.count("gateway.queue"))
    await run(gateway, "GRANT DELETE ON gateway.fallbacks TO service_role")
    await late(gateway)

    assert (1, 0) == (await follow(gateway), await follow(gateway))
    assert 2 == await gateway.count("messages")


async def test_two_workers(gateway: Gateway, ask: Ask) -> None:
    """Each message is followed once, whoever comes first, by one of its own organization."""
    messages = [{"channel": "sms", "to": ADA} | SMS] * 20
    await ask("POST", "/v1/messages/batch", {"messages": messages})
    again = {"body": "Hello", "fallback": [{"channel": "sms", "after": 9, "body": "Again"}]}
    others = {"messages": [{"channel": "sms", "to": ADA} | again] * 10}
    await ask("POST", "/v1/messages/batch", others, key=gateway.b.key)
    await late(gateway)

    each = [FallingBack(gateway.database, Metrics(), at_once=7).follow() for _ in range(3)]

    assert 30 == sum(await asyncio.gather(*each))
    theirs = (await ask("GET", "/v1/messages", key=gateway.b.key)).body["data"]
    assert (40, 20) == (len(await outbound(ask)), len(theirs))
    assert {("Hello", "canceled"), ("Again", "pending")} == {
        (row["body"], row["status"]) for row in theirs
    }


async def test_nobody_can_take_the_id_of_a_step(gateway: Gateway, ask: Ask) -> None:
    """Who knows a message's id, as its recipient does, does not know that of what follows it."""
    first = await send(ask, "sms", ADA, **SMS)
    taken = """INSERT INTO messages (id, organization_id, channel, direction, from_address,
      to_address, body) VALUES ($1, $2, 'sms', 'inbound', '+1', '+2', 'Taken')"""
    guessed = derived_id(first["id"], "fallback", 0)
    await run(gateway, taken, guessed, gateway.b.organization_id)
    await late(gateway)

    assert 1 == await follow(gateway)

    assert [("sms", "canceled"), ("email", "pending")] == await shown(ask)


async def test_a_chain(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Each step has its own time, and its own words for when it is enough; the last one is the end.

    A step that cannot be sent any more has failed, and the next one follows."""
    template = {"name": "t", "type": "sms", "content": "Dear {{ name }}"}
    assert 201 == (await ask("POST", "/v1/templates", template)).status
    steps = [
        BY_MAIL | {"until": "read"},
        {"channel": "sms", "template": "t", "after": 9},
        {"channel": "sms", "to": "+447700900199", "body": "Last", "after": 1},
    ]
    more = {"fallback": steps, "variables": {"name": "Ada"}}
    first = await send(ask, "sms", ADA, **SMS | more)
    stop = {"channel": "email", "address": MAIL}
    await late(gateway)
    assert 1 == await follow(gateway)
    assert 201 == (await ask("POST", "/v1/suppressions", stop)).status
    await step(api.worker(gateway))
    assert 1 == await follow(gateway)
    assert 0 == await follow(gateway)
    await step(api.worker(gateway))
    await late(gateway)
    assert 1 == await follow(gateway)

    rows = await outbound(ask)
    assert ["Hello", "Hello", "Dear Ada", "Last"] == [row["body"] for row in rows]
    assert ["canceled", "failed", "sent", "pending"] == [row["status"] for row in rows]
    assert "suppressed" == rows[1]["error_code"]
    assert [first["id"], *(row["id"] for row in rows[1:3])] == [
        row["metadata"]["fallback_of"] for row in rows[1:]
    ]
    assert 0 == await gateway.count("gateway.fallbacks")


async def test_canceled(gateway: Gateway, ask: Ask) -> None:
    """Whoever cancels a message wants nothing instead."""
    first = await send(ask, "sms", ADA, **SMS)
    assert 200 == (await ask("POST", f"/v1/messages/{first['id']}/cancel")).status
    await late(gateway)

    assert 0 == await follow(gateway)
    assert [("sms", "canceled")] == await shown(ask)
    assert 0 == await gateway.count("gateway.fallbacks")


async def test_a_report_that_comes_meanwhile(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What is stored as delivered while its follower is being stored has none."""
    first = await send(ask, "sms", ADA, **SMS)
    await step(api.worker(gateway))
    await late(gateway)
    async with gateway.database.as_service() as db:
        # as a report does that is not committed yet
        statement = "UPDATE messages SET status = 'delivered' WHERE id = $1"
        await db.execute(statement, first["id"])
        following = asyncio.create_task(follow(gateway))
        await asyncio.sleep(0.2)

    assert 0 == await following
    assert [("sms", "delivered")] == await shown(ask)


async def test_a_failure_that_comes_meanwhile_waits_for_nobody(gateway: Gateway, ask: Ask) -> None:
    """Whoever stores it does not wait for a worker that is just following the message."""
    first = await send(ask, "sms", ADA, **SMS)
    failed = "UPDATE messages SET status = 'failed' WHERE id = $1"
    async with gateway.database.as_service() as worker:
        await worker.fetch("SELECT FROM gateway.fallbacks FOR UPDATE")
        async with asyncio.timeout(2), gateway.database.as_service() as db:
            await db.execute(failed, first["id"])


async def test_what_another_program_holds(gateway: Gateway, ask: Ask) -> None:
    """A locked message keeps the others waiting for seconds, and is followed once it is free."""
    held = await send(ask, "sms", ADA, **SMS)
    await send(ask, "sms", ADA, **SMS)
    await late(gateway)
    async with gateway.database.as_service() as db:
        await db.fetch("SELECT FROM messages WHERE id = $1 FOR UPDATE", held["id"])
        assert 0 == await follow(gateway)
        soon = "UPDATE gateway.fallbacks SET due_at = now() WHERE due_at < now() + interval '4 s'"
        await run(gateway, soon)
        assert 1 == await follow(gateway)
    await late(gateway)
    assert 1 == await follow(gateway)


async def test_it_has_expired(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What would begin after `expires_at` is not begun, and the message says so."""
    first = await send(ask, "sms", ADA, **SMS, expires_at="2090-01-01T00:00:00Z")
    await run(gateway, "UPDATE messages SET expires_at = now()")
    await step(api.worker(gateway))

    assert 0 == await follow(gateway)
    assert [("sms", "failed")] == await shown(ask)
    assert {"step": 0, "reason": "failed"} == await event(ask, first, "fallback_expired")


async def test_what_was_deleted_since(gateway: Gateway, ask: Ask, ada: dict[str, Any]) -> None:
    """A lead or a template may be gone when its step is due: it is sent as it was accepted."""
    template = {"name": "t", "type": "sms", "content": "Dear {{ name }}"}
    made = (await ask("POST", "/v1/templates", template)).body
    steps = [{"channel": "sms", "template": "t", "after": 9}]
    more = {"fallback": steps, "variables": {"name": "Ada"}}
    await send(ask, "sms", ADA, body="Hello", **more)
    await late(gateway)
    await run(gateway, "DELETE FROM leads WHERE id = $1", ada["id"])
    await run(gateway, "DELETE FROM message_templates WHERE id = $1", made["id"])

    assert 1 == await follow(gateway)
    (_, second) = await outbound(ask)
    assert (None, None, "Dear Ada") == (
        second["lead_id"],
        second["template_id"],
        second["body"],
    )


async def test_a_retry_is_followed_by_nothing(gateway: Gateway, ask: Ask, api: Api) -> None:
    """The failed message's fallback goes on; its retry has none, nor what else we note of it."""
    first = await send(ask, "sms", ADA, **SMS)
    refuse_sms(api)
    await step(api.worker(gateway))
    assert 202 == (await ask("POST", f"/v1/messages/{first['id']}/retry")).status
    assert 1 == await follow(gateway)
    second = (await outbound(ask))[-1]
    await step(api.worker(gateway))
    again = await ask("POST", f"/v1/messages/{second['id']}/retry")
    assert (202, {}) == (again.status, again.body["metadata"])
    assert 0 == await gateway.count("gateway.fallbacks")
