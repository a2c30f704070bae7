"""A call in progress: Twilio requests TwiML and does what it says.

https://www.twilio.com/docs/voice/twiml. Understood: Say, Play, Pause, Gather, Record, Redirect,
Hangup, Reject; other verbs are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

from gateway.simulator.callbacks import Delivery
from gateway.simulator.fate import travel
from gateway.simulator.plan import Plan
from gateway.simulator.state import State
from gateway.simulator.twilio_accounts import TwilioAccount
from gateway.simulator.twilio_call import Call
from gateway.simulator.twilio_files import TwilioFiles
from gateway.simulator.twilio_post import post

# The limit for documents that lead to themselves.
MAX_DOCUMENTS = 20
RECORDED_SECONDS = 5


class Line:
    """A call in progress; the person presses `digits` when asked, and says `speech` if recorded."""

    def __init__(
        self,
        state: State,
        account: TwilioAccount,
        call: Call,
        plan: Plan,
        files: TwilioFiles,
        *,
        digits: str = "",
        speech: str = "",
    ) -> None:
        """Talk to the account's webhooks about `call`."""
        self._state = state
        self._account = account
        self._call = call
        self._plan = plan
        self._files = files
        self._digits = digits
        self._speech = speech
        self._documents = 0

    async def ask(
        self, url: str, method: str, event: str, more: Mapping[str, str] | None = None
    ) -> Delivery:
        """Request a document."""
        self._documents += 1
        params = self._call.params() | dict(more or {})
        return await post(
            self._state, self._account, self._call.callbacks, event, url, params, method=method
        )

    async def obey(self, delivery: Delivery, url: str) -> None:
        """Do what the answer of `url` says."""
        if delivery.status is None or delivery.status >= 300:
            self._call.error_code = 11200
        elif "xml" not in (delivery.content_type or ""):
            self._call.error_code = 12300
        else:
            await self.follow(delivery.answer, url)

    async def follow(self, document: str, url: str | None) -> None:
        """Do what a document says; its URLs are relative to `url`."""
        try:
            # It comes from the user's own webhook, and Python's expat limits entities.
            root = ET.fromstring(document)  # noqa: S314
        except ET.ParseError:
            self._call.error_code = 12100
            return
        for verb in root:
            if not await self._do(verb, url):
                return

    async def record_all(self) -> None:
        """Report the recording of the whole call, if one was asked for."""
        if self._call.records:
            callback = self._call.recording_callback
            await self._tell(self._recording("OutboundAPI"), callback, None)

    async def _do(self, verb: ET.Element, url: str | None) -> bool:
        """Do one verb; returns whether the document continues after it."""
        if verb.tag in {"Say", "Play"}:
            self._call.heard.append("".join(verb.itertext()).strip())
        elif verb.tag == "Gather":
            return await self._gather(verb, url)
        elif verb.tag == "Record":
            await self._record(verb, url)
            return False
        elif verb.tag == "Redirect":
            await self._go(verb, (verb.text or "").strip(), url, "redirect", {})
            return False
        elif verb.tag == "Reject":
            self._call.status = "busy" if verb.get("reason") == "busy" else "no-answer"
            return False
        return verb.tag != "Hangup"

    async def _gather(self, verb: ET.Element, url: str | None) -> bool:
        for nested in verb:
            await self._do(nested, url)
        count = int(verb.get("numDigits") or 0) or len(self._digits)
        typed, _, _ = self._digits[:count].partition(verb.get("finishOnKey", "#") or "\0")
        self._digits = self._digits[count:]
        if not typed and verb.get("actionOnEmptyResult", "").lower() != "true":
            return True
        self._call.pressed += typed
        await self._go(verb, verb.get("action") or "", url, "gather", {"Digits": typed})
        return False

    async def _record(self, verb: ET.Element, url: str | None) -> None:
        """Record what the person says; then they hang up, which is reported to the action URL."""
        recording = self._recording("RecordVerb")
        told = {name: recording[name] for name in ("RecordingSid", "RecordingUrl")}
        told |= {"RecordingDuration": recording["RecordingDuration"], "Digits": "hangup"}
        target = urljoin(url or "", verb.get("action") or "")
        if target:
            await self.ask(target, _method(verb, "method"), "record", told)
        callbacks = [
            urljoin(url or "", verb.get(name) or "") if verb.get(name) else None
            for name in ("recordingStatusCallback", "transcribeCallback")
        ]
        await self._tell(recording, *callbacks)

    async def _go(
        self,
        verb: ET.Element,
        to: str,
        url: str | None,
        event: str,
        more: Mapping[str, str],
    ) -> None:
        """Request `to` (relative to `url`; if empty, `url` itself) and do what the answer says."""
        target = urljoin(url or "", to)
        if target and self._documents < MAX_DOCUMENTS:
            await self.obey(await self.ask(target, _method(verb, "method"), event, more), target)

    def _recording(self, source: str) -> dict[str, str]:
        sid = f"RE{self._state.hex_id()}"
        call = self._call
        return {
            "AccountSid": call.account_sid,
            "CallSid": call.sid,
            "RecordingSid": sid,
            "RecordingUrl": self._files.keep_recording(self._account, sid, RECORDED_SECONDS),
            "RecordingStatus": "completed",
            "RecordingDuration": str(RECORDED_SECONDS),
            "RecordingChannels": "1",
            "RecordingStartTime": self._state.clock().strftime("%a, %d %b %Y %H:%M:%S +0000"),
            "RecordingSource": source,
            "RecordingTrack": "both",
            "ErrorCode": "0",
        }

    async def _tell(
        self, recording: Mapping[str, str], recorded: str | None, transcribed: str | None
    ) -> None:
        """Report a recording and its transcript, with the faults of the plan."""
        urls = {"recording": recorded, "transcription": transcribed}
        forms = {"recording": dict(recording), "transcription": self._transcription(recording)}

        async def advance(event: str) -> str:
            return event

        async def post_all(events: list[str]) -> None:
            for event in events:
                url = urls[event] or ""
                callbacks = self._call.callbacks
                await post(self._state, self._account, callbacks, event, url, forms[event])

        steps = [event for event, url in urls.items() if url]
        await travel(self._state, self._plan, steps, advance, post_all)

    def _transcription(self, recording: Mapping[str, str]) -> dict[str, str]:
        sid = f"TR{self._state.hex_id()}"
        base, _, _ = recording["RecordingUrl"].partition("/Recordings/")
        text = {"TranscriptionText": self._speech} if self._speech else {}
        return {
            **self._call.params(),
            "RecordingSid": recording["RecordingSid"],
            "RecordingUrl": recording["RecordingUrl"],
            "TranscriptionSid": sid,
            "TranscriptionStatus": "completed" if self._speech else "failed",
            "TranscriptionType": "fast",
            "TranscriptionUrl": f"{base}/Transcriptions/{sid}",
            **text,
        }


def _method(verb: ET.Element, name: str) -> str:
    return "GET" if verb.get(name, "").upper() == "GET" else "POST"
