"""Twilio's Calls: what is accepted, how a call goes, and what is reported about it."""

from __future__ import annotations

import asyncio
import json
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from twilio.rest import Client

    from tests.simulator.conftest import Hook, Sim

SID = "AC" + "0" * 31 + "1"
TOKEN = "0123456789abcdef0123456789abcdef"
CALLS = f"/2010-04-01/Accounts/{SID}/Calls.json"
EVERY = ["initiated", "ringing", "answered", "completed"]
SAY = "<Response><Say>Hello</Say></Response>"


async def _call(sim: Sim, **params: Any) -> tuple[int, Any]:
    """Ask for a call that reports everything; an argument `None` leaves a parameter out."""
    form: dict[str, Any] = {
        "To": "+15551230001",
        "From": "+15551230002",
        "Twiml": SAY,
        "StatusCallback": f"{sim.hook.base}/call-status",
        "StatusCallbackEvent": EVERY,
    }
    pairs: list[tuple[str, str]] = []
    for name, value in (form | params).items():
        values = value if isinstance(value, list) else [value]
        pairs += [(name, one) for one in values if one is not None]
    return await sim.ask("POST", CALLS, (SID, TOKEN), data=aiohttp.FormData(pairs))


async def _ended(sim: Sim, status: str) -> dict[str, Any]:
    """The only call, once it has that status and its callbacks are over."""
    for _ in range(3000):
        (call,) = await sim.data("messages")
        if call["status"] == status and all(one["done"] for one in call["callbacks"]):
            return call
        await asyncio.sleep(0.01)
    raise AssertionError(call)


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        ("completed", ["initiated", "ringing", "in-progress", "completed"]),
        ("delivered", ["initiated", "ringing", "in-progress", "completed"]),
        ("busy", ["initiated", "ringing", "busy"]),
        ("no-answer", ["initiated", "ringing", "no-answer"]),
        ("failed", ["initiated", "failed"]),
        ("canceled", ["initiated", "canceled"]),
        ("sent", ["initiated", "ringing", "in-progress"]),
        ("queued", []),
    ],
)
async def test_a_call_goes_as_planned(
    sim: Sim, hook: Hook, outcome: str, statuses: list[str]
) -> None:
    """Every step is called back, signed and numbered from 0, with the time of RFC 2822."""
    await sim.plan(match=None, outcome=outcome)

    status, made = await _call(sim)
    received = await hook.count(len(statuses))
    await asyncio.sleep(0.02)

    assert (status, made["status"], made["direction"]) == (201, "queued", "outbound-api")
    assert [one.params["CallStatus"] for one in received] == statuses
    assert [one.params["SequenceNumber"] for one in received] == [
        str(number) for number in range(len(statuses))
    ]
    assert all(one.is_signed() for one in received)
    assert all(parsedate_to_datetime(one.params["Timestamp"]) for one in received)
    durations = [one.params.get("CallDuration") for one in received]
    ended = {"completed": "12", "busy": "0", "no-answer": "0", "failed": "0", "canceled": "0"}
    assert durations == [ended.get(status) for status in statuses]


async def test_a_callback_has_twilios_fields(sim: Sim, hook: Hook) -> None:
    """The last report tells who, how long, and that it is progress of a call."""
    await sim.plan(match=None, duration=61)

    _, made = await _call(sim)
    params = (await hook.count(4))[-1].params

    params.pop("Timestamp")
    assert params == {
        "CallSid": made["sid"],
        "AccountSid": SID,
        "From": "+15551230002",
        "To": "+15551230001",
        "Caller": "+15551230002",
        "Called": "+15551230001",
        "CallStatus": "completed",
        "ApiVersion": "2010-04-01",
        "Direction": "outbound-api",
        **{f"{side}Country": "US" for side in ("From", "To", "Caller", "Called")},
        **{
            f"{side}{what}": ""
            for side in ("From", "To", "Caller", "Called")
            for what in ("State", "City")
        },
        "CallbackSource": "call-progress-events",
        "SequenceNumber": "3",
        "SipResponseCode": "200",
        "CallDuration": "61",
        "Duration": "2",
    }


