"""Messages to one person that the provider may list alike: whose a record of its list is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from channels.model import Channel
from gateway.manage import setup
from tests.service.test_service_asking import (
    CALL,
    SID,
    SMS,
    answering,
    ask_about,
    fate,
    found_by_report,
    hurry,
    lose,
    lost_before,
    record,
)
from tests.service.test_service_dispatch import events_of
from tests.service.wires import OURS, connect, send, step

if TYPE_CHECKING:
    from gateway.dispatch.dispatching import Dispatching
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api


@pytest.mark.parametrize("is_bare_first", [True, False])
async def test_texts_that_differ_in_signs(
    gateway: Gateway,
    ask: Ask,
    api: Api,
    is_bare_first: bool,  # noqa: FBT001
) -> None:
    """What is listed with the very text of one is not taken for another that differs in signs
    alone, which is sent again."""
    worker = api.worker(gateway, sure_after=0)
    bare, asking = await lose(ask, api, worker, SMS, SMS | {"body": "Hello?"})
    answering(api, record(gateway.a.sender, body="Hello?"))
    for message in (bare, asking) if is_bare_first else (asking, bare):
        await ask_about(gateway, worker, message)
    assert ("sent", SID) == await fate(ask, asking)
    for _ in range(2):
        await hurry(gateway)
        await step(worker)
    assert ("sent", "SM-again-1") == await fate(ask, bare)


async def test_a_text_that_differs_in_signs_is_under_way(
    gateway: Gateway, ask: Ask, api: Api
) -> None:
    """What is listed may be the one with other signs that is being sent: that is waited for."""
    worker = api.worker(gateway, sure_after=0)
    (bare,) = await lose(ask, api, worker, SMS)
    await send(ask, **SMS | {"body": "Hello?"})
    await api.worker(gateway).claim(1)
    answering(api, record(gateway.a.sender, body="Hello?"))
    await ask_about(gateway, worker, bare)
    assert ("unknown", None) == await fate(ask, bare)


async def test_what_is_sent_from_another_number(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A messaging service does not say at once from which number it sends: what is listed may be
    the equal one that is being sent from another."""
    account_id = await connect(
        gateway, "twilio", Channel.SMS, "+15550007777", messaging_service_sid="MG1"
    )
    await setup.add_sender(
        gateway.database, account_id, Channel.SMS, "+15550008888", is_default=False, rate=None
    )
    worker = api.worker(gateway, sure_after=0)
    (ours,) = await lose(ask, api, worker, SMS)
    await send(ask, **SMS | {"from": "+15550008888"})
    await api.worker(gateway).claim(1)
    answering(api, record("", messaging_service_sid="MG1") | {"from": None})
    await ask_about(gateway, worker, ours)
    assert ("unknown", None) == await fate(ask, ours)


WHATSAPP = {"channel": "whatsapp", "to": SMS["to"], "template": "visit"}
# Two that the provider does not tell apart, each with what it has of one.
PAIRS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "calls": ([CALL | {"body": "At ten"}, CALL | {"body": "At two"}], {}),
    "voices": (
        [CALL | {"body": "At ten"}, CALL | {"body": "At ten", "options": {"repeat": 3}}],
        {},
    ),
    "templates": (
        [WHATSAPP | {"variables": {"time": time}} for time in ("ten", "two")],
        {"to": f"whatsapp:{SMS['to']}", "body": "See you"},
    ),
    "hidden texts": ([SMS | {"body": f"At {time}"} for time in ("ten", "two")], {"body": None}),
    "pictures": (
        [SMS | {"attachments": [{"url": f"https://a.example/{n}.png"}]} for n in (1, 2)],
        {},
    ),
}


