"""The story of `gateway demo`: a clinic and Ada, by e-mail, SMS, WhatsApp and phone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import aiohttp

PHONE, MAIL, PERSON = "+15557654321", "ada@lovelace.example", "Ada Lovelace"
NUMBER, WHATSAPP, MAILBOX = "+15551230001", "+15551230002", "desk@riverside.example"

_TEMPLATES: tuple[dict[str, Any], ...] = (
    {
        "name": "invitation",
        "type": "email",
        "subject": "Your check-up on {{ day }}",
        "content": "<p>Dear {{ name }},</p><p>your check-up is on <b>{{ day }} at {{ time }}</b>. "
        "Just reply to this e-mail if that does not suit you.</p><p>Riverside Clinic</p>",
    },
    {
        "name": "appointment",
        "type": "sms",
        "content": "Hi {{ name }}, your appointment is on {{ day }} at {{ time }}. "
        "Reply YES to confirm.",
    },
    {
        "name": "directions",
        "type": "whatsapp",
        "content": "Hello {{ name }}, you can park behind the house, entrance {{ street }}.",
    },
    {
        "name": "reminder",
        "type": "call",
        "content": "Hello {{ name }}, this is Riverside Clinic. We look forward to seeing you "
        "tomorrow at {{ time }}. Press 1 if you are coming.",
        "options": {"confirm": "1"},
    },
)
# How far each channel's messages get, and what Ada presses on the phone.
_PLANS: tuple[dict[str, Any], ...] = (
    {"match": None, "outcome": "delivered"},
    {"match": {"channel": "email"}, "outcome": "read"},
    {"match": {"channel": "whatsapp"}, "outcome": "read"},
    {"match": {"channel": "call"}, "outcome": "completed", "digits": "1", "duration": 21},
)

Say = Callable[[str], None]


class NotAsPlannedError(Exception):
    """An answer that the demo did not expect."""


@dataclass(kw_only=True, slots=True)
class Stage:
    """What the demo runs with; `inbox` is a link that works once; `waiting_for` is for errors."""

    api: aiohttp.ClientSession
    simulator: aiohttp.ClientSession
    key: str
    url: str
    simulator_url: str
    inbox: str
    waiting_for: str = "the beginning"


async def play(stage: Stage, say: Say) -> list[dict[str, Any]]:
    """Play the story; returns its messages in order of time, each with `events`, oldest first."""
    lead = await _prepare(stage)
    for what, part in (
        ("an e-mail", _by_mail),
        ("an SMS", _by_sms),
        ("a WhatsApp message", _by_whatsapp),
        ("a call", _by_phone),
    ):
        say(f"Sending {what} through the simulator ...")
        await part(stage)
    listed = await ask(stage.api, "GET", f"/v1/messages?lead_id={lead['id']}")
    conversation: list[dict[str, Any]] = listed["data"]
    for message in conversation:
        events = await ask(stage.api, "GET", f"/v1/messages/{message['id']}/events")
        message["events"] = list(reversed(events["data"]))
    conversation.sort(key=lambda message: message["created_at"])
    _check(conversation)
    return conversation


def _check(conversation: list[dict[str, Any]]) -> None:
    """Raise `NotAsPlannedError` unless every channel has a message in each direction."""
    missing = {
        (channel, direction)
        for channel in ("email", "sms", "whatsapp", "call")
        for direction in ("outbound", "inbound")
    } - {(message["channel"], message["direction"]) for message in conversation}
    if missing:
        names = ", ".join(f"{direction} {channel}" for channel, direction in sorted(missing))
        raise NotAsPlannedError(f"the conversation lacks: {names}")


async def _prepare(stage: Stage) -> dict[str, Any]:
    """Plan the simulator's answers, create the templates and the lead; returns the lead."""
    for plan in _PLANS:
        await ask(stage.simulator, "POST", "/_sim/plan", plan)
    for template in _TEMPLATES:
        await ask(stage.api, "POST", "/v1/templates", template)
    first, last = PERSON.split()
    body = {"first_name": first, "last_name": last, "phone": "(555) 765-4321", "email": MAIL}
    return await ask(stage.api, "POST", "/v1/leads", body)


async def _by_mail(stage: Stage) -> None:
    variables = {"name": "Ada", "day": "Monday", "time": "9:00"}
    await _send(stage, "email", MAIL, "invitation", variables, until="read")
    mail = await _last_mail(stage)
    headers = {name.lower(): value for name, value in mail.get("headers", {}).items()}
    await _write(
        stage,
        "email",
        f"{PERSON} <{MAIL}>",
        mail.get("reply_to", mail["from"])["email"],
        "Dear team,\n\n9:00 is too early for me, could it be half past?\n\nAda\n\n"
        "On Friday Riverside Clinic wrote:\n> your check-up is on Monday at 9:00.\n",
        {"params": {"subject": f"Re: {mail['subject']}", "in_reply_to": headers["message-id"]}},
    )


