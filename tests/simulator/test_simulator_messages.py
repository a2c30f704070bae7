"""The Messages resource, asked by Twilio's own client and by hand."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from twilio.base.exceptions import TwilioRestException

if TYPE_CHECKING:
    from twilio.rest import Client

    from tests.simulator.conftest import Sim

SID = "AC" + "0" * 31 + "1"
TOKEN = "0123456789abcdef0123456789abcdef"
MESSAGES = f"/2010-04-01/Accounts/{SID}/Messages.json"
SERVICE = "MG" + "a" * 32
TO, FROM = "+15551230001", "+15551230002"


async def test_create_answers_with_the_whole_resource(sim: Sim) -> None:
    """A new message is 201 with every field of the resource, in Twilio's types."""
    await sim.plan(match=None, outcome="queued")

    status, answer = await sim.send(
        Body="Grüße 👍", MediaUrl=["https://a.test/1", "https://a.test/2"]
    )

    sid = answer["sid"]
    uri = f"/2010-04-01/Accounts/{SID}/Messages/{sid}"
    created = parsedate_to_datetime(answer["date_created"])
    assert (status, sid[:2], len(sid)) == (201, "MM", 34)
    assert abs(created - datetime.now(UTC)) < timedelta(seconds=10)
    assert answer == {
        "account_sid": SID,
        "api_version": "2010-04-01",
        "body": "Grüße 👍",
        "date_created": answer["date_created"],
        "date_sent": None,
        "date_updated": answer["date_created"],
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": FROM,
        "messaging_service_sid": None,
        "num_media": "2",
        "num_segments": "1",
        "price": None,
        "price_unit": None,
        "sid": sid,
        "status": "queued",
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": TO,
        "uri": f"{uri}.json",
    }


async def test_the_resource_has_the_fields_of_twilios_own_description(sim: Sim) -> None:
    """The fields and their JSON types are those of Twilio's OpenAPI description."""
    path = Path(__file__).parents[3] / "shared" / "specs" / "twilio_api_v2010.json"
    if not path.exists():
        pytest.skip("Twilio's description is not on this machine")
    schema = json.loads(path.read_text())["components"]["schemas"]["api.v2010.account.message"]
    await sim.plan(match=None, outcome="undelivered")

    _, answer = await sim.send()
    await sim.settled(3)
    _, later = await sim.ask("GET", answer["uri"], (SID, TOKEN))

    kinds: dict[str, tuple[type, ...]] = {"string": (str,), "integer": (int,), "object": (dict,)}
    assert set(answer) == set(schema["properties"])
    for name, rule in schema["properties"].items():
        for value in (answer[name], later[name]):
            assert value is None or isinstance(value, kinds[rule.get("type", "string")]), name


async def test_twilios_client_creates_fetches_cancels_redacts_and_deletes(
    sim: Sim, twilio: Client
) -> None:
    """Twilio's own library finds everything where it looks for it."""

    def talk() -> tuple[Any, ...]:
        made = twilio.messages.create(to=TO, from_=FROM, body="Hello")
        later = twilio.messages.create(
            to=TO,
            messaging_service_sid=SERVICE,
            body="Later",
            schedule_type="fixed",
            send_at=datetime.now(UTC) + timedelta(hours=1),
        )
        canceled = twilio.messages(later.sid).update(status="canceled")
        return made, later, canceled

    made, later, canceled = await asyncio.to_thread(talk)
    await sim.settled(4)
    fetched = await asyncio.to_thread(twilio.messages(made.sid).fetch)
    redacted = await asyncio.to_thread(lambda: twilio.messages(made.sid).update(body=""))
    deleted = await asyncio.to_thread(twilio.messages(made.sid).delete)

    assert (made.status, made.to, made.from_, made.date_sent) == ("queued", TO, FROM, None)
    assert (later.status, later.from_, later.messaging_service_sid) == ("scheduled", None, SERVICE)
    assert (canceled.status, canceled.date_sent) == ("canceled", None)
    assert (fetched.status, fetched.price, fetched.price_unit) == ("delivered", "-0.00790", "USD")
    assert fetched.date_sent is not None
    assert (redacted.body, deleted) == ("", True)
    with pytest.raises(TwilioRestException) as gone:
        await asyncio.to_thread(twilio.messages(made.sid).fetch)
    assert (gone.value.status, gone.value.code) == (404, 20404)


async def test_twilios_client_walks_all_pages(sim: Sim, twilio: Client) -> None:
    """Paging gives every message once, newest first, and the links lead on and back."""
    sids = [(await sim.send(Body=str(number)))[1]["sid"] for number in range(7)]

    listed = await asyncio.to_thread(lambda: twilio.messages.list(page_size=3))
    limited = await asyncio.to_thread(lambda: twilio.messages.list(limit=4, page_size=3))
    first = await asyncio.to_thread(lambda: twilio.messages.page(page_size=3))
    second = await asyncio.to_thread(first.next_page)
    back = await asyncio.to_thread(second.previous_page)

    assert [message.sid for message in listed] == sids[::-1]
    assert [message.sid for message in limited] == sids[::-1][:4]
    assert [message.sid for message in second] == sids[::-1][3:6]
    assert [message.sid for message in back] == sids[::-1][:3]


