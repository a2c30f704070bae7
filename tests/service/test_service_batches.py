"""What comes at once is stored together, and fails apart."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import orjson
from aiohttp.test_utils import make_mocked_request

from channels.lines import FullError
from gateway import app
from gateway.store.values import as_stored
from tests.service.conftest import Answer, Ask, Gateway
from tests.service.wires import from_twilio

SMS = {"channel": "sms", "body": "Hello"}


def number(n: int) -> str:
    """One of many numbers."""
    return f"+4477009{n:05}"


async def test_one_that_cannot_be_stored(gateway: Gateway, ask: Ask) -> None:
    """Of many at once the one that is refused while it is stored is refused alone."""
    first = await ask("POST", "/v1/messages", SMS | {"to": number(1)})
    await ask("POST", "/v1/messages", SMS | {"to": number(2)})
    path = f"/v1/conversations/{first.body['conversation_id']}/messages"

    answers = await asyncio.gather(
        *(ask("POST", "/v1/messages", SMS | {"to": number(n)}) for n in range(10, 30)),
        ask("POST", path, SMS | {"to": number(2)}),
        *(ask("POST", "/v1/messages", SMS | {"to": number(n)}) for n in range(30, 50)),
    )

    assert {202: 40, 422: 1} == Counter(answer.status for answer in answers)
    assert 422 == answers[20].status
    assert 42 == await gateway.count("messages")
    assert 42 == await gateway.count("gateway.queue")


async def test_one_person_in_one_batch(ask: Ask) -> None:
    """Messages of one batch to one person stand in their conversation in its order, and
    the last of them is its last."""
    said = [f"Part {n}" for n in range(30)]
    items = [SMS | {"to": number(1), "body": body} for body in said]
    answer = await ask("POST", "/v1/messages/batch", {"messages": items})
    place = answer.body["data"][0]["message"]["conversation_id"]
    thread = await ask("GET", f"/v1/conversations/{place}/messages")
    (conversation,) = (await ask("GET", "/v1/conversations")).body["data"]

    assert said == [row["body"] for row in reversed(thread.body["data"])]
    assert said[-1] == conversation["last_message"]["body"]


async def test_keys_at_once(gateway: Gateway, ask: Ask) -> None:
    """Of equal requests with one key at once one is stored, of different ones one, too."""

    async def send(key: str, body: str, caller: str) -> Answer:
        return await ask(
            "POST",
            "/v1/messages",
            {"channel": "sms", "to": number(1), "body": body},
            headers={"Idempotency-Key": key},
            key=caller,
        )

    a, b = gateway.a.key, gateway.b.key
    same = [send("same", "x", a) for _ in range(12)]
    mixed = [send("mixed", f"{n % 3}", a) for n in range(12)]
    others = [send("same", "x", b) for _ in range(3)]
    answers = await asyncio.gather(*same, *mixed, *others)

    assert {202} == {answer.status for answer in answers[:12]}
    assert 1 == len({answer.body["id"] for answer in answers[:12]})
    assert 11 == sum("Idempotent-Replayed" in answer.headers for answer in answers[:12])
    assert {202: 4, 409: 8} == Counter(answer.status for answer in answers[12:24])
    assert 1 == len({answer.body["id"] for answer in answers[24:]})
    assert 3 == await gateway.count("messages")


async def test_organizations_at_once(gateway: Gateway, ask: Ask) -> None:
    """Requests of two organizations that are stored together stay apart."""
    keys = [gateway.a.key, gateway.b.key, gateway.a.member, gateway.b.owner]
    answers = await asyncio.gather(
        *(
            ask("POST", "/v1/messages", SMS | {"to": number(n // 4)}, key=keys[n % 4])
            for n in range(80)
        )
    )
    owners = {0: gateway.a, 1: gateway.b, 2: gateway.a, 3: gateway.b}
    for n, answer in enumerate(answers):
        assert str(owners[n % 4].organization_id) == answer.body["organization_id"]
        assert owners[n % 4].sender == answer.body["from_address"]
    conversations = {answer.body["conversation_id"] for answer in answers}
    assert 40 == len(conversations) == await gateway.count("gateway.conversations")


async def test_reports_at_once(gateway: Gateway, ask: Ask) -> None:
    """Reports of both organizations that come at once each reach their own message."""
    sent = await asyncio.gather(
        *(ask("POST", "/v1/messages", SMS | {"to": number(n)}) for n in range(20))
    )
    sids = {answer.body["id"]: f"SM{n:032x}" for n, answer in enumerate(sent)}
    async with gateway.database.as_service() as db:
        for message_id, sid in sids.items():
            await db.execute("UPDATE messages SET external_id = $2 WHERE id = $1", message_id, sid)

    def told(sid: str, status: str) -> dict[str, str]:
        account = "AC" + "a" * 32
        return {"MessageSid": sid, "AccountSid": account, "MessageStatus": status}

    words = ("sent", "delivered", "queued")
    answers = await asyncio.gather(
        *(
            from_twilio(gateway, "status", told(sid, word))
            for sid in [*sids.values(), "SM" + "f" * 32]
            for word in words
        )
    )

    assert {200, 204} >= {answer.status for answer in answers}
    rows = (await ask("GET", "/v1/messages?limit=200")).body["data"]
    assert {"delivered"} == {row["status"] for row in rows}
    assert 63 == await gateway.count("gateway.webhook_requests")
    assert 3 == await gateway.count("gateway.unmatched_reports")


def test_a_full_buffer_is_said() -> None:
    """Where too much waits, callers are told to come again."""
    problem = app._of_any(make_mocked_request("POST", "/v1/messages"), FullError("full"))
    assert (503, {"Retry-After": "1"}) == (problem.status, dict(problem.headers))


def test_what_others_told_can_be_stored() -> None:
    """Rows become JSON as they are, but for what PostgreSQL cannot hold and nobody may read."""
    token = "t" * 43
    for told, stored in (
        ("plain ü", "plain ü"),
        ("nul \x00.", "nul ."),
        ("half \ud800.", "half ?."),
        ("\\u0000", "\\u0000"),
        (f"https://x.example/inbox/link/{token}?a", "https://x.example/inbox/link/***?a"),
    ):
        row: dict[str, Any] = {"a": [told], told: 1}
        assert {"a": [stored], stored: 1} == orjson.loads(as_stored([row]))[0]


def test_numbers_and_levels_that_json_of_others_may_have() -> None:
    """What is too large or too deep to be written becomes a text, and costs nothing beside it."""
    deep: Any = "bottom"
    for _ in range(300):
        deep = [deep]
    row = {"big": 10**30, "small": -(10**30), "whole": 2**63, "yes": True, "deep": deep, "a": 1}
    stored = orjson.loads(as_stored([row]))[0]

    kept = stored.pop("deep")
    levels = 0
    while isinstance(kept, list):
        kept, levels = kept[0], levels + 1
    assert ("…", True) == (kept, 200 < levels < 300)
    expected = {"big": "1" + "0" * 30, "small": "-1" + "0" * 30, "whole": 2**63, "yes": True}
    assert expected | {"a": 1} == stored
