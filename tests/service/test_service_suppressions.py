"""Who must not be written to: said by people or by hand; and taken back by whom."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from channels.model import Channel
from gateway.ids import new_id
from gateway.store import suppressions
from gateway.store.suppressions import Statement
from tests.service.opting_out import ADA, SMS, meta_says, writes
from tests.service.wires import (
    connect,
    row_of,
    send,
    step,
    suppressed,
)

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api


async def test_stop_and_start(gateway: Gateway, ask: Ask, api: Api) -> None:
    """STOP refuses new messages and fails queued ones; START lifts it; the tenant beside it, and
    other channels, are not touched; HELP and STOP in a sentence say nothing."""
    for number, body in enumerate(("HELP", "please do not STOP"), 50):
        await writes(gateway, body, number)
    assert set() == await suppressed(ask)
    waiting = await send(ask, **SMS)
    await writes(gateway, " Stop. ")
    (row,) = (await ask("GET", "/v1/suppressions")).body["data"]
    assert ("sms", ADA, "stop", "twilio") == (
        row["channel"],
        row["address"],
        row["reason"],
        row["source"],
    )
    assert " Stop. " == row["evidence"]["text"]
    assert f"SM{1:032x}" == row["evidence"]["message"]

    refused = await ask("POST", "/v1/messages", SMS)
    assert (422, {"to"}) == (refused.status, set(refused.fields()))
    assert "STOP" in refused.fields()["to"]
    lead = (
        await ask("POST", "/v1/leads", {"first_name": "A", "last_name": "L", "phone": ADA})
    ).body
    by_lead = {"channel": "sms", "lead_id": lead["id"], "body": "x"}
    assert {"lead_id"} == set((await ask("POST", "/v1/messages", by_lead)).fields())
    checked = (await ask("POST", "/v1/messages/check", SMS)).body
    assert (False, ["to"]) == (checked["ok"], [e["field"] for e in checked["errors"]])
    others = await ask("POST", "/v1/messages", SMS, key=gateway.b.key)
    assert 202 == others.status

    await step(api.worker(gateway))
    failed = await row_of(ask, waiting)
    assert ("failed", "suppressed") == (failed["status"], failed["error_code"])
    assert "STOP" in failed["error_message"]
    assert 1 == len(api.asked)  # the other tenant's
    assert [] == (await ask("GET", "/v1/suppressions", key=gateway.b.key)).body["data"]

    await writes(gateway, "START", 2)
    assert set() == await suppressed(ask)
    assert 202 == (await ask("POST", "/v1/messages", SMS)).status


async def test_a_number_in_its_other_form(gateway: Gateway, ask: Ask, api: Api) -> None:
    """STOP holds for a number with and without the digit that comes and goes in Brazil, Mexico and
    Argentina: it is one telephone, whichever form its SMS come from; and so does START."""
    new, old = "+5511987654321", "+551187654321"
    waiting = await send(ask, "sms", new, body="Hello")
    await writes(gateway, "STOP", 1, From=old)

    for to in (new, old):
        refused = await ask("POST", "/v1/messages", SMS | {"to": to})
        assert (422, {"to"}) == (refused.status, set(refused.fields()))
    await step(api.worker(gateway))
    assert "suppressed" == (await row_of(ask, waiting))["error_code"]
    assert [] == api.asked

    await writes(gateway, "START", 2, From=new)
    assert set() == await suppressed(ask)
    await send(ask, "sms", old, body="Hello")


async def test_again_is_once(gateway: Gateway, ask: Ask) -> None:
    """The same STOP again, also after START, changes nothing: it was said before."""
    await writes(gateway, "STOP", 1)
    await writes(gateway, "STOP", 1)
    await writes(gateway, "START", 2)
    await writes(gateway, "STOP", 1)
    assert set() == await suppressed(ask)
    assert 2 == await gateway.count("gateway.consent_events")


@pytest.mark.parametrize(
    ("reason", "key", "member", "owner"),
    [
        ("manual", 204, 204, 204),
        ("hard_bounce", 204, 204, 204),
        ("stop", 403, 403, 204),
        ("complaint", 403, 403, 204),
        ("unsubscribe", 403, 403, 204),
    ],
)
async def test_who_may_lift(
    gateway: Gateway, ask: Ask, reason: str, key: int, member: int, owner: int
) -> None:
    """What was put there by hand anybody takes back; what people said themselves an owner alone,
    never another tenant's; who it was is written down."""
    body = {"channel": "sms", "address": ADA, "reason": reason, "note": "by phone"}
    callers = ((gateway.a.key, key), (gateway.a.member, member), (gateway.a.owner, owner))
    for caller, wanted in callers:
        made = await ask("POST", "/v1/suppressions", body)
        assert 201 == made.status, made.body
        path = f"/v1/suppressions/{made.body['id']}"
        assert 404 == (await ask("DELETE", path, key=gateway.b.owner)).status
        assert 404 == (await ask("GET", path, key=gateway.b.owner)).status
        assert wanted == (await ask("DELETE", path, key=caller)).status
    assert set() == await suppressed(ask)
    assert 404 == (await ask("DELETE", path, key=gateway.a.owner)).status
    async with gateway.database.as_service() as db:
        said = await db.fetchval(
            "SELECT detail FROM gateway.consent_events WHERE is_lifted "
            "ORDER BY occurred_at DESC LIMIT 1"
        )
        trail = await db.fetch(
            "SELECT user_id, old_data FROM audit_logs WHERE table_name = 'suppressions' "
            "AND action = 'DELETE' ORDER BY created_at DESC LIMIT 1"
        )
        auth_id = await db.fetchval(
            "SELECT auth_id FROM auth_users WHERE organization_id = $1 AND role = 'owner'",
            gateway.a.organization_id,
        )
    assert {"staff": str(auth_id)} == said
    assert [(auth_id, ADA)] == [(row["user_id"], row["old_data"]["address"]) for row in trail]