@pytest.mark.parametrize(
    ("events", "statuses"),
    [
        (None, ["completed"]),
        (["ringing"], ["ringing"]),
        (["answered", "completed"], ["in-progress", "completed"]),
        (["initiated ringing", "loud"], []),
    ],
)
async def test_only_the_events_asked_for_are_reported(
    sim: Sim, hook: Hook, events: list[str] | None, statuses: list[str]
) -> None:
    """The parameter is repeated, one event each; without it the end alone is reported."""
    await _call(sim, StatusCallbackEvent=events)
    await _ended(sim, "completed")

    received = await hook.count(len(statuses))
    assert [one.params["CallStatus"] for one in received] == statuses
    assert [one.params["SequenceNumber"] for one in received] == [
        str(number) for number in range(len(statuses))
    ]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"To": None}, 21201),
        ({"From": None}, 21213),
        ({"To": "hello"}, 21211),
        ({"To": "whatsapp:+15551230001"}, 21211),
        ({"From": "Clinic"}, 21212),
        ({"From": "2020"}, 21212),
        ({"From": "+15005550001"}, 21212),
        ({"To": "+15005550001"}, 21217),
        ({"To": "+15005550002"}, 21214),
        ({"To": "+15005550003"}, 21215),
        ({"To": "+15005550004"}, 21216),
        ({"Twiml": None}, 21205),
        ({"Twiml": "x" * 4001}, 20001),
        ({"Url": "nowhere"}, 21205),
        ({"StatusCallback": "nowhere"}, 21205),
        ({"Twiml": None, "ApplicationSid": "AP1"}, 21218),
        ({"Timeout": "601"}, 20001),
        ({"Timeout": "long"}, 20001),
    ],
)
async def test_a_wrong_call_is_refused_with_twilios_code(
    sim: Sim, params: dict[str, Any], code: int
) -> None:
    """What is missing or wrong, and every magic number, has its code; nobody is called."""
    status, answer = await _call(sim, **params)

    assert (status, answer["code"]) == (400, code)
    assert "{" not in answer["message"]
    assert await sim.data("messages") == []


@pytest.mark.parametrize(
    "params",
    [
        {"Twiml": None, "ApplicationSid": "AP" + "a" * 32},
        {"Timeout": "600"},
        {"From": "+15005550006"},
        {"Twiml": "x" * 5000, "Url": "http://127.0.0.1:1/twiml"},
    ],
)
async def test_other_ways_to_ask_for_a_call(sim: Sim, params: dict[str, Any]) -> None:
    """An application, the longest time-out, the magic number; with Url no Twiml is looked at."""
    assert (await _call(sim, **params))[0] == 201


async def test_only_own_numbers_call_where_they_are_given(bare_sim: Sim) -> None:
    """An account with `numbers` refuses every other From with 21210."""
    await bare_sim.account("twilio", account_sid=SID, auth_token=TOKEN, numbers=["+15551230002"])

    codes = [
        (await _call(bare_sim, From=sender))[1].get("code")
        for sender in ("+15551230002", "+15551230003")
    ]

    assert codes == [None, 21210]


async def test_the_resource_has_the_fields_of_twilios_own_library(sim: Sim, twilio: Client) -> None:
    """Twilio's client makes, lists, fetches a call; price, times and duration come at its end."""
    made = await asyncio.to_thread(
        twilio.calls.create, to="+15551230001", from_="+15551230002", twiml=SAY
    )
    await _ended(sim, "completed")
    call = await asyncio.to_thread(twilio.calls(made.sid).fetch)
    listed = await asyncio.to_thread(
        twilio.calls.list, to="+15551230001", status="completed", start_time_after=made.date_created
    )
    none = await asyncio.to_thread(twilio.calls.list, status="busy")

    assert (made.price, made.duration, made.start_time) == (None, None, None)
    assert (call.status, call.duration, call.price) == ("completed", "12", "-0.01300")
    assert call.end_time >= call.start_time
    assert [one.sid for one in listed] == [made.sid]
    assert none == []


