"""SendGrid's Event Webhook: signed events about mails, several in one POST.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from gateway.simulator.callbacks import Callback, Delivery, Limits
from gateway.simulator.fate import travel
from gateway.simulator.plan import Plan, steps_of
from gateway.simulator.records import Record
from gateway.simulator.sendgrid_accounts import SendGridAccount
from gateway.simulator.sendgrid_rules import Letter
from gateway.simulator.state import State

# SendGrid retries for 24 h on everything but 2xx; here it ends within the time of a test.
LIMITS = Limits(
    connect=5.0,
    read=15.0,
    total=60.0,
    retries=8,
    retry_on=frozenset({"ct", "rt", "4xx", "5xx"}),
)
STEPS: Mapping[str, tuple[str, ...]] = {
    "queued": (),
    "sent": ("processed",),
    "deferred": ("processed", "deferred"),
    "delivered": ("processed", "delivered"),
    "read": ("processed", "delivered", "open"),
    "failed": ("processed", "bounce"),
    "undelivered": ("processed", "deferred", "bounce"),
    "blocked": ("processed", "blocked"),
    "dropped": ("dropped",),
    "complained": ("processed", "delivered", "spamreport"),
    "unsubscribed": ("processed", "delivered", "unsubscribe"),
}
_BOUNCE = "550 5.1.1 The email account that you tried to reach does not exist."
_BLOCK = "550 5.7.1 Message rejected due to content restrictions."

Event = dict[str, object]


def _more(event: str, code: str | None) -> Event:
    """The fields that each kind of event has in addition; `code` is the plan's error code."""
    browser = {"useragent": "Mozilla/5.0 (simulated)", "ip": "198.51.100.7"}
    kinds: dict[str, Event] = {
        "deferred": {
            "response": "450 4.2.1 The recipient's mailbox receives mail too fast.",
            "attempt": "1",
            "domain": "simulator.example",
        },
        "delivered": {"response": "250 2.0.0 OK", "ip": "192.0.2.25", "tls": 1},
        "open": browser | {"sg_content_type": "html", "sg_machine_open": False},
        "click": browser | {"url": "https://simulator.example/", "url_offset": {"index": 0}},
        "bounce": {
            "reason": _BOUNCE,
            "status": code or "5.1.1",
            "type": "bounce",
            "bounce_classification": "Invalid Address",
            "ip": "192.0.2.25",
            "tls": 1,
        },
        "blocked": {
            "event": "bounce",
            "reason": _BLOCK,
            "status": code or "5.7.1",
            "type": "blocked",
            "bounce_classification": "Content",
            "ip": "192.0.2.25",
            "tls": 1,
        },
        "dropped": {"reason": code or "Bounced Address", "status": "5.0.0"},
        "group_unsubscribe": browser | {"asm_group_id": 1},
        "group_resubscribe": browser | {"asm_group_id": 1},
    }
    return kinds.get(event, {})


class Events:
    """Takes letters through their events."""

    def __init__(self, state: State) -> None:
        """Use the clock, the random ids and the deliveries of `state`."""
        self._state = state

    async def live(
        self, account: SendGridAccount, record: Record, letter: Letter, plan: Plan
    ) -> None:
        """Take a letter through the events of its plan."""

        async def advance(step: str) -> Event:
            record.status = step
            if step in {"bounce", "blocked", "dropped"}:
                record.error_code = plan.body.error_code
            return self._event(record, letter, step, plan)

        async def post(events: list[Event]) -> None:
            url = account.webhooks.get("events")
            if url is not None:
                await self._post(account, record, url, events)

        await travel(self._state, plan, steps_of(plan, STEPS), advance, post)
        record.task = None

    def _event(self, record: Record, letter: Letter, step: str, plan: Plan) -> Event:
        code = None if plan.body.error_code is None else str(plan.body.error_code)
        event_id = bytes.fromhex(self._state.hex_id())
        event: Event = {
            "email": letter.to,
            "timestamp": int(self._state.clock().timestamp()),
            "smtp-id": record.detail["smtp_id"],
            "event": step,
        }
        if letter.categories:
            event["category"] = letter.categories
        event |= {
            "sg_event_id": base64.urlsafe_b64encode(event_id).decode().rstrip("="),
            "sg_message_id": record.detail["sg_message_id"],
        }
        # Custom arguments are at the top level, and never replace SendGrid's own fields.
        return {**letter.custom_args, **event, **_more(step, code)}

    async def _post(
        self, account: SendGridAccount, record: Record, url: str, events: list[Event]
    ) -> None:
        parts = [json.dumps(event, separators=(",", ":"), ensure_ascii=False) for event in events]
        body = ("[" + ",\r\n".join(parts) + "]\r\n").encode()
        timestamp = str(int(self._state.clock().timestamp()))
        delivery = Delivery(event=",".join(str(event["event"]) for event in events), url=url)
        record.callbacks.append(delivery)
        callback = Callback(
            url=url.partition("#")[0],
            body=body,
            headers={
                "Content-Type": "application/json",
                "User-Agent": "SendGrid Event API",
                "X-Twilio-Email-Event-Webhook-Signature": account.sign(timestamp, body),
                "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
            },
            limits=LIMITS,
        )
        await self._state.deliver(callback, delivery)
