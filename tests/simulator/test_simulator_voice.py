"""What is said on the phone: TwiML followed, digits pressed, recordings, calls that come in."""

from __future__ import annotations

import asyncio
import wave
from io import BytesIO
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from tests.simulator.conftest import Hook, Sim

SID = "AC" + "0" * 31 + "1"
TOKEN = "0123456789abcdef0123456789abcdef"
CALLS = f"/2010-04-01/Accounts/{SID}/Calls.json"
LOGIN = (SID, TOKEN)


async def _call(sim: Sim, **params: Any) -> tuple[int, Any]:
    form = {"To": "+15551230001", "From": "+15551230002"} | params
    return await sim.ask("POST", CALLS, LOGIN, data=form)


async def _over(sim: Sim, number: int = 0) -> dict[str, Any]:
    """The call of that number, once it is over and `/_sim` has heard all answers."""
    for _ in range(3000):
        calls = await sim.data("messages")
        if len(calls) > number:
            call = calls[number]
            if call["end_time"] and all(one["done"] for one in call["callbacks"]):
                return call
        await asyncio.sleep(0.01)
    raise AssertionError(calls)


async def test_twiml_is_followed_verb_by_verb(sim: Sim) -> None:
    """Say and Play are heard in their order, unknown verbs passed over, Hangup ends it."""
    twiml = (
        "<Response><Say>Good <break/>day</Say><Pause length='1'/><Play>https://a.test/1.mp3</Play>"
        "<Dance/><Hangup/><Say>never</Say></Response>"
    )

    await _call(sim, Twiml=twiml)

    call = await _over(sim)
    assert call["heard"] == ["Good day", "https://a.test/1.mp3"]
    assert (call["status"], call["error_code"]) == ("completed", None)


async def test_a_document_is_asked_for_with_the_call(sim: Sim, hook: Hook) -> None:
    """Url is requested, signed, when somebody answers, and its answer is followed."""
    hook.documents["/twiml"] = "<Response><Redirect>more?a=1</Redirect><Say>never</Say></Response>"
    hook.documents["/more"] = "<Response><Say>Hello</Say></Response>"

    await _call(sim, Url=f"{hook.base}/twiml", MachineDetection="Enable")

    call = await _over(sim)
    first, second = hook.received
    assert (first.params["CallStatus"], first.params["AnsweredBy"]) == ("in-progress", "human")
    assert second.url == f"{hook.base}/more?a=1"
    assert first.is_signed()
    assert second.is_signed()
    assert call["heard"] == ["Hello"]


@pytest.mark.parametrize(
    ("answer", "content_type", "document", "code"),
    [
        (500, "text/xml", "<Response/>", 11200),
        (200, "text/plain", "<Response/>", 12300),
        (200, "text/xml", "<Response>", 12100),
        (200, "application/xml", "<Response/>", None),
    ],
)
async def test_what_is_no_twiml_is_an_error_of_the_call(
    sim: Sim, hook: Hook, answer: int, content_type: str, document: str, code: int | None
) -> None:
    """The call is over, and `/_sim/messages` tells Twilio's code for why nothing was heard."""
    hook.answers, hook.content_type = [answer], content_type
    hook.documents["/twiml"] = document

    await _call(sim, Url=f"{hook.base}/twiml")

    call = await _over(sim)
    assert (call["status"], call["error_code"]) == ("completed", code)


async def test_a_document_that_leads_to_itself_ends(sim: Sim, hook: Hook) -> None:
    """After twenty documents nothing more is asked for."""
    hook.documents["/twiml"] = "<Response><Redirect/></Response>"

    await _call(sim, Url=f"{hook.base}/twiml")
    await _over(sim)

    assert len(hook.received) == 20


