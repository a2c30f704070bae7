"""Whose a message is that the provider lists: it is asked about one whose answer was lost."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from channels.model import Channel
from gateway.manage import setup
from gateway.store import queue
from tests.service.test_service_dispatch import events_of
from tests.service.wires import OURS, by_smtp, connect, from_twilio, row_of, send, step
from tests.smtp.values import Server

if TYPE_CHECKING:
    from gateway.dispatch.dispatching import Dispatching
    from tests.service.conftest import Answer, Ask, Gateway
    from tests.service.wires import Api

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
SID = "SM" + "3" * 32


async def hurry(gateway: Gateway) -> None:
    """Let everything that waits be due now."""
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.queue SET run_at = now()")


async def share_the_number(gateway: Gateway) -> None:
    """Both organizations write from one number of one account at Twilio."""
    await setup.add_sender(
        gateway.database,
        gateway.b.account_id,
        Channel.SMS,
        gateway.a.sender,
        is_default=False,
        rate=None,
    )


def listed(sender: str, ago: float = 0.0) -> web.Response:
    """Twilio's list, which has one message, taken so many seconds ago."""
    return web.json_response({"messages": [record(sender, ago)], "next_page_uri": None})


def record(sender: str, ago: float = 0.0, **fields: Any) -> dict[str, Any]:
    """One of Twilio's records."""
    created = datetime.now(UTC) - timedelta(seconds=ago)
    return {
        "sid": SID,
        "to": SMS["to"],
        "from": sender,
        "body": SMS["body"],
        "direction": "outbound-api",
        "date_created": format_datetime(created, usegmt=True),
    } | fields


async def of_b(gateway: Gateway) -> Answer:
    """The other organization says the same to the same person, from the same number."""
    return await gateway.ask(
        "POST", "/v1/messages", SMS | {"from": gateway.a.sender}, key=gateway.b.key
    )