async def test_by_hand(ask: Ask) -> None:
    """An address is put on the list in any of its forms, once; what is none is refused."""
    mail = {"channel": "email", "address": "Ada@Customer.example"}
    first = await ask("POST", "/v1/suppressions", mail | {"note": "by phone"})
    again = await ask("POST", "/v1/suppressions", mail | {"address": "ADA@customer.example"})
    assert (201, first.body["id"]) == (again.status, again.body["id"])
    assert "by phone" == first.body["evidence"]["note"]
    assert {("email", "ada@customer.example", "manual")} == await suppressed(ask)
    for body, field in (
        ({"channel": "email", "address": "nobody"}, "address"),
        ({"channel": "fax", "address": ADA}, "channel"),
        ({"channel": "sms", "address": ADA, "reason": "dislike"}, "reason"),
    ):
        refused = await ask("POST", "/v1/suppressions", body)
        assert (422, {field}) == (refused.status, set(refused.fields()))
    found = await ask("GET", "/v1/suppressions?address=ADA@customer.example")
    assert 1 == len(found.body["data"])


@pytest.mark.parametrize("last", ["STOP", "START"])
async def test_all_at_once(gateway: Gateway, ask: Ask, last: str) -> None:
    """Twenty STOPs and STARTs at once end as the latest of them says, whoever comes first."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    now = time.time() - 100
    words = [random.choice(("STOP", "START")) for _ in range(19)]  # noqa: S311
    said = [*enumerate(words), (19, last)]
    random.shuffle(said)
    await asyncio.gather(
        *(meta_says(gateway, account, word, number, now + number) for number, word in said)
    )
    wanted: set[Any] = {("whatsapp", ADA, "stop")} if last == "STOP" else set()
    assert wanted == await suppressed(ask)
    assert 20 == await gateway.count("gateway.consent_events")


def complaints(numbers: list[int], at: datetime, *, is_lifted: bool = False) -> list[Statement]:
    """What is said of many addresses, or taken back, in this order."""
    return [
        Statement(
            id=new_id(),
            channel=Channel.EMAIL,
            address=f"ada{number}@customer.example",
            reason="complaint",
            is_lifted=is_lifted,
            source="sendgrid",
            occurred_at=at,
        )
        for number in numbers
    ]


async def test_many_addresses_take_few_locks(gateway: Gateway) -> None:
    """However many addresses are spoken of at once, PostgreSQL's one table of locks has room for
    everybody else's."""
    said = complaints(list(range(3000)), datetime.now(UTC))
    async with gateway.database.as_service() as db:
        await suppressions.change(db, gateway.a.organization_id, said)
        taken = await db.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
    assert 3000 == await gateway.count("gateway.suppressions")
    assert 0 < taken <= 64  # what PostgreSQL has for each connection


@pytest.mark.parametrize("is_lifted", [True, False])
async def test_many_addresses_in_any_order(gateway: Gateway, *, is_lifted: bool) -> None:
    """Ten who speak of the same addresses at once, each in an order of its own, do not wait in a
    circle, and of each address the latest word counts."""
    start = datetime.now(UTC) - timedelta(minutes=5)

    async def say(turn: int) -> None:
        numbers = random.sample(range(100), 100)
        said = complaints(
            numbers, start + timedelta(seconds=turn), is_lifted=(turn % 2 == 1) is is_lifted
        )
        async with gateway.database.as_service() as db:
            await suppressions.change(db, gateway.a.organization_id, said)

    await asyncio.gather(*map(say, random.sample(range(10), 10)))
    assert 1000 == await gateway.count("gateway.consent_events")
    assert (0 if is_lifted else 100) == await gateway.count("gateway.suppressions")


async def test_one_reason_does_not_lift_another(gateway: Gateway, ask: Ask) -> None:
    """START takes back a STOP, not what was put on the list for another reason."""
    await ask("POST", "/v1/suppressions", {"channel": "sms", "address": ADA})
    await writes(gateway, "STOP", 1)
    await writes(gateway, "START", 2)
    assert {("sms", ADA, "manual")} == await suppressed(ask)


async def test_national_numbers(ask: Ask) -> None:
    """A number may be given as it is written in the organization's country."""
    body = {"channel": "sms", "address": "07700 900123"}
    made = await ask("POST", "/v1/suppressions", body)
    found = await ask("GET", "/v1/suppressions?address=07700%20900123")

    assert (201, "+447700900123") == (made.status, made.body["address"])
    assert [made.body] == found.body["data"]
