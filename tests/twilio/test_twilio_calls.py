"""What Twilio tells about phone calls: those of ours, and those that come in."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from channels.call import GOODBYE
from channels.model import Account, Attachment, Channel, Status
from tests.twilio.values import ID, URL, account, request
from webhooks import twilio
from webhooks.model import Addition, Fetch, Inbound, StatusReport, Unknown, Unreadable, WebhookEvent

CALL = "CA00000000000000000000000000000001"
RECORD = f"https://api.twilio.com/2010-04-01/Accounts/AC1/Calls/{CALL}.json"
RECORDING = "https://api.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE1"
WHEN = "Fri, 02 Jan 2026 03:04:05 +0000"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(event: str, query: str = "") -> str:
    """The URL of an event."""
    return URL.removesuffix("status") + event + query


def parsed(event: str, query: str = "", **form: str) -> list[WebhookEvent]:
    """The events of a request with these parameters."""
    form = {"CallSid": CALL, "AccountSid": "AC1"} | form
    pairs = [(name, value) for name, value in form.items() if value]
    return list(twilio.parse(request(pairs, event=event, url=at(event, query))))


def report(**form: str) -> StatusReport:
    """The first event of a call's status, which is the report."""
    found = parsed("call-status", **form)[0]
    assert isinstance(found, StatusReport)
    return found


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("queued", Status.SENT), ("initiated", Status.SENT), ("ringing", Status.SENT),
        ("in-progress", Status.SENT), ("completed", Status.DELIVERED), ("busy", Status.FAILED),
        ("no-answer", Status.FAILED), ("failed", Status.FAILED), ("canceled", Status.CANCELED),
        (" Ringing", Status.SENT), ("held", None), ("", None),
    ],
)  # fmt: skip
def test_words(word: str, expected: Status | None) -> None:
    """Every CallStatus has its status by the contract; one that we do not know changes nothing."""
    found = report(CallStatus=word)
    assert (found.status, found.word) == (expected, word.strip().lower() or "unnamed")


def test_a_call_that_ended() -> None:
    """The last report has the call's length, and asks for its price half a minute later."""
    events = parsed(
        "call-status",
        f"?message_id={ID}#rc=5&rp=all",
        CallStatus="completed", CallDuration="42", Duration="1", SequenceNumber="3",
        Timestamp=WHEN, Direction="outbound-api", AnsweredBy="human", SipResponseCode="200",
    )  # fmt: skip
    assert events == [
        StatusReport(
            external_id=CALL,
            message_id=ID,
            status=Status.DELIVERED,
            word="completed",
            key=f"twilio:{CALL}:completed:",
            occurred_at=AT,
            detail={"Duration": "1", "SequenceNumber": "3", "Direction": "outbound-api"},
            provider={"duration": "42", "answered_by": "human", "sip_response_code": "200"},
        ),
        Fetch(url=RECORD + "#1", key=f"twilio:{CALL}:price:1", after=30.0),
    ]


@pytest.mark.parametrize("form", [{"AccountSid": ""}, {"AccountSid": "../x"}, {"CallSid": "a/b"}])
def test_only_real_ids_are_asked_for(form: dict[str, str]) -> None:
    """A price is not asked for where the ids could lead elsewhere."""
    assert len(parsed("call-status", CallStatus="completed", **form)) == 1


@pytest.mark.parametrize(
    ("form", "code", "message"),
    [
        ({"CallStatus": "busy", "SipResponseCode": "486"}, "busy", "The line was busy."),
        ({"CallStatus": "no-answer"}, "no-answer", "Nobody answered the call."),
        ({"CallStatus": "failed"}, "failed", "The call could not be connected."),
        (
            {"CallStatus": "failed", "SipResponseCode": "404", "ErrorCode": "0"},
            "404", "The call could not be connected.",
        ),
        (
            {"CallStatus": "failed", "SipResponseCode": "404", "ErrorCode": "21215"},
            "21215", "The Twilio account may not call this country.",
        ),
        ({"CallStatus": "failed", "ErrorCode": "1", "ErrorMessage": "No."}, "1", "No."),
        ({"CallStatus": "completed", "ErrorCode": "1"}, None, None),
    ],
)  # fmt: skip
def test_failures(form: dict[str, str], code: str | None, message: str | None) -> None:
    """A call that reached nobody has a code and plain words."""
    found = report(**form)
    assert (found.error_code, found.error_message) == (code, message)