async def lose_two(
    gateway: Gateway, ask: Ask, api: Api, worker: Dispatching, pair: str
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Two messages whose answers are lost, and Twilio's record of one."""
    given, fields = PAIRS[pair]
    channel = Channel(given[0]["channel"])
    sender = gateway.a.sender
    if channel is not Channel.SMS:
        sender = OURS[channel]
        await connect(gateway, "twilio", channel)
    if channel is Channel.WHATSAPP:
        sender = f"whatsapp:{sender}"
        options = {"content_sid": "HX" + "a" * 32, "variables": {"1": "{{ time }}"}}
        template = {"name": "visit", "type": "whatsapp", "content": "See you at {{ time }}"}
        made = await ask("POST", "/v1/templates", template | {"options": options})
        assert 201 == made.status, made.body
    first, second = await lose(ask, api, worker, *given)
    return first, second, record(sender, **fields)


@pytest.mark.parametrize("pair", PAIRS)
async def test_which_one_it_is_cannot_be_told(
    gateway: Gateway, ask: Ask, api: Api, pair: str
) -> None:
    """Of two that say different things the provider has one, and does not tell which: neither is
    taken for it, and neither is sent again, until a report tells of one."""
    worker = api.worker(gateway, sure_after=0)
    first, second, has = await lose_two(gateway, ask, api, worker, pair)
    answering(api, has)
    for _ in range(3):
        await lost_before(gateway, 60, 60)
        await step(worker)
    for message in (first, second):
        assert ("unknown", None) == await fate(ask, message)
        assert 1 == (await events_of(ask, message["id"])).count("cannot_be_told_apart")
        why = (await ask("GET", f"/v1/messages/{message['id']}/why")).body
        assert "has fewer than were under way to this person" in why["summary"]

    await found_by_report(gateway, second)
    await lost_before(gateway, 60, 60)
    await step(worker)
    assert "not_found_at_provider" in await events_of(ask, first["id"])


@pytest.mark.parametrize("pair", PAIRS)
async def test_as_many_as_were_sent(gateway: Gateway, ask: Ask, api: Api, pair: str) -> None:
    """Where the provider has both, each gets the id that was given in its turn."""
    worker = api.worker(gateway)
    first, second, has = await lose_two(gateway, ask, api, worker, pair)
    answering(api, has | {"sid": "SM-second"}, has | {"sid": "SM-first"})  # the newest first
    await ask_about(gateway, worker, second)
    await ask_about(gateway, worker, first)
    assert "SM-second" == (await fate(ask, second))[1]
    assert "SM-first" == (await fate(ask, first))[1]


async def test_one_of_two_equal_calls(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Of two calls that say the same the provider has one: it is either's, the other is made."""
    worker = api.worker(gateway, sure_after=0)
    await connect(gateway, "twilio", Channel.CALL)
    calls = await lose(ask, api, worker, *[CALL | {"body": "At ten"}] * 2)
    answering(api, record(OURS[Channel.CALL]))
    for _ in range(2):
        await hurry(gateway)
        await step(worker)
    assert {("sent", SID), ("sent", "SM-again-1")} == {await fate(ask, call) for call in calls}


async def test_nobody_tells_for_long(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What cannot be told apart is given up after ten questions, and stays unknown."""
    worker = api.worker(gateway, sure_after=0)
    first, second, has = await lose_two(gateway, ask, api, worker, "calls")
    answering(api, has)
    for _ in range(11):
        await lost_before(gateway, 60, 60)
        await step(worker)
    assert 0 == await gateway.count("gateway.queue")
    assert {("unknown", None)} == {await fate(ask, first), await fate(ask, second)}


@pytest.mark.parametrize("pair", PAIRS)
async def test_one_has_used_up_its_questions(
    gateway: Gateway, ask: Ask, api: Api, pair: str
) -> None:
    """Of two that cannot be told apart one has been asked about more often: it is given up with the
    other, which does not take the id that may be the first one's."""
    worker = api.worker(gateway, sure_after=0)
    first, second, has = await lose_two(gateway, ask, api, worker, pair)
    answering(api, has)
    await lost_before(gateway, 60, 60)
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.queue SET asked = CASE WHEN message_id = $1 THEN 300 ELSE 270 END",
            first["id"],
        )
    for message in (first, second):
        await ask_about(gateway, worker, message)
    async with gateway.database.as_service() as db:  # nothing is counted that may grow for hours
        assert 300 == await db.fetchval("SELECT max(asked) FROM gateway.queue")
    for message in (first, second):
        await ask_about(gateway, worker, message)
    assert 0 == await gateway.count("gateway.queue")
    assert {("unknown", None)} == {await fate(ask, first), await fate(ask, second)}


async def test_two_from_two_numbers(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Without a messaging service a record names our number: what was sent from another is told
    apart by it."""
    other = "+15550008888"
    await setup.add_sender(
        gateway.database, gateway.a.account_id, Channel.SMS, other, is_default=False, rate=None
    )
    worker = api.worker(gateway, sure_after=0)
    given, _ = PAIRS["pictures"]
    first, second = await lose(ask, api, worker, given[0], given[1] | {"from": other})
    answering(api, record(gateway.a.sender), record(other, sid="SM-second"))
    await lost_before(gateway, 60, 60)
    await step(worker)
    assert ("sent", SID) == await fate(ask, first)
    assert ("sent", "SM-second") == await fate(ask, second)


async def test_the_sender_of_one_is_deleted(gateway: Gateway, ask: Ask, api: Api) -> None:
    """An equal message does not take the id of one whose sender was deleted, so that nobody can be
    asked about it, and that has moved to another account since: a report tells of that one, and
    then the equal one is sent again."""
    worker = api.worker(gateway, sure_after=20)
    (taken,) = await lose(ask, api, worker, SMS)
    async with gateway.database.as_service() as db:
        await db.execute("DELETE FROM gateway.senders WHERE address = $1", gateway.a.sender)
    await ask_about(gateway, worker, taken)
    why = (await ask("GET", f"/v1/messages/{taken['id']}/why")).body
    assert "Twilio cannot be asked any more" in why["summary"]
    await connect(gateway, "twilio", Channel.SMS, gateway.a.sender)
    (other,) = await lose(ask, api, worker, SMS)
    answering(api, record(gateway.a.sender))
    await ask_about(gateway, worker, other)
    await lost_before(gateway, 60, 60)
    await ask_about(gateway, worker, other)
    assert ("unknown", None) == await fate(ask, other)
    await found_by_report(gateway, taken)
    assert ("sent", SID) == await fate(ask, taken)
    await ask_about(gateway, worker, other)
    assert "not_found_at_provider" in await events_of(ask, other["id"])
