"""Short requests whose messages become large once they are rendered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from channels.lines import Places
from channels.model import Channel
from channels.rendering.renderer import Renderer
from gateway.accept import storing
from gateway.accept.allowance import large_places
from gateway.accept.drafting import Drafting
from gateway.ids import new_id
from gateway.problems import Problem
from gateway.shapes.messages import SendRequest
from gateway.store.database import ApiKey
from tests.rendering.measuring import measured
from tests.service.wires import connect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.service.conftest import Answer, Ask, Gateway

MAIL = {"channel": "email", "subject": "Hi"}
GROWS = "{% for each in range(times) %}{{ x }}{% endfor %}"
# Each row that is stored takes a while, the longer the larger it is.
SLOW = """
CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_sleep(length(NEW.body) / TG_ARGV[0]::float);
  RETURN NEW;
END $$;
CREATE TRIGGER take_long BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION take_long({});
"""
STORING = """
SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND pid <> pg_backend_pid()
"""
TRANSACTIONS = """
SELECT count(DISTINCT xmin::text) FROM messages WHERE to_address = 'bob@customer.example'
"""


async def growing(ask: Ask) -> None:
    """A template that makes much of little."""
    template = {"name": "grows", "type": "email", "subject": "Hi", "content": GROWS}
    assert 201 == (await ask("POST", "/v1/templates", template)).status


def large(n: int, kilobytes: int, to: str = "ada") -> dict[str, Any]:
    """One message with a text of so many kilobytes."""
    variables = {"times": kilobytes, "x": f"{n:04}".ljust(1000, "x")}
    mail = {"channel": "email", "to": f"{to}@customer.example", "template": "grows"}
    return mail | {"variables": variables}


async def slow(gateway: Gateway, characters: float = 4e6) -> None:
    """From now on it takes long to store what is large: a second for so many characters."""
    async with gateway.database.as_service() as db:
        await db.execute("RESET ROLE")
        await db.execute(SLOW.format(characters))


async def begun(gateway: Gateway, transactions: int) -> None:
    """Wait until so many are being stored."""
    count = 0
    async with asyncio.timeout(20), gateway.database.as_service() as db:
        await db.execute("RESET ROLE")
        while count < transactions:
            count = await db.fetchval(STORING)
            await db.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(0.02)")


@pytest.mark.parametrize(("most_bytes", "composed"), [(1, 1), (100, 1), (101, 2), (250, 3)])
async def test_what_one_request_may_come_to(
    gateway: Gateway, most_bytes: int, composed: int
) -> None:
    """Once a request's messages have come to as much as they may together, the others are not
    composed, and each says so beside whatever else is wrong with it; nothing before them is."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    caller = ApiKey(id=new_id(), organization_id=gateway.a.organization_id, is_test=False)
    mail = {**MAIL, "body": "ö" * 10, "html_body": "<p>" + "x" * 71 + "</p>"}  # of 100 bytes
    requests = [
        SendRequest.model_validate(mail | {"to": to}, strict=False)
        for to in ("ada@customer.example", "bob@customer.example", "eve@customer.example", "none")
    ]
    async with Renderer() as renderer:
        drafting = Drafting(gateway.database, renderer, most_bytes=most_bytes)
        drafts = await drafting.read(caller, requests)
    assert [True] * composed + [False] * (4 - composed) == [bool(each.content) for each in drafts]
    wrong = [{error.field: error.message for error in each.errors} for each in drafts]
    assert [set()] * composed + [{"body"}] * (3 - composed) == [set(each) for each in wrong[:3]]
    assert {"to", "body"} == set(wrong[3])
    assert "with another request" in wrong[3]["body"]