def test_keys_tell_reports_apart() -> None:
    """The same report has the same key, wherever its number; another word has another."""
    first, second = report(CallStatus="ringing"), report(CallStatus="in-progress")
    assert first.key != second.key
    assert first.key == report(CallStatus="ringing", SequenceNumber="1").key


@pytest.mark.parametrize(
    ("event", "word"),
    [("call-status", "ringing"), ("gather", "digits"), ("amd", "answered_by")],
)
def test_our_own_id_is_enough(event: str, word: str) -> None:
    """A report without a CallSid has its message when the URL names it, and is kept without."""
    form = {"CallSid": "", "CallStatus": "ringing", "AnsweredBy": "human"}
    [found] = parsed(event, f"?message_id={ID}", **form)
    assert isinstance(found, StatusReport)
    assert (found.external_id, found.message_id, found.word) == (None, ID, word)
    [lost] = parsed(event, **form)
    assert lost == Unknown(word=word, detail={"CallStatus": "ringing", "AnsweredBy": "human"})


def test_the_status_of_a_call_that_came_in() -> None:
    """How a call to us went on is added to it, and nobody asks for a price."""
    form = {"CallStatus": "completed", "Direction": "inbound", "CallDuration": "9"}
    assert parsed("call-status", **form, Timestamp=WHEN, From="+15550002222") == [
        Addition(
            external_id=CALL,
            word="completed",
            key=f"twilio:{CALL}:completed:",
            occurred_at=AT,
            detail={"Direction": "inbound", "From": "+15550002222"},
            provider={"duration": "9"},
        )
    ]


@pytest.mark.parametrize(
    ("form", "sender", "to"),
    [
        ({"From": "+15550002222", "To": "+15550001111"}, "+15550002222", "+15550001111"),
        ({"Caller": " 15550002222", "Called": "+15550001111"}, "+15550002222", "+15550001111"),
        ({"From": "15550002222", "To": "15550001111"}, "+15550002222", "+15550001111"),
        ({"From": "3125550100", "To": "384387"}, "3125550100", "384387"),
        ({"From": "sip:ann@a.org", "Direction": "inbound"}, "sip:ann@a.org", ""),
        ({"From": "whatsapp:+15550002222", "To": "whatsapp:384387"}, "+15550002222", "384387"),
        ({"From": "sip:anonymous@anonymous.invalid"}, "anonymous", ""),
        ({"From": "SIPS:c8Oqz@Anonymous.Invalid:5061;transport=tls?a=b"}, "anonymous", ""),
        ({"From": "sip:anonymous.invalid"}, "anonymous", ""),
        ({"From": "sip:anonymous@203.0.113.5"}, "anonymous", ""),
        ({"From": "sip:Restricted;x=y@pbx.example:5060"}, "anonymous", ""),
        ({"From": "sips:+266696687@203.0.113.5:5060"}, "anonymous", ""),
        ({"From": "sip:266696687:x@203.0.113.5"}, "anonymous", ""),
        ({"From": "266696687"}, "anonymous", ""),
        ({"From": "+7378742833"}, "anonymous", ""),
        ({"From": "2562533"}, "anonymous", ""),
        ({"From": "8656696"}, "anonymous", ""),
        ({"From": "86282452253"}, "anonymous", ""),
        ({"From": "+Anonymous"}, "anonymous", ""),
        ({"From": "Unavailable"}, "anonymous", ""),
        ({"From": "+17378742833"}, "+17378742833", ""),
        ({"From": "sip:anonymous.smith@a.org"}, "sip:anonymous.smith@a.org", ""),
        ({"From": "sip:203.0.113.5"}, "sip:203.0.113.5", ""),
        ({"From": "sip:ann@anonymous.invalid.org"}, "sip:ann@anonymous.invalid.org", ""),
        ({}, "anonymous", ""),
    ],
)
def test_a_call_that_comes_in(form: dict[str, str], sender: str, to: str) -> None:
    """Somebody calls: a message without text, with what Twilio knows of the caller."""
    assert parsed("call", **form, CallerName="Ann", CallStatus="ringing", FromCity="Bern") == [
        Inbound(
            external_id=CALL,
            channel=Channel.CALL,
            from_address=sender,
            to_address=to,
            body="",
            detail={"CallerName": "Ann", "FromCity": "Bern"},
        )
    ]