async def _by_sms(stage: Stage) -> None:
    variables = {"name": "Ada", "day": "Monday", "time": "9:30"}
    await _send(stage, "sms", PHONE, "appointment", variables, until="delivered")
    await _write(stage, "sms", PHONE, NUMBER, "YES, see you then 👋")


async def _by_whatsapp(stage: Stage) -> None:
    """Ada writes first: free text is allowed only in the 24 hours after that."""
    await _write(stage, "whatsapp", PHONE, WHATSAPP, "Where can I park?")
    variables = {"name": "Ada", "street": "River Lane 7"}
    await _send(stage, "whatsapp", PHONE, "directions", variables, until="read")


async def _by_phone(stage: Stage) -> None:
    """Ada is called and presses 1; later she calls back and talks to the voicemail."""
    variables = {"name": "Ada", "time": "9:30"}
    await _send(stage, "call", PHONE, "reminder", variables, until="delivered")
    words = "This is Ada. I am on my way, five minutes late."
    said = await _write(stage, "call", PHONE, NUMBER, words)
    await _until(
        stage,
        f"/v1/messages?external_id={said}",
        lambda found: any(
            words in message["body"] and _is_fetched(stage, message) for message in found["data"]
        ),
        "the recording and the transcript of a call",
    )


def _is_fetched(stage: Stage, message: dict[str, Any]) -> bool:
    """Whether its files are stored at the gateway, so that they outlive the simulator."""
    files = message["attachments"]
    return bool(files) and all(file["url"].startswith(stage.url) for file in files)


async def _send(
    stage: Stage,
    channel: str,
    to: str,
    template: str,
    variables: dict[str, str],
    *,
    until: str,
) -> None:
    """Send a template, and wait until the message has this status."""
    body = {"channel": channel, "to": to, "template": template, "variables": variables}
    sent = await ask(stage.api, "POST", "/v1/messages", body)

    def has_come(message: dict[str, Any]) -> bool:
        if message["status"] in {"failed", "canceled"}:
            reason = f"{message['status']}: {message['error_message']}"
            raise NotAsPlannedError(f"a message by {channel} has {reason}")
        return bool(message["status"] == until)

    waiting_for = f"the status {until!r} of a message by {channel}"
    await _until(stage, f"/v1/messages/{sent['id']}", has_come, waiting_for)


async def _until(
    stage: Stage, path: str, has_come: Callable[[dict[str, Any]], bool], waiting_for: str
) -> None:
    """Poll until `has_come`; the caller sets a time limit."""
    stage.waiting_for = waiting_for
    while not has_come(await ask(stage.api, "GET", path)):  # noqa: ASYNC110 - it is HTTP
        await asyncio.sleep(0.02)


async def _write(
    stage: Stage,
    channel: str,
    from_: str,
    to: str,
    words: str,
    more: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """Ada writes, or calls; returns the provider's id of her message."""
    stage.waiting_for = f"a reply by {channel}"
    body = {"channel": channel, "from": from_, "to": to, "body": words, **more}
    answer = await ask(stage.simulator, "POST", "/_sim/inbound", body)
    if answer["status"] not in {200, 204}:
        raise NotAsPlannedError(f"the webhook for {channel} answered {answer['status']}")
    return str(answer["sid"])


async def _last_mail(stage: Stage) -> dict[str, Any]:
    """The last mail that the simulated SendGrid was asked to send."""
    asked = (await ask(stage.simulator, "GET", "/_sim/requests"))["data"]
    mails = [one["params"] for one in asked if one["provider"] == "sendgrid"]
    mail: dict[str, Any] = mails[-1]
    personal = mail["personalizations"][0]
    return mail | {
        name: value for name, value in personal.items() if name in {"headers", "subject"}
    }


async def ask(
    session: aiohttp.ClientSession, method: str, path: str, body: object = None
) -> dict[str, Any]:
    """Make a request; raises `NotAsPlannedError` if it is refused."""
    async with session.request(method, path, json=body) as response:
        answer = await response.json(content_type=None) if response.status != 204 else {}
        if response.status >= 400:
            raise NotAsPlannedError(f"{method} {path} answered {response.status}: {answer}")
        result: dict[str, Any] = answer
        return result
