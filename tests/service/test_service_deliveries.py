"""Events are told to subscriptions: each at least once, with one id, whoever dies in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from aiohttp import web

from gateway.store import reports
from gateway.store.reports import Event, event_id
from tests.servers import serving
from tests.service.receiving import (
    QUICK,
    Receiver,
    Told,
    report,
    send,
    settled,
    subscribe,
    subscription,
    telling,
)

if TYPE_CHECKING:
    from gateway.config import Settings
    from tests.service.conftest import Gateway


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A service that subscribes."""
    async with serving(Receiver()) as receiver:
        yield receiver


@pytest.fixture
def settings(settings: Settings, receiver: Receiver) -> Settings:
    """Settings of an operator who lets subscriptions lead to the receiver."""
    return settings.model_copy(update={"gateway_subscription_origins": (receiver.url,)})


async def pending(gateway: Gateway) -> Any:
    """How many events are still to be told, of all subscriptions."""
    return await gateway.count("gateway.deliveries")


async def test_the_life_of_a_message(gateway: Gateway, receiver: Receiver) -> None:
    """Each thing that happens after it subscribed is told, signed, with when it happened and the
    message as it is; what happened before is not."""
    await send(gateway, "before")
    made = await subscribe(gateway)
    (sent,) = await send(gateway, "Grüße")
    await report(gateway, sent, "sent")
    async with telling(gateway):
        await receiver.has(2)
        await report(gateway, sent, None, "Link clicked!")
        await report(gateway, sent, "delivered")
        told = await receiver.has(4)
        after = await settled(gateway, made, pending=0)

    told.sort(key=lambda each: each.event["timestamp"])  # they are sent side by side
    assert ["message.accepted", "message.sent", "message.link_clicked_", "message.delivered"] == [
        each.event["type"] for each in told
    ]
    for each in told:
        each.verify(made.body["secret"])
        assert {"type", "timestamp", "data"} == each.event.keys()
        assert "application/json" == each.headers["content-type"]
    message = (await gateway.ask("GET", f"/v1/messages/{sent}")).body
    last = next(each.event for each in told if each.event["type"] == "message.delivered")
    assert message == last["data"]
    assert last["timestamp"].endswith("Z")
    assert 4 == len({each.id for each in told})
    assert (None, True) == (after["last_failure_at"], after["last_success_at"] is not None)


async def test_a_status_is_told_once(gateway: Gateway, receiver: Receiver) -> None:
    """What we have told is not told again because the provider reports it, then or later; only a
    message that waits, or is tried, again is told so again."""
    made = await subscribe(gateway)
    (sent,) = await send(gateway, "x")
    await report(gateway, sent, "sent")
    await report(gateway, sent, "sent", "reported before it is told")
    async with telling(gateway):
        await receiver.has(2)
        await report(gateway, sent, "sent", "reported after it is told")
        await report(gateway, sent, "unknown", "once")
        await report(gateway, sent, "unknown", "twice")
        await report(gateway, sent, "delivered")
        told = await receiver.has(5)
        await settled(gateway, made, pending=0)

    assert len(receiver.told) == 5
    types = Counter(each.event["type"].removeprefix("message.") for each in told)
    assert Counter(accepted=1, sent=1, unknown=2, delivered=1) == types
    assert len({each.id for each in told}) == 5


async def test_only_what_was_asked_for(gateway: Gateway, receiver: Receiver) -> None:
    """A subscription that names events is told these; another one of the organization all; of
    another organization's messages neither hears."""
    await subscribe(gateway, "/some", events=["message.delivered", "conversation.updated"])
    await subscribe(gateway, "/all")
    (sent,) = await send(gateway, "mine")
    await send(gateway, "theirs", key=gateway.b.key)
    await report(gateway, sent, "delivered")
    conversation = (await gateway.ask("GET", "/v1/conversations")).body["data"][0]
    await gateway.ask("PATCH", f"/v1/conversations/{conversation['id']}", {"status": "closed"})
    async with telling(gateway):
        some, everything = await receiver.has(2, "/some"), await receiver.has(3, "/all")
        while await pending(gateway):  # noqa: ASYNC110 - a table
            await asyncio.sleep(0.02)

    assert {"message.delivered", "conversation.updated"} == {e.event["type"] for e in some}
    assert ["conversation.updated", "message.accepted", "message.delivered"] == sorted(
        each.event["type"] for each in everything
    )
    assert 5 == len(receiver.told)
    updated = next(e.event for e in some if e.event["type"] == "conversation.updated")
    assert (conversation["id"], "closed") == (updated["data"]["id"], updated["data"]["status"])


