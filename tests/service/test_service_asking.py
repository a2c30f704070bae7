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
from tests.service.wires import by_smtp, connect, from_twilio, row_of, send, step
from tests.smtp.values import Server

if TYPE_CHECKING:
    from gateway.dispatch.dispatching import Dispatching
    from tests.service.conftest import Answer, Ask, Gateway
    from tests.service.wires import Api

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
CALL = {"channel": "call", "to": SMS["to"]}
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


async def found_by_report(gateway: Gateway, message: dict[str, Any], sid: str = SID) -> None:
    """A report names a message of ours, and the provider's id of it."""
    query, account = f"?message_id={message['id']}", {"AccountSid": "AC" + "a" * 32}
    event, told = "status", {"MessageSid": sid, "MessageStatus": "sent"}
    if message["channel"] == "call":
        event, told = "call-status", {"CallSid": sid, "CallStatus": "completed"}
    answer = await from_twilio(gateway, event, told | account, query=query)
    assert 200 == answer.status


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


async def test_an_account_that_hides_numbers(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Twilio may have it, but hides to whom its records went: it is not sent again, and a report
    tells."""
    worker = api.worker(gateway, sure_after=0)
    (ours,) = await lose(ask, api, worker, SMS)
    answering(api, record(gateway.a.sender, to=SMS["to"][:-4] + "XXXX", body=None))
    await ask_about(gateway, worker, ours)
    assert ("unknown", None) == await fate(ask, ours)
    why = (await ask("GET", f"/v1/messages/{ours['id']}/why")).body
    assert "hides to whom" in str(why)
    await found_by_report(gateway, ours)
    assert ("sent", SID) == await fate(ask, ours)


async def test_a_text_that_is_hidden(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What Twilio lists without its text, to this person since then, is this message."""
    worker = api.worker(gateway, sure_after=0)
    (ours,) = await lose(ask, api, worker, SMS)
    answering(api, record(gateway.a.sender, body=""))
    await ask_about(gateway, worker, ours)
    assert ("sent", SID) == await fate(ask, ours)