def test_calls_that_did_not_come_in() -> None:
    """A call of ours that asks what to say tells how it is; one without its id cannot be read."""
    [found] = parsed("call", Direction="outbound-api", CallStatus="in-progress")
    assert isinstance(found, StatusReport)
    assert (found.external_id, found.status) == (CALL, Status.SENT)
    with pytest.raises(Unreadable):
        parsed("call", CallSid="")


def caller_of(wishes: dict[str, Any]) -> Account:
    """The account of an organization with these settings for calls."""
    return replace(account(), settings={"call": wishes})


def answer(event: str, held: Account, query: str = "", **form: str) -> Any:
    """The XML that a request is answered with."""
    pairs = [("CallSid", CALL), *form.items()]
    asked = request(pairs, event=event, url=at(event, query))
    reply = twilio.reply(asked, twilio.parse(asked), held)
    assert (reply.status, reply.content_type) == (200, "text/xml")
    return ET.fromstring(reply.body)  # noqa: S314  # our own


def test_a_caller_is_greeted() -> None:
    """The answer to a call takes a message, and tells where all that comes of it is reported."""
    response = answer("call", caller_of({"transcribe": True}), "?a=1")
    assert [each.tag for each in response] == ["Say", "Record", "Say", "Hangup"]
    record = response.find("Record")
    assert record is not None
    assert record.attrib == {
        "maxLength": "120",
        "playBeep": "true",
        "action": at("gather") + "#rc=5&rp=all",
        "method": "POST",
        "recordingStatusCallback": at("recording") + "#rc=5&rp=all",
        "transcribe": "true",
        "transcribeCallback": at("transcription") + "#rc=5&rp=all",
    }


def test_other_answers_on_the_phone() -> None:
    """A digit or a message left is thanked for; a call of ours that asks here hears nothing."""
    thanks = answer("gather", caller_of({"goodbye": "Merci."}), Digits="1")
    assert [(each.tag, each.text) for each in thanks] == [("Say", "Merci."), ("Hangup", None)]
    assert list(answer("call", account(), Direction="outbound-api")) == []


@pytest.mark.parametrize(
    ("query", "own", "said"),
    [
        ("", {}, [("Say", {}, GOODBYE)]),
        ("?confirm=1&voice=Polly.Amy&language=en-GB", {},
         [("Say", {"voice": "Polly.Amy", "language": "en-GB"}, GOODBYE)]),
        ("?voice=Polly.Amy", {"language": "de-DE"}, [("Say", {"voice": "Polly.Amy"}, GOODBYE)]),
        ("?language=EN", {}, [("Say", {"language": "EN"}, GOODBYE)]),
        # Our own words are English: nobody hears them as if they were German.
        ("?confirm=1&voice=Polly.Vicki-Neural&language=de-DE", {}, []),
        ("?language=enm", {}, []),
        ("?language=de-DE", {"goodbye": "Salut", "language": "fr-FR"},
         [("Say", {"language": "fr-FR"}, "Salut")]),
        # Nothing of it can be a voice or a language.
        ("?voice=a%20b&language=%3CHangup%2F%3E", {}, [("Say", {}, GOODBYE)]),
        ("?voice=a&voice=b&language=en&language=de", {"language": "en-US"},
         [("Say", {"language": "en-US"}, GOODBYE)]),
        ("?voice=" + "x" * 65, {}, [("Say", {}, GOODBYE)]),
    ],
)  # fmt: skip
def test_thanks_in_the_language_of_the_call(
    query: str, own: dict[str, Any], said: list[tuple[str, dict[str, str], str]]
) -> None:
    """Who pressed a digit is thanked with the organization's words as its settings have them, else
    with ours, in the voice of the call, and not in a call of another language."""
    thanks = answer("gather", caller_of(own), query, Digits="1")
    assert [(each.tag, each.attrib, each.text) for each in thanks] == [*said, ("Hangup", {}, None)]


