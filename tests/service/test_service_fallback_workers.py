"""Fallbacks of many: how workers share their time, and what they do if something is in the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from channels.moment import Moment
from gateway.accept.falling_back import FallingBack
from gateway.observability.metrics import Metrics
from gateway.store import queue
from tests.service.falling import ADA, MAIL, SMS, event, follow, known, late, outbound, run, shown
from tests.service.wires import send, step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

WAITING = """SELECT max(pid) FROM pg_stat_activity
  WHERE wait_event_type = 'Lock' AND datname = current_database()"""

# Which plans the transactions may have that store messages.
NOTE_PLANS = """CREATE FUNCTION public.note_plans() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    CREATE TABLE IF NOT EXISTS public.plans (made text);
    INSERT INTO public.plans VALUES (concat_ws(' ', current_setting('plan_cache_mode'),
      current_setting('enable_seqscan'), current_setting('enable_bitmapscan')));
    RETURN NEW;
  END $$"""
NOTED = """CREATE TRIGGER note_plans BEFORE INSERT ON public.messages
  FOR EACH ROW EXECUTE FUNCTION public.note_plans()"""


@pytest.fixture(autouse=True)
async def ada(gateway: Gateway, ask: Ask, api: Api) -> dict[str, Any]:
    """A lead who has a number and a mailbox."""
    return await known(gateway, ask, api)


async def test_organizations_take_turns(gateway: Gateway, ask: Ask) -> None:
    """Who has one message does not wait for all of somebody else's that were due before."""
    many = {"messages": [{"channel": "sms", "to": ADA} | SMS] * 9}
    assert 207 == (await ask("POST", "/v1/messages/batch", many)).status
    await late(gateway)
    again = {"body": "Hello", "fallback": [{"channel": "sms", "after": 9, "body": "Again"}]}
    one = {"channel": "sms", "to": ADA} | again
    assert 202 == (await ask("POST", "/v1/messages", one, key=gateway.b.key)).status
    await run(gateway, "UPDATE gateway.fallbacks SET due_at = now() WHERE due_at > now()")
    order = """SELECT array_agg(organization_id ORDER BY created_at, organization_id)
      FROM messages WHERE metadata ? 'fallback_of'"""

    assert 10 == await FallingBack(gateway.database, Metrics(), at_once=4).follow()

    assert gateway.b.organization_id in (await run(gateway, order))[:3]


async def test_plans_that_are_made_once(gateway: Gateway, ask: Ask) -> None:
    """They are for the look at what is due: what is stored then is planned for what there is."""
    await run(gateway, NOTE_PLANS)
    await run(gateway, NOTED)
    await send(ask, "sms", ADA, **SMS)
    await late(gateway)
    assert 1 == await follow(gateway)
    assert ["auto on on"] * 2 == await run(gateway, "SELECT array_agg(made) FROM public.plans")


async def test_a_statement_that_is_ended(gateway: Gateway, ask: Ask) -> None:
    """As one that takes too long: the message that it was about delays the others by seconds."""
    held = await send(ask, "sms", ADA, **SMS)
    await send(ask, "sms", ADA, **SMS)
    await late(gateway)
    async with gateway.database.as_service() as db:
        await db.fetch("SELECT FROM messages WHERE id = $1 FOR UPDATE", held["id"])
        following = asyncio.create_task(follow(gateway))
        ended = 0
        while not following.done():
            if pid := await run(gateway, WAITING):
                ended += await run(gateway, "SELECT pg_cancel_backend($1)::int", pid)
            await asyncio.sleep(0.05)
    assert 0 == await following
    assert 2 <= ended
    soon = "UPDATE gateway.fallbacks SET due_at = now() WHERE due_at < now() + interval '4 s'"
    await run(gateway, soon)
    assert 1 == await follow(gateway)
    left = "SELECT extract(epoch FROM due_at - now()) FROM gateway.fallbacks WHERE message_id = $1"
    assert 30 < await run(gateway, left, held["id"]) <= 60


async def test_a_lead_that_another_program_holds(
    gateway: Gateway, ask: Ask, ada: dict[str, Any]
) -> None:
    """Its message is stored all the same, and its last contact noted once it is free."""
    await send(ask, "sms", ADA, **SMS)
    await late(gateway)
    await run(gateway, "UPDATE leads SET last_contacted_at = NULL")
    falling_back = FallingBack(gateway.database, Metrics())
    async with gateway.database.as_service() as db:
        await db.fetch("SELECT FROM leads WHERE id = $1 FOR NO KEY UPDATE", ada["id"])
        assert 1 == await falling_back.follow()
    await falling_back.close()
    assert await run(gateway, "SELECT last_contacted_at IS NOT NULL FROM leads")


