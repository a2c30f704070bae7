"""Asking Twilio which messages it has taken: the answer to a lost answer."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs

import aiohttp
import pytest
from aiohttp import web

from channels.errors import AnswerLost, CannotAsk, Refused, RefusedForNow, SendError
from channels.model import Channel, ProviderTemplate
from channels.providers.twilio import PAGES, half
from tests.twilio.conftest import Answer, FakeTwilio
from tests.twilio.values import SID, SINCE, account, outbound


def record(seconds: float = 1, **fields: Any) -> dict[str, Any]:
    """One of Twilio's records, made so many seconds after the question's time."""
    return {
        "sid": SID,
        "direction": "outbound-api",
        "from": "+15550001111",
        "to": "+15550002222",
        "body": "Hello",
        "status": "queued",
        "date_created": format_datetime(SINCE + timedelta(seconds=seconds)),
        "date_sent": None,
    } | fields


def pages(fake: FakeTwilio, *lists: list[Any], last: str | None = None) -> None:
    """Let the server list these records, page by page."""

    async def answer(request: web.Request) -> web.Response:
        number = int(request.query.get("Page", "0"))
        following = last
        if number + 1 < len(lists):
            following = f"{request.path}?To=%2B15550002222&Page={number + 1}"
        page = {"messages": lists[number], "next_page_uri": following}
        return web.json_response(page)

    fake.answer = answer


async def found(
    fake: FakeTwilio, session: aiohttp.ClientSession, message: Any = None, **credentials: str
) -> list[str]:
    """The ids that Twilio is found to have."""
    sent = await half.find(account(fake.url, **credentials), message or outbound(), session, SINCE)
    return [each.external_id for each in sent]


async def test_the_question(twilio_api: FakeTwilio, session: aiohttp.ClientSession) -> None:
    """Twilio is asked by recipient, and what it has is told with its detail."""
    pages(twilio_api, [record()])
    [sent] = await half.find(account(twilio_api.url), outbound(), session, SINCE)
    assert (sent.external_id, sent.detail["status"]) == (SID, "queued")
    [(request, _)] = twilio_api.asked
    assert (request.method, request.path) == ("GET", "/2010-04-01/Accounts/AC1/Messages.json")
    assert parse_qs(request.query_string) == {"To": ["+15550002222"], "PageSize": ["200"]}
    assert request.headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    ("fields", "is_found"),
    [
        ({}, True),
        ({"body": "Hello "}, True),
        ({"body": "Sent from your Twilio trial account - Hello"}, True),
        ({"seconds": -10}, True),
        ({"date_created": None}, True),
        ({"date_created": "nonsense"}, True),
        ({"status": "failed"}, True),
        ({"body": None}, True),
        ({"body": "[Redacted]"}, True),
        ({"body": None, "num_media": "1"}, False),
        ({"body": "Your redacted report is ready."}, False),
        ({"body": None, "seconds": -120}, False),
        ({"body": None, "to": "+15550003333"}, False),
        ({"seconds": -120}, False),
        ({"body": "Hello you"}, False),
        ({"from": "+15550003333"}, False),
        ({"from": None}, False),
        ({"to": "+15550003333"}, False),
        ({"direction": "inbound"}, False),
        ({"direction": "outbound-reply"}, False),
    ],
)
async def test_which_records_match(
    twilio_api: FakeTwilio,
    session: aiohttp.ClientSession,
    fields: dict[str, Any],
    is_found: bool,  # noqa: FBT001
) -> None:
    """A record is the message when sender, recipient, text and time are its own."""
    pages(twilio_api, ["nonsense", record(**fields)])
    assert await found(twilio_api, session) == ([SID] if is_found else [])


async def test_a_hidden_text(twilio_api: FakeTwilio, session: aiohttp.ClientSession) -> None:
    """A record that does not show its text may be that of another message, and says so."""
    pages(twilio_api, [record(), record(body=None)])
    hidden, shown = await half.find(account(twilio_api.url), outbound(), session, SINCE)
    assert (hidden.is_hidden, hidden.may_differ) == (True, True)
    assert (shown.is_hidden, shown.may_differ) == (False, False)


def hiding(to: str, seconds: float, *, is_listed: bool = False, more: str | None = None) -> Answer:
    """Twilio's answers if the sender's only record hides the digits of its number; `is_listed`:
    also by recipient; `more`: where the sender's further records are. Its clock is ten minutes
    behind."""
    date = format_datetime(datetime.now(UTC) - timedelta(seconds=600), usegmt=True)

    async def answer(request: web.Request) -> web.Response:
        is_senders = request.query.get("From") == "+15550001111"
        shown = [record(seconds - 600, to=to, body=None)] if is_listed or is_senders else []
        page = {"messages": shown, "next_page_uri": more if is_senders else None}
        return web.json_response(page, headers={"Date": date})

    return answer


@pytest.mark.parametrize("is_listed", [True, False], ids=["listed", "only with the sender's"])
async def test_a_hidden_number(
    twilio_api: FakeTwilio,
    session: aiohttp.ClientSession,
    is_listed: bool,  # noqa: FBT001
) -> None:
    """A record that may be the message's, but hides its number, whether it is listed by recipient
    or only with the sender's: nobody can tell whether the message was taken."""
    twilio_api.answer = hiding("+1555000XXXX", 1, is_listed=is_listed)
    with pytest.raises(CannotAsk):
        await found(twilio_api, session)