async def test_what_fails_is_told_again(gateway: Gateway, receiver: Receiver) -> None:
    """With the same id, until it is taken; a redirect is a failure, and not followed."""
    answers = iter(
        [
            web.Response(status=500, text="x" * 100_000),
            web.Response(status=307, headers={"Location": f"{receiver.url}/elsewhere"}),
            web.Response(status=200, text="x" * 100_000),
        ]
    )
    receiver.answer = lambda _: next(answers)
    made = await subscribe(gateway)
    await send(gateway, "Hello")
    async with telling(gateway):
        told = await receiver.has(3)
        after = await settled(gateway, made, pending=0)

    assert 1 == len({each.id for each in told})
    assert {"/"} == {each.path for each in receiver.told}
    assert "Its server answered 307." == after["last_error"]
    assert after["last_success_at"] > after["last_failure_at"]


async def test_a_worker_that_dies_before_it_was_noted(gateway: Gateway, receiver: Receiver) -> None:
    """The event is told once more after the lease, with the same id: never lost."""
    receiver.hanging.add("/")
    made = await subscribe(gateway)
    await send(gateway, "Hello")
    patience = replace(QUICK, lease=0.3)
    async with telling(gateway, patience):
        await receiver.has(1)
        # As it is left by a process that is killed: nobody gives it back.
        async with gateway.database.as_service() as db:
            await db.execute("UPDATE gateway.deliveries SET attempts = attempts + 1")
    receiver.hanging.clear()
    assert 1 == (await subscription(gateway, made))["pending"]
    async with telling(gateway, patience):
        first, second = (await receiver.has(2))[:2]
        await settled(gateway, made, pending=0)

    assert (first.id, first.raw) == (second.id, second.raw)


async def test_a_worker_that_stops_leaves_it_to_others(
    gateway: Gateway, receiver: Receiver
) -> None:
    """What is under way is given back when it is cut: another worker has it at once."""
    receiver.hanging.add("/")
    made = await subscribe(gateway)
    await send(gateway, "Hello")
    async with telling(gateway) as running:
        await receiver.has(1)
        running.cancel()
    receiver.hanging.clear()
    async with telling(gateway), asyncio.timeout(5):
        await receiver.has(2)
        await settled(gateway, made, pending=0)


async def test_410_ends_a_subscription(gateway: Gateway, receiver: Receiver) -> None:
    """Nothing more is told, and it says why; activated again it goes on from where it stopped."""
    receiver.answer = lambda _: web.Response(status=410)
    made = await subscribe(gateway)
    await send(gateway, "one")
    async with telling(gateway):
        off = await settled(gateway, made, is_active=False)
        await send(gateway, "two")
        await asyncio.sleep(0.1)
    assert 1 == len(receiver.told)
    assert "Its server answered 410: it wants no more events." == off["disabled_reason"]

    receiver.answer = lambda _: web.Response()
    on = await gateway.ask("PATCH", f"/v1/subscriptions/{made.body['id']}", {"is_active": True})
    async with telling(gateway):
        told = await receiver.has(3)
    assert (True, None) == (on.body["is_active"], on.body["disabled_reason"])
    assert "one" == told[0].body
    assert ["one", "two"] == sorted(each.body for each in told[1:])
    assert [told[0].id] == [each.id for each in told[1:] if each.body == "one"]