async def test_large_requests_take_turns(gateway: Gateway) -> None:
    """A request that becomes large goes on when one of few places is free, and is to be sent again
    where too many wait for one; a small one needs none."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    caller = ApiKey(id=new_id(), organization_id=gateway.a.organization_id, is_test=False)
    mail = {**MAIL, "to": "ada@customer.example", "body": "x" * 2**20, "html_body": "y" * 2**20}
    request = SendRequest.model_validate(mail, strict=False)
    places = Places(1, room=0)
    async with Renderer() as renderer:
        drafting = Drafting(gateway.database, renderer, places=places)
        await places.take("another", None)
        assert [True] * 2 == [
            bool(each.content) for each in await drafting.read(caller, [request] * 2)
        ]
        with pytest.raises(Problem, match="503"):
            await drafting.read(caller, [request] * 3)
        places.give("another")
        for _ in range(2):
            assert 3 == len(await drafting.read(caller, [request] * 3))


async def test_large_requests_of_one_organization(gateway: Gateway) -> None:
    """A second large request of an organization waits for its first, and keeps no place from
    another's."""
    mail = {**MAIL, "to": "ada@customer.example", "body": "x" * 2**20, "html_body": "y" * 2**20}
    requests = [SendRequest.model_validate(mail, strict=False)] * 3
    a, b = [
        ApiKey(id=new_id(), organization_id=tenant.organization_id, is_test=False)
        for tenant in (gateway.a, gateway.b)
    ]
    places = large_places()
    async with Renderer() as renderer:
        drafting = Drafting(gateway.database, renderer, places=places)
        await places.take(a.organization_id, None)
        seconds = [asyncio.create_task(drafting.read(a, requests)) for _ in range(2)]
        done, _ = await asyncio.wait(seconds, timeout=0.5)
        assert not done
        async with asyncio.timeout(10):
            assert 3 == len(await drafting.read(b, requests))
        places.give(a.organization_id)
        assert [3, 3] == [len(drafts) for drafts in await asyncio.gather(*seconds)]


class Late(Renderer):
    """Renders what is late after a while."""

    async def render(self, source: str, variables: Mapping[str, Any], *, html: bool = False) -> str:
        if source == "late":
            await asyncio.sleep(1.6)
        return await super().render(source, variables, html=html)


async def test_the_time_of_a_large_request(gateway: Gateway, ask: Ask) -> None:
    """A request that becomes large has as much time for rendering as any other, in all."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await growing(ask)
    late = {"name": "late", "type": "email", "subject": "Hi", "content": "late"}
    assert 201 == (await ask("POST", "/v1/templates", late)).status
    caller = ApiKey(id=new_id(), organization_id=gateway.a.organization_id, is_test=False)
    mail = {**MAIL, "to": "ada@customer.example", "body": "x" * 2**20, "html_body": "y" * 2**20}
    late = {"channel": "email", "to": "ada@customer.example", "template": "late"}
    requests = [
        SendRequest.model_validate(each, strict=False)
        for each in (late, mail, mail, large(1, 1000))
    ]
    async with Late() as renderer:
        drafting = Drafting(gateway.database, renderer, rendering=1.5)
        *whole, last = await drafting.read(caller, requests)
    assert [()] * 3 == [draft.errors for draft in whole]
    assert ["take more than 1.5 s" in error.message for error in last.errors] == [True]


async def test_a_small_batch_that_becomes_large(gateway: Gateway, ask: Ask) -> None:
    """A batch of a few kilobytes that would become gigabytes is accepted as far as it may go; it
    takes bounded memory, and the event loop has its turns meanwhile."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await growing(ask)
    items = [large(n, 1000, to=f"a{n}") for n in range(600)]
    url, key = f"{gateway.url}/v1/messages/batch", {"Authorization": f"Bearer {gateway.a.key}"}
    async with (
        measured() as cost,
        gateway.http.post(url, json={"messages": items}, headers=key) as answer,
    ):
        raw = await answer.read()
    assert 207 == answer.status
    statuses = [each["status"] for each in orjson.loads(raw)["data"]]
    stored = statuses.count(202)
    assert [202] * stored + [422] * (600 - stored) == statuses
    assert 60 < stored < 75
    assert stored == await gateway.count("messages") == await gateway.count("gateway.queue")
    assert 0.6 > cost.longest_stop  # of many seconds, if all were done at once
    assert 600 > cost.grown_mb


