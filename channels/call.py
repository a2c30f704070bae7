"""What is said on the phone: a text as TwiML, and the greeting of those who call us.

TwiML: https://www.twilio.com/docs/voice/twiml; what goes with a call may have 4000 characters
(https://www.twilio.com/docs/voice/api/call-resource#create-a-call-resource).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from channels.errors import ContentError
from channels.model import CallPlan, Content
from channels.text import units

CHARACTERS: Final = 4000
ACTION_CHARACTERS: Final = 300
"""What is kept free for the address that a pressed digit is sent to, beside voice and language."""
LONGEST_REPEAT = 5
SHORTEST_RING, LONGEST_RING = 5, 600
VOICEMAIL_SECONDS: Final = 120
PLAY_CHARACTERS: Final = 200
"""What is kept free for the URL that is played: a file of ours gets a longer, signed one."""

VOICEMAIL = "Thank you for calling. Please leave a message after the tone."
NOBODY = "Thank you for calling. Nobody can take your call at the moment."
GOODBYE = "Thank you. Goodbye."

_URL = re.compile(r"[!-\[\]-~]+")  # no backslash: some read it as a slash
_NAME = re.compile(r"[A-Za-z0-9.\-]{1,64}")
_DIGIT = re.compile(r"[0-9*#]")
# https://www.w3.org/TR/xml/#charsets
_UNSENDABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def compose(text: str, plan: CallPlan | None = None) -> Content:
    """The content of a call; raises `ContentError` for what cannot be said."""
    plan = plan or CallPlan()
    if len(text) > CHARACTERS:  # before anything looks at each of ten million
        raise _too_long(len(text), plan)
    if not text.strip() and not plan.play:
        raise ContentError("body", "The text is empty.")
    if _UNSENDABLE.search(text):
        raise ContentError("body", "The text holds a character that cannot be said.")
    _check(plan)
    content = Content(body=text, call=plan)
    # A character beyond the first 65,536 counts as two, the stricter reading of Twilio's limit.
    named = sum(len(f"&amp;{name}={value}") for name, value in spoken_as(plan).items())
    plays = replace(plan, play=plan.play.ljust(PLAY_CHARACTERS, "x")) if plan.play else plan
    said = twiml(replace(content, call=plays), gather_url="x" * (ACTION_CHARACTERS + named))
    characters = units(said)
    if characters > CHARACTERS:
        raise _too_long(characters, plan, is_said=bool(text.strip()))
    return content


def _check(plan: CallPlan) -> None:
    if not 1 <= plan.repeat <= LONGEST_REPEAT:
        raise ContentError("call.repeat", f"A text is said 1 to {LONGEST_REPEAT} times.")
    if plan.confirm is not None and not _DIGIT.fullmatch(plan.confirm):
        raise ContentError("call.confirm", "What is pressed to confirm is one of 0 to 9, * and #.")
    if plan.timeout is not None and not SHORTEST_RING <= plan.timeout <= LONGEST_RING:
        reason = f"A phone rings for {SHORTEST_RING} to {LONGEST_RING} seconds."
        raise ContentError("call.timeout", reason)
    for field, name, like in (
        ("voice", plan.voice, "Polly.Vicki-Neural"),
        ("language", plan.language, "de-DE"),
    ):
        if name is not None and not _NAME.fullmatch(name):
            reason = f"A {field} is 1 to 64 letters, digits, dots and hyphens, like {like}."
            raise ContentError(f"call.{field}", reason)
    if plan.play is not None and not _is_url(plan.play):
        raise ContentError("call.play", "What is played has a URL with http:// or https://.")


def _is_url(url: str) -> bool:
    if not _URL.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _too_long(characters: int, plan: CallPlan, *, is_said: bool = True) -> ContentError:
    """Says what is too long: the text, also beside a URL; or where nothing is said, the URL."""
    what = "With the URL that is played the text" if plan.play else "The text"
    times = f", {'said' if is_said else 'played'} {plan.repeat} times," if plan.repeat > 1 else ""
    return ContentError(
        "body" if is_said else "call.play",
        f"{what if is_said else 'The URL'}{times} makes instructions of {characters} characters; "
        f"a call can have at most {CHARACTERS}.",
    )


def twiml(content: Content, *, gather_url: str | None) -> str:
    """The instructions of a call; `gather_url` is told the digit that the plan asks for."""
    plan = content.call or CallPlan()
    response = ET.Element("Response")
    parent = response
    if plan.confirm is not None and gather_url:
        # No key ends the input, so that * and # can be the digit.
        asked = {"numDigits": "1", "finishOnKey": "", "action": gather_url, "method": "POST"}
        parent = ET.SubElement(response, "Gather", asked)
    for turn in range(plan.repeat):
        if turn:
            ET.SubElement(parent, "Pause", {"length": "1"})
        if content.body.strip():
            _say(parent, content.body, plan)
        if plan.play:
            ET.SubElement(parent, "Play").text = plan.play
    return _text(response)


def greeting(
    settings: Mapping[str, Any], *, recording_url: str, transcription_url: str, action_url: str
) -> str:
    """What somebody who calls hears: `settings["call"]` of the organization, or our own words.

    It may have `greeting`, `goodbye`, `voice`, `language`, `voicemail` (default true) and
    `transcribe` (default false). `action_url` answers once the message is left: without one
    Twilio would ask for the greeting again.
    """
    wishes = _wishes(settings)
    plan = _plan(wishes)
    takes_messages = wishes.get("voicemail", True) is not False
    response = ET.Element("Response")
    _say(response, _words(wishes, "greeting", VOICEMAIL if takes_messages else NOBODY), plan)
    if takes_messages:
        recorded = {
            "maxLength": str(VOICEMAIL_SECONDS),
            "playBeep": "true",
            "action": action_url,
            "method": "POST",
            "recordingStatusCallback": recording_url,
        }
        if wishes.get("transcribe") is True:
            recorded |= {"transcribe": "true", "transcribeCallback": transcription_url}
        ET.SubElement(response, "Record", recorded)
        _say(response, _words(wishes, "goodbye", GOODBYE), plan)
    ET.SubElement(response, "Hangup")
    return _text(response)


def goodbye(settings: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """What is said after a digit was pressed or a message left, before the line is closed.

    Without words of the organization's own a call that was `asked` for in a voice or language
    (`spoken_as`) hears ours in that voice: they are English, and not said in another language.
    """
    wishes = _wishes(settings)
    words, plan, of_call = _words(wishes, "goodbye", ""), _plan(wishes), _plan(asked)
    if not words:
        plan = of_call if spoken_as(of_call) else plan
        words = GOODBYE if _is_english(of_call.language) else ""
    response = ET.Element("Response")
    if words:
        _say(response, words, plan)
    ET.SubElement(response, "Hangup")
    return _text(response)


def spoken_as(plan: CallPlan) -> dict[str, str]:
    """The voice and the language of a plan, where it has them."""
    named = {"voice": plan.voice, "language": plan.language}
    return {name: value for name, value in named.items() if value}


def _is_english(language: str | None) -> bool:
    return language is None or language.lower().partition("-")[0] == "en"


def _wishes(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    wishes = settings.get("call")
    return wishes if isinstance(wishes, Mapping) else {}


def _plan(wishes: Mapping[str, Any]) -> CallPlan:
    """Voice and language, where they can be some: a caller is always greeted."""
    return CallPlan(voice=_name(wishes.get("voice")), language=_name(wishes.get("language")))


def _name(wish: object) -> str | None:
    return wish if isinstance(wish, str) and _NAME.fullmatch(wish) else None


def _words(wishes: Mapping[str, Any], name: str, otherwise: str) -> str:
    words = wishes.get(name)
    return words[:CHARACTERS] if isinstance(words, str) and words.strip() else otherwise


def _say(parent: ET.Element, text: str, plan: CallPlan) -> None:
    element = ET.SubElement(parent, "Say", spoken_as(plan))
    element.text = _UNSENDABLE.sub("", text)


def _text(response: ET.Element) -> str:
    return ET.tostring(response, encoding="unicode")
