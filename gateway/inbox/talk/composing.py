"""The state of the form in which a message is written: what can be chosen, and what is typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from channels.model import Channel
from gateway import addresses, registry
from gateway.accept import replying
from gateway.consent import standing
from gateway.ids import new_id
from gateway.inbox.forms import Findings
from gateway.inbox.talk import person
from gateway.inbox.talk.typed import Typed
from gateway.inbox.visit import Visit
from gateway.inbox.words import CHANNELS
from gateway.store import conversations, desk
from gateway.store.database import Connection
from gateway.store.values import Row

# The notices for an accepted message.
TAKEN = {
    "sent": "Your message is on its way.",
    "later": "Your message is scheduled.",
}


@dataclass(frozen=True, kw_only=True)
class Composing:
    """The state of the form: the choices, what is typed, what is wrong with it.

    `window_until` is the end of WhatsApp's window, None if it is closed. Because of `key`, sending
    the same form twice sends one message. `templates` are those that can be sent now; `template`
    may be another one, which could be sent when it was chosen. `path` is the page's; `further` are
    the person's addresses that are in no conversation yet.
    """

    path: str
    channels: list[tuple[str, str]]
    channel: str
    their_addresses: list[str]
    senders: list[str]
    templates: list[Row]
    template: Row | None
    typed: Typed
    key: str
    window_until: datetime | None = None
    further: Sequence[str] = ()
    subject: str = ""
    errors: Findings = field(default_factory=Findings)
    checked: Mapping[str, Any] | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether the message goes another way than their last one came: then `to` and `from` are
        shown.

        `begin` has removed from `typed` what was left as it was offered. An offered address may be
        one that was not used yet, and may belong to another person than staff think.
        """
        theirs = self.their_addresses
        to = self.typed.to if self.typed.to in theirs else theirs[0]
        return to in {*theirs[1:], *self.further} or self.typed.from_ in self.senders[1:]

    @property
    def needs_template(self) -> bool:
        """Whether WhatsApp accepts only a template now."""
        return self.channel == Channel.WHATSAPP and self.window_until is None

    def window_left(self, now: datetime) -> str:
        """How long WhatsApp's window stays open, in words."""
        minutes = (
            max(int((self.window_until - now).total_seconds()) // 60, 0) if self.window_until else 0
        )
        if minutes < 60:
            return f"{minutes} min"
        return f"{minutes // 60} h {minutes % 60} min"


async def begin(
    visit: Visit,
    db: Connection,
    row: Row,
    typed: Typed | None = None,
    *,
    errors: Findings | None = None,
    checked: Mapping[str, Any] | None = None,
) -> Composing:
    """The form of a conversation, empty or with what was typed."""
    organization_id = visit.staff.organization_id
    senders = await desk.senders(db, organization_id)
    further = await person.further(db, organization_id, row)
    possible = _possible([*row["addresses"], *further], senders)
    # In the query of a page, `channel` is a filter of the list.
    typed = (typed or replace(Typed.of(visit.request.query), channel="")).chosen
    last = await conversations.reply(db, organization_id, row["id"], None)
    channel = typed.channel if typed.channel in possible else ""
    channel = channel or _default(possible, last)
    templates = await desk.templates(db, organization_id, channel) if channel else []
    here = await conversations.reply(db, organization_id, row["id"], channel) if channel else None
    way = here or last or {}
    theirs = _first(possible.get(channel, []), way.get("their_address"))
    senders = [each for each in senders if each["channel"] == channel]
    ours = _first([each["address"] for each in senders], way.get("our_address"))
    template = next((each for each in templates if str(each["id"]) == typed.template), None)
    window_until = None
    if channel == Channel.WHATSAPP:
        to = typed.to if typed.to in theirs else theirs[0]
        from_ = typed.from_ if typed.from_ in ours else ours[0]
        window_until = await standing.window_until(db, organization_id, to, from_)
        if window_until is None:
            provider = next(each["provider"] for each in senders if each["address"] == from_)
            names = set(registry.PROVIDERS[provider].template_names)
            templates = [each for each in templates if names <= set(each["named"])]
    return Composing(
        path=person.path_of(visit, row),
        channels=[(name, CHANNELS[name]) for name in possible],
        channel=channel,
        their_addresses=theirs,
        senders=ours,
        templates=templates,
        template=template,
        typed=typed,
        key=typed.key or str(new_id()),
        window_until=window_until,
        further=further,
        subject=_subject(here),
        errors=errors or Findings(),
        checked=checked,
    )


def _possible(theirs: list[str], senders: list[Row]) -> dict[str, list[str]]:
    """The channels on which this contact has an address and the organization a sender."""
    fitting = {
        channel: [each for each in theirs if addresses.fits(channel, each)] for channel in Channel
    }
    sending = {each["channel"] for each in senders}
    return {channel: theirs for channel, theirs in fitting.items() if theirs and channel in sending}


def _default(possible: Mapping[str, list[str]], last: Row | None) -> str:
    """The channel of their last message; after a call, one for writing if there is one."""
    if last and last["channel"] in possible and last["channel"] != Channel.CALL:
        return str(last["channel"])
    order = (Channel.SMS, Channel.WHATSAPP, Channel.EMAIL, Channel.CALL)
    return next((channel for channel in order if channel in possible), "")


def _first(options: list[str], one: str | None) -> list[str]:
    """The options, beginning with one if it is among them."""
    return sorted(options, key=lambda each: each != one)


def _subject(last: Row | None) -> str:
    """The subject of a reply by e-mail."""
    if last is None or last["channel"] != Channel.EMAIL:
        return ""
    return replying.subject_of(last["subject"])