@pytest.mark.parametrize(
    ("digits", "attributes", "told", "heard"),
    [
        ("1", "", "1", ["Press 1", "Thanks"]),
        ("12#3", "", "12", ["Press 1", "Thanks"]),
        ("123", "numDigits='2'", "12", ["Press 1", "Thanks"]),
        ("12#", "finishOnKey='*'", "12#", ["Press 1", "Thanks"]),
        (None, "", None, ["Press 1", "Nobody"]),
        (None, "actionOnEmptyResult='true'", "", ["Press 1", "Thanks"]),
    ],
)
async def test_pressed_digits_go_to_the_action(
    sim: Sim, hook: Hook, digits: str | None, attributes: str, told: str | None, heard: list[str]
) -> None:
    """Gather asks; what the plan presses is posted to its action, whose answer is followed."""
    await sim.plan(match=None, digits=digits)
    action = f"{hook.base}/gather?message_id=7"
    hook.documents["/gather"] = "<Response><Say>Thanks</Say></Response>"
    twiml = (
        f"<Response><Gather action='{action}' {attributes}><Say>Press 1</Say></Gather>"
        "<Say>Nobody</Say></Response>"
    )

    await _call(sim, Twiml=twiml)

    call = await _over(sim)
    assert [one.params["Digits"] for one in hook.received] == ([] if told is None else [told])
    assert all(one.is_signed() and one.url == action for one in hook.received)
    assert (call["heard"], call["pressed"]) == (heard, told or "")


async def test_a_gather_without_a_url_of_its_own_is_passed_over(sim: Sim, hook: Hook) -> None:
    """Twiml that came with the request has no URL that a relative action could start at."""
    await sim.plan(match=None, digits="1")

    await _call(sim, Twiml="<Response><Gather><Say>Press</Say></Gather></Response>")
    await _over(sim)

    assert hook.received == []


async def _inbound(sim: Sim, **body: Any) -> Any:
    webhooks = {name: f"{sim.hook.base}/{name}" for name in ("call", "call-status")}
    await sim.account("twilio", account_sid=SID, auth_token=TOKEN, webhooks=webhooks)
    given = {"channel": "call", "from": "+15551230001", "to": "+15551230002", "body": ""}
    status, answer = await sim.inbound(**given | body)
    assert status == 200, answer
    return answer


RECORD = (
    "<Response><Say>After the tone</Say><Record action='/done' recordingStatusCallback='/recording'"
    " transcribe='true' transcribeCallback='/transcription'/><Say>never</Say></Response>"
)


async def test_an_inbound_call_is_recorded_and_written_down(sim: Sim, hook: Hook) -> None:
    """Voicemail: the webhook, the action, then the recording, the transcript, and the end."""
    hook.documents["/call"] = RECORD

    answer = await _inbound(sim, body="Please call back 👋")
    call = await _over(sim)
    by_path = {one.path: one.params for one in await hook.count(5)}

    assert list(by_path) == ["/call", "/done", "/recording", "/transcription", "/call-status"]
    assert all(one.is_signed() for one in hook.received)
    assert {one["CallSid"] for one in by_path.values()} == {answer["sid"]}
    assert answer["body"] == RECORD
    ringing = by_path["/call"]
    assert (ringing["CallStatus"], ringing["Direction"]) == ("ringing", "inbound")
    assert (by_path["/done"]["Digits"], by_path["/done"]["RecordingDuration"]) == ("hangup", "5")
    recording = by_path["/recording"]
    assert (recording["RecordingStatus"], recording["RecordingSource"]) == (
        "completed",
        "RecordVerb",
    )
    transcript = by_path["/transcription"]
    assert transcript["TranscriptionText"] == "Please call back 👋"
    assert transcript["TranscriptionStatus"] == "completed"
    assert transcript["RecordingSid"] == recording["RecordingSid"]
    end = by_path["/call-status"]
    assert (end["CallStatus"], end["CallDuration"]) == ("completed", "12")
    assert (call["direction"], call["heard"]) == ("inbound", ["After the tone"])


async def test_nothing_said_is_no_transcript(sim: Sim, hook: Hook) -> None:
    """An empty recording is reported, and its transcription has failed."""
    hook.documents["/call"] = RECORD

    await _inbound(sim)
    await _over(sim)

    (transcript,) = [one.params for one in await hook.count(5) if one.path == "/transcription"]
    assert transcript["TranscriptionStatus"] == "failed"
    assert "TranscriptionText" not in transcript