async def test_what_is_refused_for_now_when_its_time_ends(
    gateway: Gateway, ask: Ask, api: Api
) -> None:
    """A message that is with its provider when something else is sent instead, and that the
    provider then does not take, leaves no more: nobody gets both."""
    first = await send(ask, "sms", ADA, **SMS)

    api.says(429, {"code": 20429, "message": "Too many", "status": 429})
    worker = api.worker(gateway)
    (turn,) = await worker.claim(1)
    await late(gateway)
    assert 1 == await follow(gateway)
    await worker.work(turn)
    assert [("sms", "sending"), ("email", "pending")] == await shown(ask)
    api.says(202, None, **{"X-Message-Id": "sg-1"})
    await run(gateway, "UPDATE gateway.queue SET run_at = now()")
    await step(worker)

    assert [("sms", "canceled"), ("email", "sent")] == await shown(ask)
    assert 1 == len([request for request, _ in api.asked if request.path.startswith("/2010")])
    assert "fallback" == (await event(ask, first, "canceled"))["reason"]


@pytest.mark.parametrize("how", ["stopped", "frozen", "dead", "earlier version"])
async def test_what_was_given_back_when_its_time_ended(
    gateway: Gateway, ask: Ask, api: Api, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A message that a worker had taken up, and did not begin, leaves no more once something else
    was sent instead, whatever became of that worker: nobody gets both."""
    to_them = {"channel": "sms", "after": 60, "to": ADA}
    first = await send(ask, "email", MAIL, subject="S", body="Hello", fallback=[to_them])
    worker = api.worker(gateway)
    (turn,) = await worker.claim(1)
    await late(gateway)
    assert 1 == await follow(gateway)
    if how == "frozen":
        with monkeypatch.context() as patch:
            patch.setattr(Moment, "age", lambda _: 600)
            await worker.work(turn)
    elif how == "dead":
        await run(gateway, "UPDATE gateway.queue SET lease_until = now() WHERE lease_id NOTNULL")
    else:
        await worker.give_back([turn])
    if how == "earlier version":
        await run(gateway, "UPDATE gateway.queue SET claims = 0")
    while await step(api.worker(gateway)):
        pass

    assert [("email", "canceled"), ("sms", "sent")] == await shown(ask)
    assert [] == [request.path for request, _ in api.asked if "2010" not in request.path]
    assert "fallback" == (await event(ask, first, "canceled"))["reason"]


async def test_what_is_claimed_for_the_first_time(
    gateway: Gateway, ask: Ask, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not looked at once more: nothing can have been sent instead."""
    monkeypatch.setattr(queue, "as_it_is", None)
    await send(ask, "sms", ADA, **SMS)
    await step(api.worker(gateway))
    assert [("sms", "sent")] == await shown(ask)


@pytest.mark.parametrize("age", [0.5, 2])
async def test_what_waited_for_its_turn_when_its_time_ended(
    gateway: Gateway, ask: Ask, api: Api, monkeypatch: pytest.MonkeyPatch, age: float
) -> None:
    """What a worker holds until its sender's turn comes is looked at once more before it leaves, if
    it has waited for long."""
    await send(ask, "sms", ADA, **SMS)
    worker = api.worker(gateway)
    (turn,) = await worker.claim(1)
    await late(gateway)
    assert 1 == await follow(gateway)
    monkeypatch.setattr(Moment, "age", lambda _: age)
    await worker.work(turn)

    assert ("sms", "canceled" if age > 1 else "sent") == (await shown(ask))[0]


async def test_what_its_provider_does_not_have(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Where an answer was lost, and something else was sent instead, nothing is sent once more."""
    first = await send(ask, "sms", ADA, **SMS)
    api.says(502)
    await step(api.worker(gateway))
    await late(gateway)
    assert 1 == await follow(gateway)
    # as after the provider was asked
    await run(gateway, "UPDATE gateway.queue SET phase = 'send', run_at = now()")
    asked = len(api.asked)
    api.says(202, None, **{"X-Message-Id": "sg-1"})

    await step(api.worker(gateway))

    assert [("sms", "failed"), ("email", "sent")] == await shown(ask)
    assert ["/v3/mail/send"] == [request.path for request, _ in api.asked[asked:]]
    assert "fallback" == (await outbound(ask))[0]["error_code"]
    assert "fallback" == (await event(ask, first, "failed"))["error_code"]