@pytest.mark.parametrize(("to", "seconds"), [("+1212555XXXX", 1), ("+1555000XXXX", -1000)])
async def test_hidden_numbers_of_others(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession, to: str, seconds: float
) -> None:
    """What hides another number, or is older, is not the message, which is not there; but it may
    be if not all of the sender's records since then were seen."""
    twilio_api.answer = hiding(to, seconds)
    assert await found(twilio_api, session) == []
    twilio_api.answer = hiding(to, 1, more="/more")
    with pytest.raises(SendError):
        await found(twilio_api, session)


async def test_hidden_numbers_of_a_service(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession
) -> None:
    """A messaging service sends from numbers that we do not know: all of the account count."""
    pages(twilio_api, [])
    assert await found(twilio_api, session, messaging_service_sid="MG1") == []
    _, (request, _) = twilio_api.asked
    assert parse_qs(request.query_string) == {"PageSize": ["50"]}


@pytest.mark.parametrize(
    ("ours", "theirs", "is_found"),
    [
        ("It’s ready – “now”…", 'It\'s ready - "now"...', True),
        ("«½»\u00a0off at 9:00", '"1/2" off at 9:00', True),
        ("Your code is 1234", "Your code is 1243", False),
        ("Résumé", "Resume", False),
        ("👍", "👎", False),
        ("?!", "!?", False),
    ],
)
async def test_signs_as_the_network_has_them(
    twilio_api: FakeTwilio,
    session: aiohttp.ClientSession,
    ours: str,
    theirs: str,
    is_found: bool,  # noqa: FBT001
) -> None:
    """An SMS whose quotation marks and dashes Twilio has replaced is still that SMS: it is not sent
    again; on WhatsApp nothing is replaced."""
    pages(twilio_api, [record(body=theirs)])
    message = outbound(ours)
    assert await found(twilio_api, session, message) == ([SID] if is_found else [])
    whatsapp = record(body=theirs, to="whatsapp:+15550002222") | {"from": "whatsapp:+15550001111"}
    pages(twilio_api, [whatsapp])
    message = outbound(ours, Channel.WHATSAPP)
    assert await found(twilio_api, session, message) == []


async def test_whatsapp_and_services(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession
) -> None:
    """WhatsApp's records have its prefix; a service's have no sender until one is chosen."""
    whatsapp: dict[str, Any] = {"to": "whatsapp:+15550002222", "from": "whatsapp:+15550001111"}
    pages(twilio_api, [record(**whatsapp)])
    assert await found(twilio_api, session, outbound(channel=Channel.WHATSAPP)) == [SID]
    assert await found(twilio_api, session) == []
    pages(twilio_api, [record() | {"from": None, "messaging_service_sid": "MG1"}])
    assert await found(twilio_api, session, messaging_service_sid="MG1") == [SID]
    assert await found(twilio_api, session, messaging_service_sid="MG2") == []
    assert await found(twilio_api, session) == []


@pytest.mark.parametrize("to", ["+15550002222", "rcs:+15550002222"])
async def test_services_that_send_over_rcs(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession, to: str
) -> None:
    """What a service has sent over RCS is the message, or else it would be sent once more."""
    told = record() | {"from": "rcs:clinic_agent", "to": to, "messaging_service_sid": "MG1"}
    pages(twilio_api, [told])
    assert await found(twilio_api, session, messaging_service_sid="MG1") == [SID]
    assert await found(twilio_api, session, messaging_service_sid="MG2") == []
    assert await found(twilio_api, session) == []
    pages(twilio_api, [told | {"to": "rcs:+15550003333"}, told | {"from": "+15550009999"}])
    assert await found(twilio_api, session, messaging_service_sid="MG1") == []


async def test_what_may_be_another_message(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession
) -> None:
    """Only what is listed with our very text cannot be one that says something else: not a text
    with other signs, nor what a template or call says."""
    whatsapp: dict[str, Any] = {"to": "whatsapp:+15550002222", "from": "whatsapp:+15550001111"}
    template = ProviderTemplate(content_sid="HX1")

    async def doubts(*records: dict[str, Any], **ours: Any) -> list[bool]:
        pages(twilio_api, list(records))
        sent = await half.find(account(twilio_api.url), outbound(**ours), session, SINCE)
        return [each.may_differ for each in sent]

    assert await doubts(record(), record(body="Hello?"), record(body="Hello\r\n")) == [
        False,
        True,
        False,
    ]
    assert await doubts(record(**whatsapp), channel=Channel.WHATSAPP) == [False]
    templated = await doubts(record(**whatsapp), channel=Channel.WHATSAPP, template=template)
    assert templated == [True]


