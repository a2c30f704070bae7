"""How texts become calls: TwiML that says them, and greetings for those who call."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.call import CHARACTERS, GOODBYE, NOBODY, VOICEMAIL, compose, goodbye, greeting, twiml
from channels.errors import ContentError
from channels.model import CallPlan, Content

GATHER = "https://a.org/webhooks/twilio/1/gather?message_id=2&confirm=1#rc=5&rp=all"
URLS = {
    "recording_url": "https://a.org/recording#rc=5&rp=all",
    "transcription_url": "https://a.org/transcription",
    "action_url": "https://a.org/gather",
}
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1)

Seen = list[tuple[str, dict[str, str], str | None]]


def seen(text: str) -> Seen:
    """The verbs of a TwiML text, in order, with their attributes and words."""
    root = ET.fromstring(text)  # noqa: S314  # our own
    assert root.tag == "Response"
    return [(each.tag, each.attrib, each.text) for each in root.iter() if each is not root]


def said(text: str, plan: CallPlan | None = None, gather_url: str | None = GATHER) -> str:
    """The TwiML of a text."""
    return twiml(compose(text, plan), gather_url=gather_url)


@pytest.mark.parametrize(
    ("text", "plan", "expected"),
    [
        ("Hello", None, "<Response><Say>Hello</Say></Response>"),
        (
            "a < b & 'c' > \"d\" é 😀", None,
            "<Response><Say>a &lt; b &amp; 'c' &gt; \"d\" é 😀</Say></Response>",
        ),
        (
            "Hallo", CallPlan(voice="Polly.Vicki-Neural", language="de-DE"),
            '<Response><Say voice="Polly.Vicki-Neural" language="de-DE">Hallo</Say></Response>',
        ),
        (
            "", CallPlan(play="https://a.org/x.mp3?a=1&b=2"),
            "<Response><Play>https://a.org/x.mp3?a=1&amp;b=2</Play></Response>",
        ),
        (
            "Hi", CallPlan(play="http://a.org/x.mp3", repeat=2),
            (
                "<Response><Say>Hi</Say><Play>http://a.org/x.mp3</Play>"
                '<Pause length="1" /><Say>Hi</Say><Play>http://a.org/x.mp3</Play></Response>'
            ),
        ),
        (
            "Press 1", CallPlan(confirm="1"),
            (
                '<Response><Gather numDigits="1" finishOnKey="" action="https://a.org/webhooks/'
                'twilio/1/gather?message_id=2&amp;confirm=1#rc=5&amp;rp=all" method="POST">'
                "<Say>Press 1</Say></Gather></Response>"
            ),
        ),
    ],
)  # fmt: skip
def test_instructions(text: str, plan: CallPlan | None, expected: str) -> None:
    """Text and recording are said in the plan's voice, as often, inside the question."""
    assert said(text, plan) == expected


def test_a_digit_has_to_go_somewhere() -> None:
    """Without an address for the digit nobody is asked for it."""
    assert said("Hi", CallPlan(confirm="1"), None) == "<Response><Say>Hi</Say></Response>"


def test_a_content_without_a_plan_is_said_once() -> None:
    """A content that was not composed here is said, without what XML cannot hold."""
    assert twiml(Content(body="a\0\x1bb\ufffe"), gather_url=None) == (
        "<Response><Say>ab</Say></Response>"
    )


@given(TEXT)
def test_every_text_is_said_as_it_is(text: str) -> None:
    """Whatever characters a text has, the phone gets exactly it, and no instruction of its own."""
    if text.strip() and len(text) < 300:
        assert seen(said(text)) == [("Say", {}, text)]


@pytest.mark.parametrize(
    ("text", "plan", "field"),
    [
        ("", None, "body"),
        (" \n", CallPlan(play=None), "body"),
        ("a\0b", None, "body"),
        ("a\x1bb", None, "body"),
        ("a\ud800", None, "body"),
        ("a\uffff", None, "body"),
        ("x" * 4000, None, "body"),
        ("x" * 10_000, None, "body"),
        ("&" * 900, None, "body"),
        ("😀" * 2000, None, "body"),
        ("x" * 1000, CallPlan(repeat=4), "body"),
        ("x" * 3700, CallPlan(confirm="1"), "body"),
        # With voice and language in the address that the digit is sent to.
        ("x" * 3480, CallPlan(confirm="1", voice="v" * 40, language="l" * 40), "body"),
        ("Hi", CallPlan(repeat=0), "call.repeat"),
        ("Hi", CallPlan(repeat=6), "call.repeat"),
        ("Hi", CallPlan(confirm=""), "call.confirm"),
        ("Hi", CallPlan(confirm="12"), "call.confirm"),
        ("Hi", CallPlan(confirm="a"), "call.confirm"),
        ("Hi", CallPlan(confirm="١"), "call.confirm"),
        ("Hi", CallPlan(timeout=4), "call.timeout"),
        ("Hi", CallPlan(timeout=601), "call.timeout"),
        ("Hi", CallPlan(voice=""), "call.voice"),
        ("Hi", CallPlan(voice='alice"/>'), "call.voice"),
        ("Hi", CallPlan(language="de_DE"), "call.language"),
        ("Hi", CallPlan(language="d" * 65), "call.language"),
        ("Hi", CallPlan(play=""), "call.play"),
        ("Hi", CallPlan(play="ftp://a.org/x"), "call.play"),
        ("Hi", CallPlan(play="https://"), "call.play"),
        ("Hi", CallPlan(play="https://[a/x"), "call.play"),
        ("Hi", CallPlan(play="https://a.org/a b"), "call.play"),
        ("Hi", CallPlan(play="https://a.org\\@b.org/"), "call.play"),
        ("Hi", CallPlan(play="https://a.org/" + "x" * 3950), "body"),
        (" ", CallPlan(play="https://a.org/" + "x" * 3980), "call.play"),
        ("", CallPlan(play="https://a.org/" + "x" * 2000, repeat=2), "call.play"),
    ],
)
def test_what_cannot_be_said(text: str, plan: CallPlan | None, field: str) -> None:
    """A text or a plan that no phone call can have is refused, and what is at fault named."""
    with pytest.raises(ContentError) as raised:
        compose(text, plan)
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (CallPlan(voice="<>"), r"^A voice is 1 to 64 letters, .* like Polly\.Vicki-Neural\.$"),
        (CallPlan(language="<>"), r"^A language is 1 to 64 letters, .* like de-DE\.$"),
    ],
)
def test_what_a_name_is_like(plan: CallPlan, reason: str) -> None:
    """Who names no voice or language is told what one looks like."""
    with pytest.raises(ContentError, match=reason):
        compose("Hi", plan)