async def test_a_batch_that_is_stored_in_pieces(gateway: Gateway, ask: Ask) -> None:
    """Messages that are too large for one statement are stored in one transaction, in their order:
    the last one is their conversation's last."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await growing(ask)
    said = {"messages": [large(n, 900) for n in range(12)]}
    answer, again = [
        await ask("POST", "/v1/messages/batch", said, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    ]
    (conversation,) = (await ask("GET", "/v1/conversations")).body["data"]

    assert [202] * 12 == [each["status"] for each in answer.body["data"]]
    assert answer.body == again.body
    assert 12 == await gateway.count("messages") == await gateway.count("gateway.message_events")
    assert "0011x" == conversation["last_message"]["body"][:5]


async def test_what_is_large_keeps_nobody_waiting(gateway: Gateway, ask: Ask) -> None:
    """While several large requests of one organization are stored, another's message is, too."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await growing(ask)
    await slow(gateway)
    batches = [
        asyncio.ensure_future(
            ask("POST", "/v1/messages/batch", {"messages": [large(n, 900) for n in range(8)]})
        )
        for _ in range(3)
    ]
    await begun(gateway, 1)
    sms = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
    answers: list[Answer] = [
        await ask("POST", "/v1/messages", sms, key=gateway.b.key) for _ in range(3)
    ]
    assert [202] * 3 == [each.status for each in answers]
    assert not any(batch.done() for batch in batches)
    done = await asyncio.gather(*batches)
    assert [[202] * 8] * 3 == [[each["status"] for each in it.body["data"]] for it in done]


async def test_ordinary_mails_are_stored_together(gateway: Gateway, ask: Ask) -> None:
    """Mails of some tens of kilobytes that wait are stored in one transaction."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await growing(ask)
    await slow(gateway)
    batches = [{"messages": [large(n, 900, to=to) for n in range(5)]} for to in ("ada", "eve")]
    both_lanes = [
        asyncio.ensure_future(ask("POST", "/v1/messages/batch", batch)) for batch in batches
    ]
    await begun(gateway, 2)
    mail = {**MAIL, "to": "bob@customer.example", "body": "x" * 40 * 2**10}
    answers = await asyncio.gather(*(ask("POST", "/v1/messages", mail) for _ in range(40)))
    await asyncio.gather(*both_lanes)
    assert [202] * 40 == [each.status for each in answers]
    async with gateway.database.as_service() as db:
        assert 1 == await db.fetchval(TRANSACTIONS)


async def test_the_room_for_what_waits_to_be_stored(
    gateway: Gateway, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An organization whose texts fill the room until they are stored is refused; within its share
    of it another is not, nor is what is small."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await connect(gateway, "sendgrid", Channel.EMAIL, "desk@other.example", tenant=gateway.b)
    await growing(ask)
    await slow(gateway, 1.5e6)  # longer than a request takes on a busy machine
    monkeypatch.setattr(storing, "_ROOM_BYTES", 6_000_000)
    first = asyncio.ensure_future(
        ask("POST", "/v1/messages/batch", {"messages": [large(n, 900) for n in range(3)]})
    )
    await begun(gateway, 1)
    mail = {"channel": "email", "to": "ada@customer.example", "subject": "Hi"}
    refused = await ask("POST", "/v1/messages", mail | {"body": "x" * 900_000})
    sms = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
    small = await ask("POST", "/v1/messages", sms)
    other = await ask("POST", "/v1/messages", mail | {"body": "x" * 900_000}, key=gateway.b.key)
    assert [503, 202, 202] == [each.status for each in (refused, small, other)]
    assert "Too much waits" in refused.body["detail"]
    assert 207 == (await first).status
    again = await ask("POST", "/v1/messages", mail | {"body": "x" * 900_000})
    assert 202 == again.status
