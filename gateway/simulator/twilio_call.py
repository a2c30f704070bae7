"""The Call resource, and the forms that Twilio sends about a call.

https://www.twilio.com/docs/voice/api/call-resource,
https://www.twilio.com/docs/voice/twiml#twilios-request-to-your-application
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from math import ceil

from gateway.simulator.callbacks import Delivery
from gateway.simulator.twilio_book import API_VERSION

# Final statuses, and those in which nobody has answered yet.
ENDED = frozenset({"completed", "busy", "no-answer", "failed", "canceled"})
WAITING = frozenset({"queued", "initiated", "ringing"})
# The names of callback events that differ from the status.
EVENTS = {"in-progress": "answered"} | dict.fromkeys(ENDED, "completed")
_PRICE_A_MINUTE = 0.013


@dataclass(kw_only=True, slots=True)
class Call:
    """One call of an account, in or out; `heard` has everything that the person has heard."""

    serial: int
    sid: str
    account_sid: str
    to: str
    from_: str | None
    status: str
    direction: str
    created: datetime
    updated: datetime
    twiml: str | None = None
    url: str | None = None
    method: str = "POST"
    status_callback: str | None = None
    status_method: str = "POST"
    events: frozenset[str] = frozenset({"completed"})
    detects_machine: bool = False
    amd_callback: str | None = None
    records: bool = False
    recording_callback: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    duration: int = 0
    answered_by: str | None = None
    error_code: int | str | None = None
    sequence: int = 0
    heard: list[str] = field(default_factory=list)
    pressed: str = ""
    callbacks: list[Delivery] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    deleted: bool = False

    @property
    def moment(self) -> datetime | None:
        """The time by which lists are filtered."""
        return self.started

    def advance(self, status: str, now: datetime, *, seconds: int = 0) -> None:
        """Move on to `status`; `seconds` is how long a completed call has lasted."""
        self.status = status
        self.updated = now
        if status == "in-progress":
            self.started = now
        elif status in ENDED:
            self.ended = now
            self.duration = seconds if status == "completed" else 0

    def resource(self) -> dict[str, object]:
        """The resource; it has a price once the call is over."""
        uri = f"/{API_VERSION}/Accounts/{self.account_sid}/Calls/{self.sid}"
        priced = self.status == "completed"
        price = _PRICE_A_MINUTE * max(ceil(self.duration / 60), 1)
        return {
            "sid": self.sid,
            "date_created": format_datetime(self.created),
            "date_updated": format_datetime(self.updated),
            "parent_call_sid": None,
            "account_sid": self.account_sid,
            "to": self.to,
            "to_formatted": self.to,
            "from": self.from_,
            "from_formatted": self.from_,
            "phone_number_sid": None,
            # The status `initiated` appears only in callbacks.
            "status": "queued" if self.status == "initiated" else self.status,
            "start_time": _date(self.started),
            "end_time": _date(self.ended),
            "duration": str(self.duration) if self.status in ENDED else None,
            "price": f"-{price:.5f}" if priced else None,
            "price_unit": "USD",
            "direction": self.direction,
            "answered_by": self.answered_by,
            "api_version": API_VERSION,
            "forwarded_from": None,
            "group_sid": None,
            "caller_name": None,
            "queue_time": "0",
            "trunk_sid": None,
            "uri": f"{uri}.json",
            "subresource_uris": {
                name: f"{uri}/{path}.json"
                for name, path in (("notifications", "Notifications"), ("recordings", "Recordings"))
            },
        }

    def params(self) -> dict[str, str]:
        """The parameters of every request about the call."""
        params = {
            "CallSid": self.sid,
            "AccountSid": self.account_sid,
            "From": self.from_ or "",
            "To": self.to,
            "Caller": self.from_ or "",
            "Called": self.to,
            "CallStatus": self.status,
            "ApiVersion": API_VERSION,
            "Direction": self.direction,
        }
        for side, address in (("From", self.from_ or ""), ("To", self.to)):
            twin = {"From": "Caller", "To": "Called"}[side]
            country = "US" if address.startswith("+1") else ""
            for name in (side, twin):
                params |= {f"{name}Country": country, f"{name}State": "", f"{name}City": ""}
        return params

    def progress(self, now: datetime) -> dict[str, str]:
        """The form of a status callback for the call as it is now, with the next number."""
        params = self.params() | {
            "Timestamp": format_datetime(now),
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(self.sequence),
        }
        self.sequence += 1
        if self.answered_by is not None:
            params["AnsweredBy"] = self.answered_by
        if self.status in ENDED:
            sip = {"busy": "486", "no-answer": "487", "failed": "404", "canceled": "487"}
            params["SipResponseCode"] = sip.get(self.status, "200")
            params["CallDuration"] = str(self.duration)
            params["Duration"] = str(ceil(self.duration / 60))
        return params


def _date(moment: datetime | None) -> str | None:
    return None if moment is None else format_datetime(moment)