async def test_pages_do_not_shift_while_messages_arrive(sim: Sim) -> None:
    """The next page goes on where the last one ended, whatever was sent in between."""
    sids = [(await sim.send())[1]["sid"] for _ in range(4)]
    _, first = await sim.ask("GET", f"{MESSAGES}?PageSize=2", (SID, TOKEN))
    await sim.send()

    _, second = await sim.ask("GET", first["next_page_uri"], (SID, TOKEN))

    assert [message["sid"] for message in second["messages"]] == sids[1::-1]
    assert (second["page"], second["start"], second["end"]) == (1, 2, 3)
    assert second["next_page_uri"] is None


async def test_list_filters(sim: Sim, twilio: Client) -> None:
    """To, From, DateSent, DateSent> and DateSent< (both inclusive) are honoured together."""
    await sim.send(Body="a")
    await sim.send(Body="b", To="+15551230009")
    await sim.send(Body="c", From="+15551230008")
    await sim.settled(9)
    now = datetime.now(UTC)
    today, hour = now.date(), timedelta(hours=1)

    def bodies(**query: Any) -> list[str | None]:
        return sorted(message.body or "" for message in twilio.messages.list(**query))

    def ask() -> list[list[str | None]]:
        return [
            bodies(to=TO),
            bodies(from_=FROM),
            bodies(to=TO, from_=FROM),
            bodies(to=TO, date_sent=today),
            bodies(date_sent_after=today, date_sent_before=today),
            bodies(date_sent_after=now - hour, date_sent_before=now + hour),
            bodies(date_sent_after=now + hour),
            bodies(date_sent_before=today - timedelta(days=2)),
            bodies(date_sent=date(2008, 1, 2)),
        ]

    everything = ["a", "b", "c"]
    answers = await asyncio.to_thread(ask)

    expected = [["a", "c"], ["a", "b"], ["a"], ["a", "c"], everything, everything, [], [], []]
    assert expected == answers


async def test_a_message_in_the_queue_is_found_by_no_date(sim: Sim) -> None:
    """What was accepted and not sent yet has no DateSent: it is listed, but not by a date."""
    await sim.plan(match=None, outcome="queued")
    _, made = await sim.send()
    since = datetime.now(UTC).date().isoformat()

    _, found = await sim.ask("GET", f"{MESSAGES}?To=%2B15551230001", (SID, TOKEN))
    _, dated = await sim.ask("GET", f"{MESSAGES}?DateSent%3E={since}&PageSize=5", (SID, TOKEN))

    assert [message["sid"] for message in found["messages"]] == [made["sid"]]
    assert dated["messages"] == []
    assert dated["uri"] == f"{MESSAGES}?DateSent%3E={since}&PageSize=5&Page=0"


@pytest.mark.parametrize(
    "query",
    ["PageSize=0", "PageSize=x", "Page=-1", "PageToken=PAnone", "DateSent=%3E%3D2026-01-01"],
)
async def test_a_malformed_list_request_is_refused(sim: Sim, query: str) -> None:
    """A page or date that is none is 400 with a Twilio error body."""
    status, answer = await sim.ask("GET", f"{MESSAGES}?{query}", (SID, TOKEN))

    assert (status, answer["code"]) == (400, 20001)


@pytest.mark.parametrize(
    ("text", "count"),
    [("Wed, 19 Jun 2019 22:04:00 -0000", 0), ("2090-06-11 22:05:25.000", 1)],
)
async def test_dates_are_read_in_twilios_forms(sim: Sim, text: str, count: int) -> None:
    """ISO and RFC 2822 times are read in the list's filters."""
    await sim.send()
    await sim.settled(3)

    _, found = await sim.ask("GET", MESSAGES, (SID, TOKEN), params={"DateSent<": text})

    assert len(found["messages"]) == count


async def test_what_has_left_cannot_be_canceled_nor_what_waits_be_deleted(sim: Sim) -> None:
    """Cancel is for scheduled messages, delete for finished ones, an update for nothing else."""
    await sim.plan(match=None, outcome="queued")
    _, made = await sim.send()

    answers = [
        await sim.ask("POST", made["uri"], (SID, TOKEN), data={"Status": "canceled"}),
        await sim.ask("POST", made["uri"], (SID, TOKEN), data={"Body": "other"}),
        await sim.ask("DELETE", made["uri"], (SID, TOKEN)),
        await sim.ask("PUT", made["uri"], (SID, TOKEN)),
    ]

    assert [(status, answer["code"]) for status, answer in answers] == [
        (409, 30409),
        (400, 20001),
        (409, 20009),
        (405, 20004),
    ]


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ("x" * 160, "1"),
        ("x" * 161, "2"),
        ("€" * 80, "1"),
        ("x" * 152 + "€" * 77, "3"),
        ("ж" * 70, "1"),
        ("ж" * 71, "2"),
        ("👍" * 35, "1"),
        ("👍" * 67, "3"),
    ],
)
async def test_segments_are_counted(sim: Sim, body: str, number: str) -> None:
    """`num_segments` counts septets or UTF-16 units, and divides no pair."""
    _, answer = await sim.send(Body=body)

    assert answer["num_segments"] == number
