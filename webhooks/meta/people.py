"""Meta, the addresses of people: a number, a user id, or both; and a parent user id, if a business
has several portfolios
(https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids/).
"""

from __future__ import annotations

import re
from dataclasses import replace
from operator import itemgetter
from typing import Final

from channels import consent, phone, whatsapp
from channels.consent import Consent
from channels.model import Channel
from webhooks.meta.values import (
    ID_CHARACTERS,
    Given,
    address,
    filled,
    text,
)
from webhooks.model import ConsentChange, Inbound, Reason, Renamed, Unknown, WebhookEvent
from webhooks.values import DETAIL_CHARACTERS, items, members, moment

ADDRESSES: Final = ("wa_id", "new_wa_id", "user_id", "parent_user_id")
CHANGED: Final = re.compile(r" changed from (\S+) to (\S+)$")


def for_each(change: ConsentChange, *named: object) -> list[WebhookEvent]:
    """A person's change of consent, for each of these addresses: we may write to any of them."""
    found: dict[str, str] = {}
    for each in named:
        if one := address(each):
            found.setdefault(phone.canonical(one), one)
    first, *others = found.values() or [None]
    also = [replace(change, address=one, key=f"{change.key}:{one}") for one in others]
    return [replace(change, address=first), *also]


def by_id(contacts: object) -> dict[str, tuple[int, Given]]:
    """The contacts beside the messages by their ids, each with its place, and of several with the
    same id the first. Indexed, because a batch may have as many contacts as messages."""
    found: dict[str, tuple[int, Given]] = {}
    for place, each in enumerate(items(contacts)):
        known = members(each)
        for name in ("wa_id", "user_id"):
            if own := text(known.get(name)):
                found.setdefault(own, (place, known))
    return found


def contact(message: Given, value: Given) -> Given:
    """The sender of the message among the contacts beside it (`by_id`)."""
    known = value["contacts"]
    ids = (text(message.get(name)) for name in ("from", "from_user_id"))
    found = [known[each] for each in ids if each in known]
    return min(found, key=itemgetter(0))[1] if found else {}


def recipient(status: Given) -> tuple[str, ...]:
    """The number and the user id of the recipient, if both are told."""
    number, user_id = (address(status.get(name)) for name in ("recipient_id", "recipient_user_id"))
    is_person = text(status.get("recipient_type"), 64).strip().lower() in {"", "individual"}
    if is_person and number.startswith("+") and whatsapp.is_user_id(user_id):
        return number, user_id
    return ()


def renamed(external_id: str, message: Given) -> list[WebhookEvent]:
    """The news of a system message that a person's number or user id has changed, if it says so.

    https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages/system/
    """
    word = text(members(message.get("system")).get("type"), 64)
    former, new = _changed(message)
    if not new:
        return []
    news = Renamed(
        channel=Channel.WHATSAPP,
        former=tuple(sorted(former)),
        addresses=tuple(new),
        word=word,
        key=f"meta:{external_id}:{word}",
        occurred_at=moment(message.get("timestamp")),
        detail={"external_id": external_id},
    )
    return [news]


def new_address(message: Given) -> str | None:
    """The address of a person from now on, if the message itself comes from a former one."""
    new = _changed(message)[1]
    number = next((each for each in new if each.startswith("+")), None)
    return number or (new[0] if new and not address(message.get("from")) else None)


def told_before(system: Given) -> str:
    """The former address, if only the text of a system message has it; "" if the text does not fit.

    The text begins with a name that the person chose, and ends with the addresses.
    """
    found = CHANGED.search(text(system.get("body"), DETAIL_CHARACTERS).strip())
    now = {address(system.get(name)) for name in ADDRESSES}
    return address(found[1]) if found and address(found[2]) in now else ""


def updated(update: Given, value: Given) -> list[WebhookEvent]:
    """The news that a person's user id has changed, from a webhook field of its own.

    Meta documented this field, and later (2026-08-11) that nobody can subscribe to it; system
    messages say the same (`renamed`).

    https://developers.facebook.com/documentation/business-messaging/whatsapp/changelog/
    https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids/
    """
    ids = [members(update.get(name)) for name in ("user_id", "parent_user_id")]
    former = [each for given in ids if (each := address(given.get("previous")))]
    named = [*(given.get("current") for given in ids), update.get("wa_id")]
    now = [each for given in named if (each := address(given))]
    if not (former and now):
        return [Unknown(word="user_id_update", detail=filled(update=update))]
    number = text(members(value.get("metadata")).get("phone_number_id"), ID_CHARACTERS)
    news = Renamed(
        channel=Channel.WHATSAPP,
        former=tuple(former),
        addresses=tuple(now),
        word="user_id_update",
        key=f"meta:{number}:user_id_update:{':'.join([*former, *now])}",
        occurred_at=moment(update.get("timestamp")),
    )
    return [news]


def _changed(message: Given) -> tuple[set[str], list[str]]:
    """A person's former addresses, and the new ones."""
    system = members(message.get("system"))
    if "changed" not in text(system.get("type"), 64):
        return set(), []
    names = ("previous_user_id", "previous_parent_user_id")
    before = [message.get("from"), *(system.get(name) for name in names), told_before(system)]
    former = {each for given in before if (each := address(given))}
    now = [system.get(name) for name in ADDRESSES]
    new = dict.fromkeys(each for given in now if (each := address(given)) and each not in former)
    former |= {address(message.get("from_user_id"))} - {"", *new}
    return former, list(new)


def wishes(received: Inbound, message: Given, value: Given) -> list[WebhookEvent]:
    """The change of consent in the text of a message, for all addresses of its author."""
    wish = consent.read(received.body, Channel.WHATSAPP)
    if wish not in {Consent.STOP, Consent.START}:
        return []
    change = ConsentChange(
        channel=Channel.WHATSAPP,
        reason=Reason.STOP,
        is_lifted=wish is Consent.START,
        word=received.body.strip(),
        key=f"meta:{received.external_id}:{wish}",
        occurred_at=received.occurred_at,
        detail={"text": received.body, "external_id": received.external_id},
    )
    who = contact(message, value)
    own = [message.get(name) for name in ("from", "from_user_id", "from_parent_user_id")]
    beside = [who.get(name) for name in ("wa_id", "user_id", "parent_user_id")]
    return for_each(change, *own, *beside)
