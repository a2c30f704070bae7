"""What is said on the phone: a text as TwiML, and the greeting for people who call us.

TwiML: https://www.twilio.com/docs/voice/twiml. That of a call may have 4000 characters
(https://www.twilio.com/docs/voice/api/call-resource#create-a-call-resource).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from channels.errors import ContentError, raise_all, tried
from channels.json_text import as_object
from channels.model import CallPlan, Content
from channels.text import units

CHARACTERS: Final = 4000
ACTION_CHARACTERS: Final = 300
"""Reserved for the URL that a pressed digit is sent to, without the voice and language in it."""
LONGEST_REPEAT = 5
SHORTEST_RING, LONGEST_RING = 5, 600
VOICEMAIL_SECONDS: Final = 120
PLAY_CHARACTERS: Final = 200
"""What is kept free for the URL that is played: a file of ours gets a longer, signed one."""

SETTINGS: Final = ("greeting", "goodbye", "voice", "language", "voicemail", "transcribe")
"""What `call` in an organization's settings may have: nothing else there is read."""

VOICEMAIL = "Thank you for calling. Please leave a message after the tone."
NOBODY = "Thank you for calling. Nobody can take your call at the moment."
GOODBYE = "Thank you. Goodbye."

_URL = re.compile(r"[!-\[\]-~]+")  # no backslash: some parsers read it as a slash
_NAME = re.compile(r"[A-Za-z0-9.\-]{1,64}")
_DIGIT = re.compile(r"[0-9*#]")
# https://www.w3.org/TR/xml/#charsets
_UNSENDABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def compose(text: str, plan: CallPlan | None = None) -> Content:
    """The content of a call; raises `ContentError` with everything that is wrong."""
    plan = plan or CallPlan()
    wrong: list[ContentError] = []
    tried(wrong, _check_text, text, plan)
    for check in (_check_plan, _check_voice, _check_language, _check_play):
        tried(wrong, check, plan)
    raise_all(wrong)
    content = Content(body=text, call=plan)
    # A character beyond the first 65,536 counts as two, the stricter reading of Twilio's limit.
    named = sum(len(f"&amp;{name}={value}") for name, value in spoken_as(plan).items())
    plays = replace(plan, play=plan.play.ljust(PLAY_CHARACTERS, "x")) if plan.play else plan
    said = twiml(replace(content, call=plays), gather_url="x" * (ACTION_CHARACTERS + named))
    characters = units(said)
    if characters > CHARACTERS:
        raise _too_long(characters, plan, is_said=bool(text.strip()))
    return content


def _check_text(text: str, plan: CallPlan) -> None:
    if len(text) > CHARACTERS:  # first, because the other checks read every character
        raise _too_long(len(text), plan)
    if not text.strip() and not plan.play:
        raise ContentError("body", "The text is empty.")
    if _UNSENDABLE.search(text):
        raise ContentError("body", "The text holds a character that cannot be said.")


def _check_plan(plan: CallPlan) -> None:
    if not 1 <= plan.repeat <= LONGEST_REPEAT:
        raise ContentError("call.repeat", f"A text is said 1 to {LONGEST_REPEAT} times.")
    if plan.confirm is not None and not _DIGIT.fullmatch(plan.confirm):
        raise ContentError("call.confirm", "What is pressed to confirm is one of 0 to 9, * and #.")
    if plan.timeout is not None and not SHORTEST_RING <= plan.timeout <= LONGEST_RING:
        reason = f"A phone rings for {SHORTEST_RING} to {LONGEST_RING} seconds."
        raise ContentError("call.timeout", reason)


def _check_voice(plan: CallPlan) -> None:
    _check_name("voice", plan.voice, "Polly.Vicki-Neural")


def _check_language(plan: CallPlan) -> None:
    _check_name("language", plan.language, "de-DE")


def _check_name(field: str, name: str | None, like: str) -> None:
    if name is not None and not _NAME.fullmatch(name):
        reason = f"A {field} is 1 to 64 letters, digits, dots and hyphens, like {like}."
        raise ContentError(f"call.{field}", reason)


def _check_play(plan: CallPlan) -> None:
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
    """The error for the text, also if a URL is played too; or for the URL if nothing is said."""
    what = "With the URL that is played the text" if plan.play else "The text"
    times = f", {'said' if is_said else 'played'} {plan.repeat} times," if plan.repeat > 1 else ""
    return ContentError(
        "body" if is_said else "call.play",
        f"{what if is_said else 'The URL'}{times} makes instructions of {characters} characters; "
        f"a call can have at most {CHARACTERS}.",
    )


def twiml(content: Content, *, gather_url: str | None) -> str:
    """The instructions of a call; the digit that the plan asks for is posted to `gather_url`."""
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
    """What a caller hears: `settings["call"]` of the organization, or our default texts.

    `voicemail` is true by default, `transcribe` false. `action_url` answers once the message is
    left: without it Twilio would request the greeting again.
    """
    wishes = _wishes(settings)
    takes_messages = wishes.get("voicemail", True) is not False
    response = ET.Element("Response")
    _say_own(response, wishes, "greeting", VOICEMAIL if takes_messages else NOBODY)
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
        _say_own(response, wishes, "goodbye", GOODBYE)
    ET.SubElement(response, "Hangup")
    return _text(response)


def goodbye(settings: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """What is said after a digit was pressed or a message left, before the call ends.

    If the organization has no `goodbye`, ours is said, in the voice and language that were `asked`
    for with the call (`spoken_as`), or else in the organization's. It is English: nothing is said
    if that is another language.
    """
    wishes = _wishes(settings)
    words, plan, of_call = _words(wishes, "goodbye"), _plan(wishes), _plan(asked)
    if not words:
        plan = of_call if spoken_as(of_call) else plan
        words = GOODBYE if _is_english(plan) else ""
    response = ET.Element("Response")
    if words:
        _say(response, words, plan)
    ET.SubElement(response, "Hangup")
    return _text(response)


def spoken_as(plan: CallPlan) -> dict[str, str]:
    """The voice and the language of a plan, as far as it has them."""
    named = {"voice": plan.voice, "language": plan.language}
    return {name: value for name, value in named.items() if value}


def _is_english(plan: CallPlan) -> bool:
    return plan.language is None or plan.language.lower().partition("-")[0] == "en"


def _wishes(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    wishes = as_object(settings.get("call"))
    return {name: wishes[name] for name in SETTINGS if name in wishes}


def _plan(wishes: Mapping[str, Any]) -> CallPlan:
    """Voice and language, without those that are not valid: a caller is always greeted."""
    return CallPlan(voice=_name(wishes.get("voice")), language=_name(wishes.get("language")))


def _name(wish: object) -> str | None:
    return wish if isinstance(wish, str) and _NAME.fullmatch(wish) else None


def _words(wishes: Mapping[str, Any], name: str) -> str:
    words = wishes.get(name)
    return words[:CHARACTERS] if isinstance(words, str) and words.strip() else ""


def _say_own(parent: ET.Element, wishes: Mapping[str, Any], name: str, otherwise: str) -> None:
    """Say the organization's words, or ours: English, so not in the voice of another language."""
    words, plan = _words(wishes, name), _plan(wishes)
    _say(parent, words or otherwise, plan if words or _is_english(plan) else CallPlan())


def _say(parent: ET.Element, text: str, plan: CallPlan) -> None:
    element = ET.SubElement(parent, "Say", spoken_as(plan))
    element.text = _UNSENDABLE.sub("", text)


def _text(response: ET.Element) -> str:
    return ET.tostring(response, encoding="unicode")