async def test_who_asks_to_wait_is_left_alone(gateway: Gateway, receiver: Receiver) -> None:
    """Retry-After holds for all that this receiver is to be told."""
    receiver.answer = lambda _: web.Response(status=429, headers={"Retry-After": "600"})
    made = await subscribe(gateway)
    await send(gateway, "one")
    async with telling(gateway):
        await settled(gateway, made, last_error="Its server answered 429.")
        await send(gateway, "two")
        await settled(gateway, made, pending=2)
        await asyncio.sleep(0.1)
    async with gateway.database.as_service() as db:
        due = await db.fetchval("SELECT max(due_at) > now() + '9 min' FROM gateway.deliveries")
    assert (1, True) == (len(receiver.told), due)


async def test_nobody_takes_anything_for_days(gateway: Gateway, receiver: Receiver) -> None:
    """After ten failures in a row, over as long as there are retries, the subscription is off; what
    waits is kept."""
    receiver.answer = lambda _: web.Response(status=503)
    made = await subscribe(gateway)
    await send(gateway, "one")
    async with telling(gateway):
        off = await settled(gateway, made, is_active=False)

    assert 10 == len(receiver.told)
    assert 1 == len({each.id for each in receiver.told})
    assert "No attempt has succeeded in 0 hours: Its server answered 503." == off["disabled_reason"]
    assert 1 == off["pending"]


async def test_a_late_failure_at_the_former_url(gateway: Gateway, receiver: Receiver) -> None:
    """It says nothing of the URL that the subscription has been led to meanwhile."""
    receiver.hanging.add("/old")
    receiver.answer = lambda told: web.Response(status=500 if told.path == "/old" else 204)
    made = await subscribe(gateway, "/old", events=["message.accepted"])
    await send(gateway, "Hello")
    async with telling(gateway, replace(QUICK, seconds=20, waits=(), last=10)):
        await receiver.has(1)
        url = receiver.url + "/new"
        await gateway.ask("PATCH", f"/v1/subscriptions/{made.body['id']}", {"url": url})
        await receiver.has(1, "/new")
        await settled(gateway, made, pending=0)
        receiver.go_on.release()
    after = await subscription(gateway, made)  # what was under way has ended
    assert (True, None, None) == (after["is_active"], after["last_error"], after["last_failure_at"])


async def test_one_event_that_is_never_taken(gateway: Gateway, receiver: Receiver) -> None:
    """It is given up after its last retry, where others are taken meanwhile."""

    def answer(told: Told) -> web.Response:
        return web.Response(status=500 if told.body == "poison" else 200)

    receiver.answer = answer
    made = await subscribe(gateway, events=["message.accepted"])
    await send(gateway, "poison")
    async with telling(gateway):
        for n in range(30):
            await send(gateway, str(n))
            await asyncio.sleep(0.02)
            if 10 == [each.body for each in receiver.told].count("poison"):
                break
        after = await settled(gateway, made, pending=0)

    assert 10 == [each.body for each in receiver.told].count("poison")
    assert after["is_active"]


async def test_workers_that_died_with_it_are_no_attempts(
    gateway: Gateway, receiver: Receiver
) -> None:
    """An event is given up for what its receiver answered ten times, however many workers died
    while they had it; one that begins anew has all its attempts again."""
    made = await subscribe(gateway, events=["message.accepted"])
    path = f"/v1/subscriptions/{made.body['id']}"
    receiver.answer = lambda _: web.Response(status=410)
    await send(gateway, "poison")
    async with telling(gateway):
        await settled(gateway, made, is_active=False)
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.deliveries SET failures = 9")
    receiver.answer = lambda told: web.Response(status=500 if told.body == "poison" else 200)
    await gateway.ask("PATCH", path, {"is_active": True})
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.deliveries SET attempts = 12")
    receiver.told.clear()
    async with telling(gateway):
        for n in range(30):
            await send(gateway, str(n))
            await asyncio.sleep(0.02)
            if 10 == [each.body for each in receiver.told].count("poison"):
                break
        await settled(gateway, made, pending=0)

    assert 10 == [each.body for each in receiver.told].count("poison")