def test_a_recording() -> None:
    """A recording is a file of its call."""
    form = {"RecordingSid": "RE1", "RecordingUrl": RECORDING, "RecordingDuration": "7"}
    assert parsed("recording", **form, RecordingStatus="completed", RecordingChannels="1") == [
        Addition(
            external_id=CALL,
            word="recording-completed",
            key=f"twilio:{CALL}:recording-completed:RE1",
            attachments=(
                Attachment(
                    url=RECORDING + ".mp3", filename="recording.mp3", content_type="audio/mpeg"
                ),
            ),
            detail={"RecordingChannels": "1"},
            provider={"recording_sid": "RE1", "recording_duration": "7"},
        )
    ]


@pytest.mark.parametrize(
    ("form", "word"),
    [
        ({"RecordingStatus": "absent", "RecordingUrl": RECORDING}, "recording-absent"),
        ({"RecordingStatus": "completed"}, "recording-completed"),
        ({}, "recording-"),
    ],
)
def test_no_recording(form: dict[str, str], word: str) -> None:
    """Where there is no recording the call has no file, and says why."""
    key = f"twilio:{CALL}:{word}:"
    assert parsed("recording", **form) == [Addition(external_id=CALL, word=word, key=key)]


@pytest.mark.parametrize("word", ["in-progress", "failed", "absent"])
def test_what_is_no_recording_names_none(word: str) -> None:
    """A recording that there is not stands beside no other: its event alone tells of it."""
    told = {"RecordingSid": "RE3", "RecordingDuration": "-1"}
    assert parsed("recording", RecordingStatus=word, RecordingErrorCode="1", **told) == [
        Addition(
            external_id=CALL,
            word=f"recording-{word}",
            key=f"twilio:{CALL}:recording-{word}:RE3",
            detail={"RecordingErrorCode": "1", **told},
        )
    ]


def test_a_transcription() -> None:
    """What was said becomes the call's text; where nobody understood it there is none."""
    form = {"TranscriptionSid": "TR1", "TranscriptionText": "Call me\0 back."}
    done, key = "transcription-completed", f"twilio:{CALL}:transcription-"
    assert parsed("transcription", **form, TranscriptionStatus="completed") == [
        Addition(
            external_id=CALL, word=done, key=f"{key}completed:TR1", text="Call me back.",
            provider={"transcription_sid": "TR1"},
        )
    ]  # fmt: skip
    assert parsed("transcription", **form, TranscriptionStatus="failed") == [
        Addition(
            external_id=CALL, word="transcription-failed", key=f"{key}failed:TR1",
            detail={"TranscriptionSid": "TR1"},
        )
    ]  # fmt: skip


@pytest.mark.parametrize("event", ["recording", "transcription"])
def test_what_belongs_to_no_call_is_kept(event: str) -> None:
    """A recording of a conference, say, is none of a call's."""
    [found] = parsed(event, CallSid="", ConferenceSid="CF1")
    assert found == Unknown(word=f"{event}-", detail={"ConferenceSid": "CF1"})


@pytest.mark.parametrize(
    ("query", "digits", "word"),
    [
        ("&confirm=1", "1", "confirmed"),
        ("&confirm=%23", "#", "confirmed"),
        ("&confirm=%2A", "*", "confirmed"),
        ("&confirm=1", "2", "digits"),
        ("&confirm=", "", "digits"),
        ("", "1", "digits"),
    ],
)
def test_digits(query: str, digits: str, word: str) -> None:
    """The digit that the URL asks for confirms the message, any other is only noted."""
    assert parsed("gather", f"?message_id={ID}{query}", Digits=digits) == [
        StatusReport(
            external_id=CALL,
            message_id=ID,
            status=None,
            word=word,
            key=f"twilio:{CALL}:{word}:{digits}",
            provider={"digits": digits} if digits else {},
        )
    ]


def test_a_message_was_left() -> None:
    """Where an inbound call goes on after its recording, the call is told that it was recorded."""
    form = {"Direction": "inbound", "Digits": "hangup", "RecordingDuration": "7"}
    assert parsed("gather", **form, RecordingUrl=RECORDING) == [
        Addition(
            external_id=CALL,
            word="recorded",
            key=f"twilio:{CALL}:recorded:hangup",
            detail={"Direction": "inbound"},
            provider={"digits": "hangup", "recording_duration": "7"},
        )
    ]