async def test_ends_of_lines_and_spaces(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession
) -> None:
    """Spaces around a text and the kind of its line ends do not tell two messages apart."""
    pages(twilio_api, [record(body="a\nb")])
    assert await found(twilio_api, session, outbound(" a\r\nb ")) == [SID]


async def test_all_pages_oldest_first(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession
) -> None:
    """Every page is read, and the oldest message comes first, also within a second."""
    pages(
        twilio_api,
        [record(9, sid="SM5"), record(5, sid="SM4"), record(5, sid="SM3")],
        [record(2, sid="SM2")],
        [record(1, sid="SM1"), record(-100, sid="SM0")],
    )
    assert await found(twilio_api, session) == ["SM1", "SM2", "SM3", "SM4", "SM5"]


async def test_old_pages_end_the_search(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession
) -> None:
    """A page on which all is older than the question ends it; one with a queued one does not."""
    old = [record(-100), record(-200)]
    pages(twilio_api, [record(sid="SM2")], old, [record(sid="SM1")])
    assert await found(twilio_api, session) == ["SM2"]
    pages(twilio_api, [record(sid="SM2")], [*old, record(date_created=None, body="Hi")], [record()])
    assert await found(twilio_api, session) == [SID, "SM2"]


async def test_the_search_is_bounded(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession
) -> None:
    """More pages than we read mean that nothing is known: not that nothing was sent."""
    pages(twilio_api, *[[record(body="x")]] * (PAGES + 1))
    with pytest.raises(AnswerLost):
        await found(twilio_api, session)
    assert len(twilio_api.asked) == PAGES


@pytest.mark.parametrize("sid", [None, "", "SM 1", 5, "S" * 65])
async def test_a_record_without_a_usable_id(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession, sid: Any
) -> None:
    """A record whose id cannot be read is found without it: it must not seem to be missing."""
    pages(twilio_api, [record(sid=sid)])
    [sent] = await half.find(account(twilio_api.url), outbound(), session, SINCE)
    assert not sent.has_id


@pytest.mark.parametrize("last", ["http://127.0.0.1:1/evil", "https://evil.example/", 5, "/a\nb"])
async def test_a_next_page_that_cannot_be_asked_for(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession, last: Any
) -> None:
    """No other host gets the credentials; what such a page has does not seem to be missing."""
    pages(twilio_api, [record()], last=last)
    with pytest.raises(AnswerLost):
        await found(twilio_api, session)
    assert len(twilio_api.asked) == 1


@pytest.mark.parametrize("last", [None, ""])
async def test_the_last_page(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession, last: Any
) -> None:
    """A page without a next one is the last."""
    pages(twilio_api, [record()], last=last)
    assert await found(twilio_api, session) == [SID]
    assert len(twilio_api.asked) == 1


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, "[]", AnswerLost),
        (200, '{"messages": 5}', AnswerLost),
        (200, "garbage", AnswerLost),
        (429, "{}", RefusedForNow),
        (500, json.dumps({"code": 20500, "message": "Oops."}), RefusedForNow),
        (502, "", AnswerLost),
        (401, json.dumps({"code": 20003, "message": "Authenticate"}), Refused),
    ],
)
async def test_answers_that_say_nothing(
    twilio_api: FakeTwilio,
    session: aiohttp.ClientSession,
    status: int,
    body: str,
    kind: type[SendError],
) -> None:
    """When Twilio does not answer the question, that is told as for a send."""
    twilio_api.says(status, body)
    with pytest.raises(kind):
        await found(twilio_api, session)


async def test_calls_are_listed_by_sender_and_recipient(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession
) -> None:
    """A call is found by who calls whom and when; the oldest comes first."""
    fields: list[dict[str, Any]] = [
        {"sid": "CA6", "seconds": 3}, {"sid": "CA5", "seconds": 2, "status": "completed"},
        {"sid": "CA4", "direction": "inbound"}, {"sid": "CA3", "from": "+15550003333"},
        {"sid": "CA2", "to": "+15550003333"}, {"sid": "CA1", "seconds": -120},
    ]  # fmt: skip
    calls = [record(**each) for each in fields]
    twilio_api.says(200, json.dumps({"calls": calls, "next_page_uri": None}))
    assert await found(twilio_api, session, outbound(channel=Channel.CALL)) == ["CA5", "CA6"]
    [(request, _)] = twilio_api.asked
    assert (request.method, request.path) == ("GET", "/2010-04-01/Accounts/AC1/Calls.json")
    assert dict(request.query) == {"To": "+15550002222", "From": "+15550001111", "PageSize": "200"}


async def test_templates_are_found_without_their_text(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession
) -> None:
    """Twilio's text of a template need not be ours: sender, recipient and time decide."""
    message = outbound(template=ProviderTemplate(content_sid="HX1"))
    pages(twilio_api, [record(body="Hello Ann, welcome")])
    assert await found(twilio_api, session, message) == [SID]
    pages(twilio_api, [record(body="Hello Ann, welcome", to="+15550003333")])
    assert await found(twilio_api, session, message) == []