def test_a_text_that_is_too_long_says_how_long() -> None:
    """The limit counts what the text becomes, as often as it is said."""
    with pytest.raises(ContentError) as raised:
        compose("x" * 2000, CallPlan(repeat=2))
    assert raised.value.message == (
        "The text, said 2 times, makes instructions of 4063 characters; "
        "a call can have at most 4000."
    )
    assert len(said("x" * (CHARACTERS - 32))) == CHARACTERS


def test_a_url_that_is_too_long_says_how_long() -> None:
    """Where nothing else is said, the URL that is played is what is too long."""
    with pytest.raises(ContentError) as raised:
        compose("", CallPlan(play="https://a.org/" + "x" * 2000, repeat=2))
    assert raised.value.message == (
        "The URL, played 2 times, makes instructions of 4095 characters; "
        "a call can have at most 4000."
    )
    with pytest.raises(ContentError, match=r"^With the URL that is played the text makes "):
        compose("x" * 2000, CallPlan(play="https://a.org/" + "x" * 2000))


@pytest.mark.parametrize("digit", "0123456789*#")
@pytest.mark.parametrize("number", [1, 5])
def test_plans_at_their_limits(digit: str, number: int) -> None:
    """Every key of a phone can confirm; a text is said up to five times."""
    plan = CallPlan(confirm=digit, repeat=number, timeout=5 if number == 1 else 600)
    assert compose("Hi", plan) == Content(body="Hi", call=plan)


def test_the_default_greeting() -> None:
    """Without settings a caller is asked for a message, which is recorded and not transcribed."""
    assert seen(greeting({}, **URLS)) == [
        ("Say", {}, VOICEMAIL),
        (
            "Record",
            {
                "maxLength": "120",
                "playBeep": "true",
                "action": URLS["action_url"],
                "method": "POST",
                "recordingStatusCallback": URLS["recording_url"],
            },
            None,
        ),
        ("Say", {}, GOODBYE),
        ("Hangup", {}, None),
    ]


def test_an_organization_has_its_own_greeting() -> None:
    """Words, voice, language and transcription are the organization's."""
    wishes = {
        "greeting": "Grüezi & hoi", "goodbye": "Uf Widerluege", "voice": "Polly.Vicki",
        "language": "de-DE", "transcribe": True,
    }  # fmt: skip
    named = {"voice": "Polly.Vicki", "language": "de-DE"}
    first, record, last, _ = seen(greeting({"call": wishes}, **URLS))
    assert first == ("Say", named, "Grüezi & hoi")
    assert record[1]["transcribe"] == "true"
    assert record[1]["transcribeCallback"] == URLS["transcription_url"]
    assert last == ("Say", named, "Uf Widerluege")
    assert seen(goodbye({"call": wishes}, {})) == [last, ("Hangup", {}, None)]


def test_our_words_are_english() -> None:
    """Without words of its own an organization gets ours, in its voice if that speaks English;
    nobody's German voice reads them out, and a call in German ends without them."""
    for language in ("en-GB", "de-DE"):
        named = {"voice": "Polly.Amy", "language": language}
        spoken = named if language == "en-GB" else {}
        hello, _, bye, _ = seen(greeting({"call": named}, **URLS))
        assert [("Say", spoken, VOICEMAIL), ("Say", spoken, GOODBYE)] == [hello, bye]
        ended = seen(goodbye({"call": named}, {}))
        assert ([("Say", named, GOODBYE)] if spoken else []) == ended[:-1]
    french = {"language": "fr-FR"}
    assert [("Hangup", {}, None)] == seen(goodbye({"call": {"language": "en-GB"}}, french))


def test_no_voicemail() -> None:
    """An organization that takes no messages says so and hangs up."""
    assert seen(greeting({"call": {"voicemail": False}}, **URLS)) == [
        ("Say", {}, NOBODY),
        ("Hangup", {}, None),
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"call": None},
        {"call": "Hello"},
        {"call": {"greeting": " ", "voice": "a b", "language": 5, "voicemail": None}},
        {"call": {"greeting": 5, "goodbye": [], "transcribe": "yes"}},
    ],
)
def test_settings_that_mean_nothing(settings: dict[str, Any]) -> None:
    """Settings of a wrong kind are as if they were not there: a caller is always greeted."""
    assert greeting(settings, **URLS) == greeting({}, **URLS)
    assert goodbye(settings, {}) == goodbye({}, {})


def test_all_that_is_wrong_is_told() -> None:
    """Each part that cannot be said is named at once."""
    plan = CallPlan(voice="a b", language="c d", repeat=9, play="ftp://x")
    with pytest.raises(ContentError) as caught:
        compose("\x01", plan)
    assert ["body", "call.repeat", "call.voice", "call.language", "call.play"] == [
        each.field for each in (caught.value, *caught.value.others)
    ]