async def test_the_resource_is_valid_against_twilios_own_description(sim: Sim) -> None:
    """Every field of the published schema of a call is there, and no other."""
    path = Path(__file__).parents[3] / "shared" / "specs" / "twilio_api_v2010.json"
    if not path.exists():
        pytest.skip("Twilio's OpenAPI file is not at hand")
    schemas = json.loads(path.read_text())["components"]["schemas"]
    fields = schemas["api.v2010.account.call"]["properties"].keys()

    _, made = await _call(sim)

    assert made.keys() == fields


@pytest.mark.parametrize(
    ("outcome", "asked", "status", "code"),
    [
        ("queued", "canceled", "canceled", None),
        ("queued", "completed", "canceled", None),
        ("sending", "canceled", "canceled", None),
        ("sent", "completed", "completed", None),
        ("sent", "canceled", "in-progress", 21220),
        ("busy", "completed", "busy", 21220),
        ("queued", "busy", "queued", 20001),
    ],
)
async def test_hanging_up(
    sim: Sim, hook: Hook, outcome: str, asked: str, status: str, code: int | None
) -> None:
    """`canceled` while nobody has answered, `completed` always; and that is reported."""
    await sim.plan(match=None, outcome=outcome)
    steps = {"queued": 0, "sending": 2, "sent": 3, "busy": 3}[outcome]
    _, made = await _call(sim)
    await hook.count(steps)

    _, answer = await sim.ask("POST", made["uri"], (SID, TOKEN), data={"Status": asked})
    call = await _ended(sim, status)

    assert (answer.get("code"), call["status"]) == (code, status)
    assert len(hook.received) == steps + (code is None)


@pytest.mark.parametrize(
    ("given", "found"), [(None, "human"), ("machine_end_beep", "machine_end_beep")]
)
async def test_who_answered_is_found_before_or_beside_the_call(
    sim: Sim, hook: Hook, given: str | None, found: str
) -> None:
    """AnsweredBy is in the reports, or asynchronously in a callback of its own."""
    await sim.plan(match=None, answered_by=given)
    amd = f"{hook.base}/amd"

    await _call(sim, MachineDetection="Enable")
    plain = [one.params.get("AnsweredBy") for one in await hook.count(4)]
    await _call(sim, MachineDetection="Enable", AsyncAmd="true", AsyncAmdStatusCallback=amd)
    (beside,) = [one for one in await hook.count(9) if one.path == "/amd"]

    assert plain == [None, None, found, found]
    assert beside.params["AnsweredBy"] == found
    assert beside.is_signed()
    assert "SequenceNumber" not in beside.params


async def test_faults_are_those_of_messages(sim: Sim, hook: Hook) -> None:
    """A call is refused, lost, doubled and shuffled by the same plan as a message."""
    await sim.plan(match={"channel": "call"}, faults=["429", "duplicate", "reorder"])

    answers = [(await _call(sim))[0], (await _call(sim))[0]]
    received = await hook.count(8)

    assert answers == [429, 201]
    numbers = [one.params["SequenceNumber"] for one in received]
    assert sorted(numbers) == sorted("00112233")
    assert numbers != sorted(numbers)
    asked = await sim.data("requests")
    assert [(one["status"], one["path"]) for one in asked] == [(429, CALLS), (201, CALLS)]
    assert asked[1]["params"]["StatusCallbackEvent"] == EVERY


async def test_refused_is_an_error_of_the_api(sim: Sim) -> None:
    """The outcome `refused` answers 400 with the plan's code, and nobody is called."""
    await sim.plan(match=None, outcome="refused", error_code=21215)

    status, answer = await _call(sim)

    assert (status, answer["code"]) == (400, 21215)


async def test_a_status_callback_by_get_has_its_parameters_in_the_url(sim: Sim, hook: Hook) -> None:
    """With GET the signature covers the URL with its query, and no parameter beside."""
    url = f"{hook.base}/call-status?message_id=1"
    await _call(
        sim, StatusCallbackMethod="GET", StatusCallback=url, StatusCallbackEvent="completed"
    )

    (received,) = await hook.count(1)

    assert (received.method, received.params["message_id"]) == ("GET", "1")
    assert received.params["CallStatus"] == "completed"
    query, received.params = received.params, {}
    assert query
    assert received.is_signed()