async def test_recordings_are_served_to_the_account_alone(sim: Sim, hook: Hook) -> None:
    """RecordingUrl gives WAV, with .mp3 behind it MP3, and nothing without the credentials."""
    hook.documents["/call"] = RECORD
    await _inbound(sim, body="Hello")
    await _over(sim)
    (url,) = [one.params["RecordingUrl"] for one in hook.received if one.path == "/recording"]

    async def get(suffix: str, login: tuple[str, str] | None) -> tuple[int, str, bytes]:
        headers = {"Authorization": aiohttp.encode_basic_auth(*login)} if login else {}
        async with sim.session.get(url + suffix, headers=headers) as response:
            return response.status, response.content_type, await response.read()

    wav, mp3 = await get("", LOGIN), await get(".mp3", LOGIN)

    assert url.startswith(sim.base)
    with wave.open(BytesIO(wav[2])) as audio:
        assert audio.getnframes() / audio.getframerate() == 5
    assert (wav[:2], mp3[:2]) == ((200, "audio/x-wav"), (200, "audio/mpeg"))
    assert mp3[2].startswith(b"\xff\xfb")
    assert [(await get("", None))[0], (await get("", (SID, "wrong")))[0]] == [401, 401]
    assert (await get(".ogg", LOGIN))[0] == 404


@pytest.mark.parametrize(
    ("faults", "paths"),
    [
        (["drop"], []),
        (["duplicate"], ["/recording", "/recording", "/transcription", "/transcription"]),
        (["reorder"], ["/transcription", "/recording"]),
        (["batch"], ["/recording", "/transcription"]),
    ],
)
async def test_faults_meet_the_reports_of_a_recording_too(
    sim: Sim, hook: Hook, faults: list[str], paths: list[str]
) -> None:
    """They are lost, doubled, or come the wrong way round."""
    await sim.plan(match={"channel": "call"}, faults=faults)
    hook.documents["/call"] = RECORD

    await _inbound(sim, body="Hello")
    await _over(sim)

    reports = ("/recording", "/transcription")
    assert [one.path for one in hook.received if one.path in reports] == paths


@pytest.mark.parametrize(
    ("twiml", "status"),
    [
        ("<Response/>", "completed"),
        ("<Response><Reject/><Say>never</Say></Response>", "no-answer"),
        ("<Response><Reject reason='busy'/></Response>", "busy"),
    ],
)
async def test_an_inbound_call_ends_as_it_is_answered(
    sim: Sim, hook: Hook, twiml: str, status: str
) -> None:
    """Hung up or rejected: the number's own webhook `call-status` hears how it ended."""
    hook.documents["/call"] = twiml

    await _inbound(sim)
    call = await _over(sim)

    assert hook.received[-1].params["CallStatus"] == status
    assert (call["status"], call["heard"]) == (status, [])


async def test_a_caller_presses_digits(sim: Sim, hook: Hook) -> None:
    """`params` of an inbound call: `Digits` are pressed when asked, others stand in the form."""
    hook.documents["/call"] = "<Response><Gather action='/gather' method='GET'/></Response>"

    await _inbound(sim, params={"Digits": "7", "CallerName": "ANA", "StirVerstat": 1})
    await _over(sim)

    first, second, _ = hook.received
    assert (first.params["CallerName"], first.params["StirVerstat"]) == ("ANA", "1")
    assert "Digits" not in first.params
    assert (second.method, second.params["Digits"]) == ("GET", "7")


async def test_a_whole_call_can_be_recorded(sim: Sim, hook: Hook) -> None:
    """Record=true with its own callback, when the call is over."""
    await _call(
        sim,
        Twiml="<Response><Say>Hi</Say></Response>",
        Record="true",
        RecordingStatusCallback=f"{hook.base}/recording",
    )
    await _over(sim)

    (received,) = hook.received
    assert received.params["RecordingSource"] == "OutboundAPI"
    assert received.is_signed()


async def test_a_call_needs_its_webhook(sim: Sim) -> None:
    """An account without the webhook `call` is named in the problem."""
    status, answer = await sim.inbound(
        channel="call", **{"from": "+15551230001"}, to="+15551230002"
    )

    assert (status, "'call'" in answer["detail"]) == (409, True)