async def test_what_was_begun_first_and_ended_last(gateway: Gateway, receiver: Receiver) -> None:
    """The state with the newest time is the one that the message is in, also where the change that
    began first is the last one to be stored."""
    await subscribe(gateway)
    (sent,) = await send(gateway, "Hello")
    event = Event(
        organization_id=gateway.a.organization_id,
        message_id=UUID(sent),
        id=event_id(UUID(sent), "delivered"),
        type="delivered",
        status="delivered",
        source="test",
    )
    async with telling(gateway):
        async with gateway.database.as_service() as db:
            await report(gateway, sent, "sent")
            await receiver.has(2)
            await reports.record(db, [event])
        told = [each.event["data"] for each in await receiver.has(3)]

    newest = max(told, key=lambda data: str(data["updated_at"]))
    assert ("delivered", 3) == (newest["status"], len(told))
    shown = (await gateway.ask("GET", f"/v1/messages/{sent}")).body
    assert shown["updated_at"] == newest["updated_at"]


async def test_both_secrets_sign_after_a_change(gateway: Gateway, receiver: Receiver) -> None:
    """The new secret is shown to nobody, and signs beside the one before it."""
    made = await subscribe(gateway)
    path = f"/v1/subscriptions/{made.body['id']}"
    other = "whsec_" + "bmV3" * 8
    changed = await gateway.ask("PATCH", path, {"secret": other})
    await send(gateway, "Hello")
    async with telling(gateway):
        (told,) = await receiver.has(1)

    assert (200, True, False) == (
        changed.status,
        changed.body["former_until"] is not None,
        "secret" in changed.body,
    )
    told.verify(other)
    told.verify(made.body["secret"])


async def test_two_workers_share_the_work(gateway: Gateway, receiver: Receiver) -> None:
    """Of many events each is told once, whichever worker planned it and whichever tells it."""
    await subscribe(gateway, events=["message.accepted"])
    batch = {"messages": [{"channel": "sms", "to": "+447700900123", "body": "x"}] * 60}
    async with telling(gateway), telling(gateway):
        for _ in range(2):
            await gateway.ask("POST", "/v1/messages/batch", batch)
        told = await receiver.has(120)
        await asyncio.sleep(0.1)
    assert (120, 120) == (len(receiver.told), len({each.id for each in told}))


async def test_nothing_is_missed_while_nobody_works(gateway: Gateway, receiver: Receiver) -> None:
    """Events of a pause are told after it, also those of a transaction that was open all the time;
    where many wait no more are planned, and none of these is missed either."""
    made = await subscribe(gateway, events=["message.accepted"])
    async with telling(gateway):
        await send(gateway, "first")
        await receiver.has(1)
    async with gateway.database.as_service() as late:
        await late.execute(
            "INSERT INTO gateway.message_events"
            " (organization_id, message_id, id, type, status, occurred_at, source)"
            " SELECT organization_id, id, gen_random_uuid(), 'late', NULL, now(), 'test'"
            " FROM messages WHERE organization_id = $1 AND body = 'first'",
            gateway.a.organization_id,
        )
        batch = {"messages": [{"channel": "sms", "to": "+447700900123", "body": "x"}] * 40}
        await gateway.ask("POST", "/v1/messages/batch", batch)
        receiver.answer = lambda _: web.Response(status=429, headers={"Retry-After": "1"})
        async with telling(gateway, most_waiting=10):
            await receiver.has(2)
            await gateway.ask("POST", "/v1/messages/batch", batch)
            await asyncio.sleep(0.1)
            assert 40 == (await subscription(gateway, made))["pending"]
        receiver.answer = lambda _: web.Response()
        path = f"/v1/subscriptions/{made.body['id']}"
        await gateway.ask("PATCH", path, {"events": []})
    await gateway.ask("PATCH", path, {"is_active": False})
    await gateway.ask("PATCH", path, {"is_active": True})
    receiver.told.clear()
    async with telling(gateway):
        await receiver.has(81)
        await settled(gateway, made, pending=0)
    names = [each.event["type"] for each in receiver.told]
    assert (80, 1) == (names.count("message.accepted"), names.count("message.late"))


