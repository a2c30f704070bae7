"""Calls: what is said at the provider, what became of it, and those who call us."""

from __future__ import annotations

import asyncio
import itertools
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from channels.model import Channel
from tests.service.wires import (
    CREDENTIALS,
    connect,
    from_twilio,
    inbound_of,
    row_of,
    send,
    step,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

ADA = "+447700900123"
SID = "CA" + "5" * 32
ACCOUNT = CREDENTIALS["twilio"]["account_sid"]
LEFT = {
    "RecordingSid": "RE1",
    "RecordingUrl": "https://api.twilio.com/2010-04-01/Accounts/AC/Recordings/RE1",
    "RecordingDuration": "7",
}


@pytest.fixture
async def account(gateway: Gateway, api: Api) -> UUID:
    """Twilio, with the default sender of calls."""
    api.says(201, {"sid": SID, "status": "queued"})
    return await connect(gateway, "twilio", Channel.CALL)


async def tell(gateway: Gateway, account: UUID, event: str, *, query: str = "", **more: str) -> Any:
    """A callback about the call."""
    fields = {"CallSid": SID, "AccountSid": ACCOUNT, **more}
    return await from_twilio(gateway, event, fields, query=query, account_id=account)


async def test_template(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """A template of type call is said in its voice, twice, with a digit to confirm; a variable is
    text, whatever it holds."""
    options = {"voice": "Polly.Amy", "language": "en-GB", "repeat": 2, "confirm": "1",
               "detect_machine": True, "timeout": 20, "play": "https://x.example/a.mp3"}  # fmt: skip  # noqa: E501
    made = await ask("POST", "/v1/templates", {"name": "remind", "type": "call",
                     "content": "Hello {{ name }}, press 1.", "options": options})  # fmt: skip
    assert 201 == made.status, made.body
    name = "A & <Hangup/> B"
    sent = await send(ask, "call", ADA, template="remind", variables={"name": name})
    await step(api.worker(gateway))
    form = api.last
    twiml = ET.fromstring(form["Twiml"])  # noqa: S314 - our own

    assert f"Hello {name}, press 1." == sent["body"]
    assert [f"Hello {name}, press 1."] * 2 == [say.text for say in twiml.iter("Say")]
    assert {"voice": "Polly.Amy", "language": "en-GB"} == next(twiml.iter("Say")).attrib
    assert ["https://x.example/a.mp3"] * 2 == [play.text for play in twiml.iter("Play")]
    assert [] == list(twiml.iter("Hangup"))
    gather = next(twiml.iter("Gather")).attrib
    base = f"https://msg.example.org/gw/webhooks/twilio/{account}"
    assert gather["action"].startswith(f"{base}/gather?message_id={sent['id']}&confirm=1")
    assert form["StatusCallback"].startswith(f"{base}/call-status?message_id={sent['id']}")
    assert ["initiated", "ringing", "answered", "completed"] == form["StatusCallbackEvent"]
    assert ("20", "true") == (form["Timeout"], form["AsyncAmd"])
    row = await row_of(ask, sent)
    assert ("sent", SID) == (row["status"], row["external_id"])


WORDS = ("initiated", "ringing", "in-progress", "completed")
ORDERS = [WORDS, WORDS[::-1], ("completed", "initiated"), ("ringing", "completed", "ringing")]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("when", ["early", "late"])
async def test_statuses(
    gateway: Gateway, ask: Ask, api: Api, account: UUID, order: tuple[str, ...], when: str
) -> None:
    """In whatever order the callbacks come, also before our commit, the call is delivered, with
    duration and who answered."""
    sent = await send(ask, "call", ADA, body="Hello")
    worker = api.worker(gateway)
    (turn,) = await worker.claim(10)
    if when == "late":
        await worker.work(turn)
    query = f"?message_id={sent['id']}"
    for number, word in itertools.chain(enumerate(order), enumerate(order)):
        more = {"CallDuration": "17"} if word == "completed" else {"AnsweredBy": "unknown"}
        told = await tell(gateway, account, "call-status", query=query, CallStatus=word,
                          Direction="outbound-api", SequenceNumber=str(number), **more)  # fmt: skip
        assert told.status in (200, 204)
    await tell(gateway, account, "amd", query=query, AnsweredBy="machine_start",
               Direction="outbound-api")  # fmt: skip
    if when == "early":
        await worker.work(turn)
    row = await row_of(ask, sent)

    assert ("delivered", SID) == (row["status"], row["external_id"])
    told = row["metadata"]["provider"]
    assert ("17", "machine_start") == (told["duration"], told["answered_by"])
    assert 0 == await gateway.count("gateway.queue")
    assert 1 == await gateway.count("gateway.errands")  # its price is asked for, once


@pytest.mark.parametrize(
    ("word", "status", "code"),
    [
        ("busy", "failed", "busy"),
        ("no-answer", "failed", "no-answer"),
        ("failed", "failed", "404"),
        ("canceled", "canceled", None),
        ("from-next-year", "sent", None),
    ],
)
async def test_ends(
    gateway: Gateway, ask: Ask, api: Api, account: UUID, word: str, status: str, code: str | None
) -> None:
    """What Twilio calls an end is ours by the contract's words; a word of next year is an event."""
    sent = await send(ask, "call", ADA, body="Hello")
    await step(api.worker(gateway))
    await tell(gateway, account, "call-status", CallStatus=word, SipResponseCode="404",
               Direction="outbound-api")  # fmt: skip
    row = await row_of(ask, sent)
    events = (await ask("GET", f"/v1/messages/{sent['id']}/events")).body["data"]

    assert (status, code) == (row["status"], row["error_code"])
    assert word == events[0]["type"]
    assert code is None or row["error_message"]


async def test_confirmed(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """The digit that was asked for is the event `confirmed`, and they are thanked."""
    sent = await send(ask, "call", ADA, body="Press 1", options={"confirm": "1"})
    await step(api.worker(gateway))
    query = f"?message_id={sent['id']}&confirm=1"
    for digit in ("2", "1"):
        told = await tell(gateway, account, "gather", query=query, Digits=digit,
                          Direction="outbound-api")  # fmt: skip
        assert (200, True) == (told.status, "<Say>" in told.body)
    events = (await ask("GET", f"/v1/messages/{sent['id']}/events")).body["data"]
    assert ["confirmed", "digits"] == [event["type"] for event in events[:2]]


async def test_thanks(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """Who confirms a call is thanked in its voice, in English alone."""
    for language, tags in (("en-GB", ["Say", "Hangup"]), ("de-DE", ["Hangup"])):
        options = {"confirm": "1", "voice": "Polly.Amy", "language": language}
        await send(ask, "call", ADA, body="1?", options=options)
        await step(api.worker(gateway))
        twiml = ET.fromstring(api.last["Twiml"])  # noqa: S314 - our own
        _, _, query = next(twiml.iter("Gather")).attrib["action"].partition("?")
        told = await tell(gateway, account, "gather", query="?" + query.partition("#")[0],
                          Digits="1", Direction="outbound-api")  # fmt: skip
        thanks = ET.fromstring(told.body)  # noqa: S314 - our own
        assert tags == [each.tag for each in thanks]
        assert {"voice": "Polly.Amy", "language": language} == thanks[0].attrib or tags[1:] == []


async def test_they_call(gateway: Gateway, ask: Ask, account: UUID) -> None:
    """Who calls hears the organization's greeting; recording and transcript join the call's row,
    in whichever order, once."""
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE organizations SET settings = settings || $2::jsonb WHERE id = $1",
            gateway.a.organization_id,
            json.dumps({"call": {"greeting": "You & <us>", "transcribe": True}}),
        )
    lead = (
        await ask("POST", "/v1/leads", {"first_name": "A", "last_name": "L", "phone": ADA})
    ).body
    call = {"From": ADA, "To": "+15551230008", "Direction": "inbound", "CallStatus": "ringing"}
    for _ in range(2):
        heard = await tell(gateway, account, "call", **call)
    twiml = ET.fromstring(heard.body)  # noqa: S314 - our own
    assert (200, "text/xml") == (heard.status, heard.headers["Content-Type"].partition(";")[0])
    assert "You & <us>" == next(twiml.iter("Say")).text
    record = next(twiml.iter("Record")).attrib
    base = f"https://msg.example.org/gw/webhooks/twilio/{account}"
    assert record["recordingStatusCallback"].startswith(f"{base}/recording")
    assert record["transcribeCallback"].startswith(f"{base}/transcription")
    (row,) = await inbound_of(ask)
    assert ("call", "received", ADA, SID, "", lead["id"]) == (
        row["channel"],
        row["status"],
        row["from_address"],
        row["external_id"],
        row["body"],
        row["lead_id"],
    )

    recording = {**LEFT, "RecordingStatus": "completed"}
    text = {"TranscriptionSid": "TR1", "TranscriptionStatus": "completed",
            "TranscriptionText": "Please call me back."}  # fmt: skip
    for _ in range(2):
        await tell(gateway, account, "transcription", **text)
        await tell(gateway, account, "recording", **recording)
        await tell(gateway, account, "recording", RecordingSid="RE3", RecordingStatus="failed")
    done = await tell(gateway, account, "gather", Direction="inbound", Digits="hangup")
    await tell(gateway, account, "call-status", Direction="inbound", CallStatus="completed",
               CallDuration="31")  # fmt: skip
    (row,) = await inbound_of(ask)

    assert ("Please call me back.", "received") == (row["body"], row["status"])
    (file,) = row["attachments"]
    assert "recording.mp3" == file["filename"]
    assert 1 == await gateway.count("gateway.media")
    told = row["metadata"]["provider"]
    assert ("31", "RE1", "7") == tuple(
        told[name] for name in ("duration", "recording_sid", "recording_duration")
    )
    assert "<Record" not in done.body


@pytest.mark.parametrize("events", [["gather"], ["gather", "recording"], ["recording", "gather"]])
async def test_a_message_left(gateway: Gateway, ask: Ask, account: UUID, events: list[str]) -> None:
    """A recording is its call's one file, whichever of its two callbacks come, also at once."""
    await tell(gateway, account, "call", From=ADA, To="+15551230008", Direction="inbound",
               CallStatus="ringing")  # fmt: skip
    said = {
        "gather": {"Direction": "inbound", "Digits": "hangup"},
        "recording": {"RecordingStatus": "completed"},
    }
    each = (tell(gateway, account, event, **LEFT, **said[event]) for event in [*events, *events])
    assert {200} == {answer.status for answer in await asyncio.gather(*each)}
    (row,) = await inbound_of(ask)

    assert ["recording.mp3"] == [file["filename"] for file in row["attachments"]]
    assert (1, 1) == (await gateway.count("gateway.media"), await gateway.count("gateway.errands"))
    assert "RE1" == row["metadata"]["provider"]["recording_sid"]


async def test_a_recording_that_was_not_ready(gateway: Gateway, ask: Ask, account: UUID) -> None:
    """A recording that could not be fetched after the message was left is once it is told of."""
    await tell(gateway, account, "call", From=ADA, To="+15551230008", Direction="inbound",
               CallStatus="ringing")  # fmt: skip
    await tell(gateway, account, "gather", **LEFT, Direction="inbound", Digits="hangup")
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.media SET state = 'failed', reason = 'It is not there.'")
        await db.execute("DELETE FROM gateway.errands")
    for _ in range(2):
        await tell(gateway, account, "recording", **LEFT, RecordingStatus="completed")

    async with gateway.database.as_service() as db:
        assert "waiting" == await db.fetchval("SELECT state FROM gateway.media")
    assert 1 == await gateway.count("gateway.errands")
    assert 1 == len((await inbound_of(ask))[0]["attachments"])


async def test_told_before_the_call(gateway: Gateway, ask: Ask, account: UUID) -> None:
    """What is told of a call before the call itself is among its events, also what does not say
    that the call came in, which changes no status."""
    await tell(gateway, account, "call-status", CallStatus="in-progress", CallDuration="31")
    await tell(gateway, account, "call-status", CallStatus="failed", ErrorCode="13224")
    await tell(gateway, account, "recording", RecordingSid="RE1", RecordingStatus="absent")
    for _ in range(2):
        await tell(gateway, account, "call", From=ADA, To="+15551230008", Direction="inbound",
                   CallStatus="ringing")  # fmt: skip
    (row,) = await inbound_of(ask)
    events = (await ask("GET", f"/v1/messages/{row['id']}/events")).body["data"]

    words = {"received", "in-progress", "failed", "recording-absent"}
    assert words == {event["type"] for event in events}
    assert {"received", None} == {event["status"] for event in events}
    assert ("received", None, None, None) == tuple(
        row[name] for name in ("status", "sent_at", "failed_at", "error_code")
    )
    assert 0 == await gateway.count("gateway.unmatched_reports")


async def test_a_call_on_whatsapp(gateway: Gateway, ask: Ask, account: UUID) -> None:
    """Who calls us on WhatsApp does so in their one conversation, as the lead that they are."""
    lead = {"first_name": "Ada", "phone": ADA}
    lead_id = (await ask("POST", "/v1/leads", lead)).body["id"]
    sent = await send(ask, "sms", ADA, body="Hello")
    await tell(gateway, account, "call", From=f"whatsapp:{ADA}", To="whatsapp:+15551230008",
               Direction="inbound", CallStatus="ringing")  # fmt: skip
    (row,) = await inbound_of(ask)

    assert (ADA, "+15551230008") == (row["from_address"], row["to_address"])
    assert (sent["conversation_id"], lead_id) == (row["conversation_id"], row["lead_id"])


@pytest.mark.parametrize(
    "caller", ["sip:anonymous@anonymous.invalid", "sip:restricted@203.0.113.5", "266696687"]
)
async def test_hidden_callers(gateway: Gateway, ask: Ask, account: UUID, caller: str) -> None:
    """Two that hide who calls, also as RFC 3323 has it, share no conversation."""
    for sid in ("CA1", "CA2"):
        await tell(gateway, account, "call", CallSid=sid, From=caller,
                   To="+15551230008", Direction="inbound", CallStatus="ringing")  # fmt: skip
    first, second = await inbound_of(ask)

    assert "anonymous" == first["from_address"] == second["from_address"]
    assert first["conversation_id"] != second["conversation_id"]


async def test_refused(ask: Ask, account: UUID) -> None:
    """A call from a sender of SMS alone, or that cannot be said, is refused by name."""
    assert account
    cases: list[tuple[dict[str, Any], str]] = [
        ({"body": "x", "from": "+15551230001"}, "from"),
        ({"body": " "}, "body"),
        ({"body": "x" * 5000}, "body"),
        ({"body": "x", "subject": "y"}, "subject"),
        ({"body": "x", "options": {"repeat": 6}}, "options.repeat"),
        ({"body": "x", "options": {"confirm": "12"}}, "options.confirm"),
        ({"body": "x", "options": {"voice": "<Say>"}}, "options.voice"),
        ({"body": "x", "options": {"play": "javascript:x"}}, "options.play"),
        ({"options": {"play": f"https://x.example/{'a' * 4000}"}}, "options.play"),
        ({"body": "x", "options": {"unheard": 1}}, "options.unheard"),
        ({"body": "x", "to": "someone@example.com"}, "to"),
    ]
    for body, field in cases:
        answer = await ask("POST", "/v1/messages", {"channel": "call", "to": ADA} | body)
        assert (422, {field}) == (answer.status, set(answer.fields())), (body, answer.body)


async def test_lost_answer(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """A call whose answer was lost is found in Twilio's list, and nobody is rung twice."""
    assert account
    api.says(502)
    sent = await send(ask, "call", ADA, body="Hello")
    worker = api.worker(gateway, ask_every=0)
    await step(worker)
    assert "unknown" == (await row_of(ask, sent))["status"]
    known = {"sid": SID, "to": ADA, "from": "+15551230008", "direction": "outbound-api",
             "date_created": _rfc2822(sent["created_at"]), "status": "ringing"}  # fmt: skip
    api.says(200, {"calls": [known], "next_page_uri": None})
    await step(worker)
    row = await row_of(ask, sent)

    assert ("sent", SID) == (row["status"], row["external_id"])
    assert ["POST", "GET"] == [request.method for request, _ in api.asked]


def _rfc2822(moment: str) -> str:
    return (datetime.fromisoformat(moment) + timedelta(seconds=1)).strftime(
        "%a, %d %b %Y %H:%M:%S +0000"
    )