def test_a_message_was_left_with_its_recording() -> None:
    """What goes on after a recording names it, so that the call has it without its own callback,
    as the same event; and nothing that is no recording."""
    told = {"RecordingSid": "RE1", "RecordingUrl": RECORDING, "RecordingDuration": "7"}
    form = {"Direction": "inbound", "Digits": "hangup"}
    [left, found] = parsed("gather", **form, **told)
    assert isinstance(left, Addition)
    assert (left.word, left.attachments) == ("recorded", ())
    assert [found] == parsed("recording", **told, RecordingStatus="completed")

    for less in ({"RecordingDuration": "0"}, {"RecordingSid": ""}, {"RecordingUrl": ""}):
        assert len(parsed("gather", **form, **{**told, **less})) == 1
    assert len(parsed("gather", f"?message_id={ID}", Digits="1", **told)) == 1
    assert parsed("gather", CallSid="", **form, **told) == [
        Unknown(word="recorded", detail={**form, **told})
    ]


def test_who_answered() -> None:
    """Whether a machine answered is noted, and decides nothing."""
    form = {"AnsweredBy": "machine_start", "MachineDetectionDuration": "2400"}
    assert parsed("amd", f"?message_id={ID}", **form) == [
        StatusReport(
            external_id=CALL,
            message_id=ID,
            status=None,
            word="answered_by",
            key=f"twilio:{CALL}:answered_by:machine_start",
            provider={"answered_by": "machine_start", "machine_detection_duration": "2400"},
        )
    ]


def test_nobody_knows_who_answered() -> None:
    """That it is not known who answered stands beside no answer: only its event tells so."""
    [found] = parsed("amd", f"?message_id={ID}", AnsweredBy="unknown")
    assert isinstance(found, StatusReport)
    assert (found.key, found.detail) == (
        f"twilio:{CALL}:answered_by:unknown", {"AnsweredBy": "unknown"},
    )  # fmt: skip
    first, last = (
        report(CallStatus=word, AnsweredBy=who)
        for word, who in (("in-progress", "unknown"), ("completed", "human"))
    )
    told = [each.provider for each in (found, first, last)]
    assert [{}, {}, {"answered_by": "human"}] == told


def fetched(url: str, answer: bytes) -> WebhookEvent:
    """The event that Twilio's answer about a call is."""
    asked = request(event="fetched", url=url, method="GET", body=answer, content_type=None)
    [found] = twilio.parse(asked)
    return found


def test_the_price() -> None:
    """A call's record tells what it cost, whatever else cannot be read in it."""
    record = {"sid": CALL, "price": "-0.0130", "price_unit": "USD", "duration": "42", "to": "x"}
    answer = json.dumps(record)[:-1].encode() + b', "n": ' + b"9" * 5000 + b', "caller": "\xff"}'
    assert fetched(RECORD + "#1", answer) == StatusReport(
        external_id=CALL,
        status=None,
        word="cost",
        key=f"twilio:{CALL}:cost:-0.0130",
        provider={"price": "-0.0130", "price_unit": "USD", "duration": "42"},
    )


@pytest.mark.parametrize(
    ("fragment", "following", "after"),
    [("#1", 2, 120.0), ("", 2, 120.0), ("#x", 2, 120.0), ("#2", 3, 300.0)],
)
def test_a_price_that_is_not_known_yet(fragment: str, following: int, after: float) -> None:
    """The price is asked for again, later each time."""
    record = json.dumps({"sid": CALL, "price": None, "duration": "42"}).encode()
    key = f"twilio:{CALL}:price:{following}"
    expected = Fetch(url=f"{RECORD}#{following}", key=key, after=after)
    assert fetched(RECORD + fragment, record) == expected


def test_a_price_that_never_comes() -> None:
    """After the third question the call has its length, and no price."""
    found = fetched(RECORD + "#3", json.dumps({"sid": CALL, "duration": "42"}).encode())
    assert isinstance(found, StatusReport)
    assert (found.key, found.provider) == (f"twilio:{CALL}:cost:", {"duration": "42"})


@pytest.mark.parametrize("body", [b"", b"[" * 100_000, b"\xff", b"[]", b"{}", b'{"sid": ""}'])
def test_answers_that_are_no_call(body: bytes) -> None:
    """An answer that is not about a call cannot be read."""
    with pytest.raises(Unreadable):
        fetched(RECORD, body)