async def test_one_tenant_that_hangs_holds_up_no_other(
    gateway: Gateway, receiver: Receiver
) -> None:
    """One organization's receivers do not answer, and much waits for them: another's is told."""
    paths = [f"/{n}" for n in range(6)]
    receiver.hanging.update(paths)
    for path in paths:
        await subscribe(gateway, path, events=["message.accepted"])
    await subscribe(gateway, "/quick", key=gateway.b.key)
    batch = {"messages": [{"channel": "sms", "to": "+447700900123", "body": "x"}] * 20}
    await gateway.ask("POST", "/v1/messages/batch", batch)
    async with telling(gateway):
        await receiver.has(32)
        await send(gateway, "theirs", key=gateway.b.key)
        async with asyncio.timeout(2):
            await receiver.has(1, "/quick")
        running = [each for each in receiver.told if each.path in paths]
    assert 32 == len(running)


async def test_what_is_gone_is_not_told(gateway: Gateway, receiver: Receiver) -> None:
    """A message that was deleted before it was told of is dropped; a subscription that is deleted
    takes along what waits for it."""
    made = await subscribe(gateway, events=["message.accepted"])
    other = await subscribe(gateway, "/other", events=["message.accepted"])
    receiver.hanging.update(["/", "/other"])
    await send(gateway, "one", "two")
    async with telling(gateway, replace(QUICK, seconds=20)):
        first = await receiver.has(4)
        receiver.answer = lambda told: web.Response(
            status=500 if any(told is each for each in first) else 204
        )
        async with gateway.database.as_service() as db:
            await db.execute("DELETE FROM messages WHERE body = 'one'")
        gone = await gateway.ask("DELETE", f"/v1/subscriptions/{other.body['id']}")
        receiver.hanging.clear()
        for _ in first:
            receiver.go_on.release()
        await settled(gateway, made, pending=0)
    assert (204, 0) == (gone.status, await pending(gateway))
    assert ["two"] == [each.body for each in receiver.told[4:]]


async def test_a_secret_that_does_not_open(gateway: Gateway, receiver: Receiver) -> None:
    """Its event waits, and is told when the key is back; no other subscription waits with it."""
    made = await subscribe(gateway)
    await subscribe(gateway, "/other")
    await send(gateway, "Hello")
    async with gateway.database.as_service() as db:
        sealed = await db.fetchval(
            "UPDATE gateway.subscriptions SET credentials = 'odd' WHERE id = $1 RETURNING"
            " (SELECT credentials FROM gateway.subscriptions WHERE id = $1)",
            made.body["id"],
        )
    async with telling(gateway):
        await receiver.has(1, "/other")
        await settled(
            gateway, made, last_error="The gateway cannot open the secret of this subscription."
        )
        async with gateway.database.as_service() as db:
            await db.execute(
                "UPDATE gateway.subscriptions SET credentials = $2 WHERE id = $1",
                made.body["id"],
                sealed,
            )
        (told,) = await receiver.has(1, "/")
    told.verify(made.body["secret"])


async def test_a_restored_database_begins_anew(gateway: Gateway, receiver: Receiver) -> None:
    """A position of another cluster, which is ahead of this one's, holds up nothing; that of a
    subscription that is off is not taken for one of this cluster's later."""
    await subscribe(gateway, events=["message.accepted"])
    off = await subscribe(gateway, "/off")
    await gateway.ask("PATCH", f"/v1/subscriptions/{off.body['id']}", {"is_active": False})
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.subscriptions SET snapshot = '900000000:900000000:'")
    behind = "gateway.subscriptions WHERE pg_snapshot_xmax(snapshot) = '900000000'"
    async with telling(gateway):
        async with asyncio.timeout(5):
            while await gateway.count(behind):  # noqa: ASYNC110 - a table
                await asyncio.sleep(0.02)
        await send(gateway, "Hello")
        (told,) = await receiver.has(1)
    assert "Hello" == told.body