async def test_what_another_organization_sent(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Two that share an account at the provider say the same to somebody: the message of one is
    not taken for that of the other, which is sent."""
    await share_the_number(gateway)
    worker = api.worker(gateway, sure_after=0)
    api.says(201, {"sid": SID})
    theirs = (await of_b(gateway)).body
    await step(worker)
    ours = (await ask("POST", "/v1/messages", SMS)).body
    api.says(502)
    await step(worker)

    def answer(request: web.Request) -> web.Response:
        is_asked = request.method == "GET"
        return listed(gateway.a.sender) if is_asked else web.json_response({"sid": "SM2"})

    api.answers = answer
    for _ in range(2):
        await hurry(gateway)
        await step(worker)

    assert ("sent", "SM2") == await fate(ask, ours)
    there = await ask("GET", f"/v1/messages/{theirs['id']}", key=gateway.b.key)
    assert SID == there.body["external_id"]


async def test_what_another_organization_is_sending(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What is listed may be what the other one is sending right now: that is waited for."""
    await share_the_number(gateway)
    worker = api.worker(gateway, sure_after=0)
    ours = (await ask("POST", "/v1/messages", SMS)).body
    api.says(502)
    await step(worker)
    await of_b(gateway)
    (turn,) = await api.worker(gateway).claim(1)
    api.answers = lambda _: listed(gateway.a.sender)
    await hurry(gateway)
    await step(worker)
    assert ("unknown", None) == await fate(ask, ours)

    async with gateway.database.as_service() as db:  # it ends, and the provider had none of it
        await db.execute("DELETE FROM gateway.queue WHERE message_id = $1", turn.claimed.message_id)
    await hurry(gateway)
    await step(worker)
    assert ("sent", SID) == await fate(ask, ours)


async def test_what_a_worker_sent_that_has_just_gone(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Of two that say the same one was taken, and its worker has gone a moment ago: the other does
    not take its id while the report that names it may still come, and is sent when it has."""
    worker = api.worker(gateway, sure_after=20)
    ours = (await ask("POST", "/v1/messages", SMS)).body
    api.says(502)
    await step(worker)
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.queue SET attempted_at = now() - interval '30 seconds', open_for = 30"
        )
    taken = (await ask("POST", "/v1/messages", SMS)).body
    await api.worker(gateway).claim(1)
    async with gateway.database.as_service() as db:
        await queue.end_dead_leases(db, worker.lease_id)

    def answer(request: web.Request) -> web.Response:
        is_asked = request.method == "GET"
        return listed(gateway.a.sender) if is_asked else web.json_response({"sid": "SM2"})

    api.answers = answer
    await hurry(gateway)
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.queue SET run_at = now() + interval '1 hour' WHERE message_id = $1",
            taken["id"],
        )
    assert 1 == await step(worker)
    assert ("unknown", None) == await fate(ask, ours)

    report = {"MessageSid": SID, "MessageStatus": "sent", "AccountSid": "AC" + "a" * 32}
    query = f"?message_id={taken['id']}"
    assert 200 == (await from_twilio(gateway, "status", report, query=query)).status
    for _ in range(2):
        await hurry(gateway)
        await step(worker)
    assert ("sent", SID) == await fate(ask, taken)
    assert ("sent", "SM2") == await fate(ask, ours)


@pytest.mark.parametrize(("seconds", "questions"), [(0, 6), (15.0, 3), (20.01, 2), (25.01, 1)])
async def test_a_clock_that_is_set_forward(
    gateway: Gateway, ask: Ask, api: Api, seconds: float, questions: int
) -> None:
    """A message is sent again when it has been open for 25 s by what its workers have measured and
    waited, but for one wait, which the database's clock may have ended when it was set."""
    worker = api.worker(gateway)
    ours = (await ask("POST", "/v1/messages", SMS)).body
    if seconds:
        (turn,) = await worker.claim(1)
        await worker._outcomes.lost(turn.claimed, "It was reset.", seconds)
    else:  # by one that is still sending it, but seems to have held it for a minute
        await api.worker(gateway).claim(1)
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.queue SET lease_until = lease_until - interval '60 seconds',"
            " attempted_at = attempted_at - interval '60 seconds'"
        )
    if not seconds:
        assert 1 == await step(worker)
    api.says(200, {"messages": [], "next_page_uri": None})
    asked = 0
    while "not_found_at_provider" not in await events_of(ask, ours["id"]):
        assert "unknown" == (await fate(ask, ours))[0]
        await hurry(gateway)
        assert 1 == await step(worker)
        asked += 1
    assert questions == asked


async def test_how_long_it_was_under_way(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What counts is the time since its request began, by this machine's clock: files may take
    long before."""
    await ask("POST", "/v1/messages", SMS)
    worker = api.worker(gateway, longest_send=0.3)
    (turn,) = await worker.claim(1)
    await asyncio.sleep(1.5)
    async with Server({"greeting": None}) as silent:
        worker._api_urls["twilio"] = f"http://127.0.0.1:{silent.port}"
        await worker.work(turn)
    async with gateway.database.as_service() as db:
        assert 0.25 < await db.fetchval("SELECT open_for FROM gateway.queue") < 1.5


async def lost_before(gateway: Gateway, age: float, open_for: float) -> None:
    """Its answer was lost, so long ago by the database's clock, and by what was waited."""
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.queue SET run_at = now(), open_for = $2,"
            " attempted_at = now() - make_interval(secs => $1)",
            age,
            open_for,
        )


@pytest.mark.parametrize(
    ("age", "open_for", "ago"), [(25, 25, 85), (-60, 120, 125), (40, 160, 160)]
)
async def test_a_clock_that_is_set_back(
    gateway: Gateway, ask: Ask, api: Api, age: float, open_for: float, ago: float
) -> None:
    """What the provider took is found also where the database's clock was set back by a minute
    since, or by any time that was measured: it is not sent twice."""
    worker = api.worker(gateway)
    ours = (await ask("POST", "/v1/messages", SMS)).body
    api.says(502)
    await step(worker)
    await lost_before(gateway, age, open_for)
    api.answers = lambda _: listed(gateway.a.sender, ago)
    await step(worker)
    assert ("sent", SID) == await fate(ask, ours)


@pytest.mark.parametrize(("age", "is_sure"), [(40, False), (56, True)])
async def test_what_a_clock_that_was_set_back_says(
    gateway: Gateway,
    ask: Ask,
    api: Api,
    age: float,
    is_sure: bool,  # noqa: FBT001
) -> None:
    """While a message is younger by the database's clock than what was waited for it, the provider
    is not believed that it lacks it."""
    worker = api.worker(gateway)
    ours = (await ask("POST", "/v1/messages", SMS)).body
    api.says(502)
    await step(worker)
    await lost_before(gateway, age, 60)
    api.says(200, {"messages": [], "next_page_uri": None})
    await step(worker)
    assert is_sure == ("not_found_at_provider" in await events_of(ask, ours["id"]))


async def test_a_long_wait_counts_as_a_short_one(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Of a wait for a provider that could not be asked 5 s count: a clock may end it at once."""
    worker = api.worker(gateway)
    await ask("POST", "/v1/messages", SMS)
    api.says(502)
    await step(worker)
    await lost_before(gateway, 60, 1)
    api.says(429, {"code": 20429, "message": "Too many"}, **{"Retry-After": "600"})
    await step(worker)
    async with gateway.database.as_service() as db:
        assert 6 == await db.fetchval("SELECT open_for FROM gateway.queue")


async def test_a_mail_of_ours_that_has_come_in(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A mail to a mailbox of one's own comes in under the id that it left with: it is found at the
    provider all the same, and not sent again."""
    await connect(gateway, "mailgun", Channel.EMAIL)
    inbox = await connect(gateway, "smtp", Channel.EMAIL, "inbox@clinic.example")
    sent = await send(
        ask,
        "email",
        "inbox@clinic.example",
        subject="Hi",
        body="Hello",
        **{"from": "desk@clinic.example"},
    )
    worker = api.worker(gateway, sure_after=0)
    api.says(500)
    await step(worker)
    message_id = f"{sent['id']}@clinic.example"
    raw = (
        f"From: desk@clinic.example\r\nTo: inbox@clinic.example\r\nSubject: Hi\r\n"
        f"Message-ID: <{message_id}>\r\n\r\nHello\r\n"
    )
    assert 204 == (await by_smtp(gateway, inbox, raw.encode())).status
    event: dict[str, Any] = {"message": {"headers": {"message-id": message_id}}}
    api.says(200, {"items": [event]})
    await hurry(gateway)
    await step(worker)

    assert ("sent", message_id) == await fate(ask, sent)
    assert ["POST", "GET"] == [request.method for request, _ in api.asked]


def answering(api: Api, *has: dict[str, Any]) -> None:
    """Twilio has these, and takes whatever else is sent."""
    again = itertools.count(1)

    def answer(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response({"messages": has, "calls": has, "next_page_uri": None})
        return web.json_response({"sid": f"SM-again-{next(again)}"}, status=201)

    api.answers = answer


async def lose(ask: Ask, api: Api, worker: Dispatching, *given: dict[str, Any]) -> list[Any]:
    """Messages whose answers are lost, sent in this order."""
    api.says(502)
    lost = []
    for each in given:
        lost.append(await send(ask, **each))
        assert 1 == await step(worker)
    return lost


async def ask_about(gateway: Gateway, worker: Dispatching, message: dict[str, Any]) -> None:
    """Have the provider asked about one of them next."""
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.queue SET run_at = CASE WHEN message_id = $1 THEN now()"
            " ELSE now() + interval '1 hour' END",
            message["id"],
        )
    assert 1 == await step(worker)


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


CALL = {"channel": "call", "to": SMS["to"]}
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


async def found_by_report(gateway: Gateway, message: dict[str, Any], sid: str = SID) -> None:
    """A report names a message of ours, and the provider's id of it."""
    query, account = f"?message_id={message['id']}", {"AccountSid": "AC" + "a" * 32}
    event, told = "status", {"MessageSid": sid, "MessageStatus": "sent"}
    if message["channel"] == "call":
        event, told = "call-status", {"CallSid": sid, "CallStatus": "completed"}
    answer = await from_twilio(gateway, event, told | account, query=query)
    assert 200 == answer.status


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


async def fate(ask: Ask, sent: dict[str, Any]) -> tuple[str, str | None]:
    """What became of a message, and the provider's id of it."""
    row = await row_of(ask, sent)
    return row["status"], row["external_id"]


async def test_a_provider_that_is_asked_too_often(gateway: Gateway, ask: Ask, api: Api) -> None:
    """The next question waits as long as the answer to the last one says."""
    worker = api.worker(gateway)
    await send(ask, **SMS)
    api.says(502)
    await step(worker)
    api.says(429, {"code": 20429, "message": "Too many"}, **{"Retry-After": "600"})
    await hurry(gateway)
    await step(worker)

    assert ["POST", "GET"] == [request.method for request, _ in api.asked]
    async with gateway.database.as_service() as db:
        wait = await db.fetchval("SELECT run_at - now() FROM gateway.queue")
    assert timedelta(seconds=590) < wait < timedelta(seconds=610)
