"""Rows that another program has made larger than any that we accept: no worker reads them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from channels.html import HTML_BYTES, TEXT_BYTES
from channels.model import Channel
from gateway.dispatch.turns import Turns
from tests.service.test_service_odd_values import as_staff
from tests.service.wires import connect, row_of, send

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

ADA = "ada@clinic.example"
TO = {"channel": "email", "to": ADA}
MAIL = {"subject": "s", "body": "Hello"}
LONG = 16 * 2**20
# JSON that compresses to almost nothing, and that does not.
LISTS = f"[{'[],' * 500_000}[]]"
DIGITS = json.dumps([{"x": f"{n * 7919**9 % 10**40}"} for n in range(5000)])
LARGE = {
    "a text": ("body = '\U0001f600' || repeat('x', $1)", LONG),
    "HTML": ("html_body = repeat('x', $1)", LONG),
    "a subject": ("subject = repeat('x', $1)", LONG),
    "parts": ("parts = jsonb_build_object('x', $1::jsonb)", LISTS),
    "parts that are not compressed": ("parts = jsonb_build_object('x', $1::jsonb)", DIGITS),
    "files": ("attachments = $1::jsonb", LISTS),
}


@pytest.mark.parametrize("what", LARGE)
async def test_a_message_that_is_too_large(gateway: Gateway, ask: Ask, api: Api, what: str) -> None:
    """What is larger than any message that we accept has failed, in words, and is not read; the
    others leave."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await connect(gateway, "sendgrid", Channel.EMAIL, tenant=gateway.b)
    ours, other = [await send(ask, "email", ADA, **MAIL) for _ in range(2)]
    theirs = (await ask("POST", "/v1/messages", MAIL | TO, key=gateway.b.key)).body
    change, value = LARGE[what]
    await as_staff(gateway, f"UPDATE messages SET {change} WHERE id = $2", value, UUID(ours["id"]))  # noqa: S608

    worker = api.worker(gateway)
    turns = await worker.claim(100)
    assert 3 == len(turns)
    assert 2**16 > size_of(turns)
    for turn in turns:
        await worker.work(turn)

    failed = (await ask("GET", f"/v1/messages/{ours['id']}")).body
    assert ("failed", "form") == (failed["status"], failed["error_code"])
    assert "sent" == (await row_of(ask, other))["status"]
    shown = await ask("GET", f"/v1/messages/{theirs['id']}", key=gateway.b.key)
    assert "sent" == shown.body["status"]


async def test_addresses_and_a_status_of_any_length(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A worker reads the beginning of an address or a status, however long it was made."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    ours = await send(ask, "email", ADA, **MAIL)
    names = ("from_address", "to_address", "status")
    long = ", ".join(f"{name} = repeat('x', $1)" for name in names)
    change = f"UPDATE messages SET {long} WHERE id = $2"  # noqa: S608
    await as_staff(gateway, change, LONG, UUID(ours["id"]))

    turns = await api.worker(gateway).claim(100)
    assert 1 == len(turns)
    assert 2**16 > size_of(turns)


async def test_the_largest_that_are_accepted(gateway: Gateway, ask: Ask, api: Api) -> None:
    """The largest mails that we accept are sent, a few at a time, so that a worker has the memory;
    nobody else's wait for them."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await connect(gateway, "sendgrid", Channel.EMAIL, tenant=gateway.b)
    mails = [await send(ask, "email", ADA, **MAIL) for _ in range(20)]
    async with gateway.database.as_service() as db:
        change = "UPDATE messages SET body = $1, html_body = repeat('x', $2)"
        await db.execute(change, "\U0001f600" + "x" * (TEXT_BYTES - 4), HTML_BYTES)
    theirs = (await ask("POST", "/v1/messages", MAIL | TO, key=gateway.b.key)).body

    worker = api.worker(gateway)
    taken: list[int] = []
    while turns := await worker.claim(100):
        assert turns.has_more or len(mails) < sum(taken) + len(turns)
        assert 2**27 > size_of(turns)
        taken.append(len(turns))
        for turn in turns:
            await worker.work(turn)
    assert [7, 11, 3] == taken
    assert 21 == len(api.asked)
    assert {"sent"} == {(await row_of(ask, mail))["status"] for mail in mails}
    shown = await ask("GET", f"/v1/messages/{theirs['id']}", key=gateway.b.key)
    assert "sent" == shown.body["status"]


async def test_settings_of_any_size(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Of an organization's settings a worker reads where answers go, and nothing else."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    email = {"reply_domain": "in.clinic.example", "x": "x" * LONG}
    change = "UPDATE organizations SET settings = $1"
    await as_staff(gateway, change, json.dumps({"email": email}))
    for _ in range(3):
        await send(ask, "email", ADA, **MAIL)

    worker = api.worker(gateway)
    turns = await worker.claim(100)
    assert 3 == len(turns)
    assert 2**16 > size_of(turns)
    for turn in turns:
        await worker.work(turn)
    assert 3 == len(api.asked)
    assert "@in.clinic.example" in api.last["reply_to"]["email"]


def size_of(turns: Turns) -> int:
    """Bytes of all that was claimed."""
    return sum(
        _size(getattr(turn.claimed, name))
        for turn in turns
        for name in turn.claimed.__dataclass_fields__
    )


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return sys.getsizeof(value) + sum(_size(k) + _size(v) for k, v in value.items())
    if isinstance(value, list):
        return sys.getsizeof(value) + sum(map(_size, value))
    return sys.getsizeof(value)
