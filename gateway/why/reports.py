"""The timeline's sentences for providers' reports, by `type` of the events from `webhooks`."""

from __future__ import annotations

from typing import Final

from gateway.why.model import Row, Story
from gateway.why.words import clean, how_long_seconds, opening

# First by channel, then for every channel; {who} is the provider.
_SMS: Final = {
    "sent": "{who} handed it to the recipient's network.",
    "delivered": "It arrived on the recipient's phone.",
}
_WHATSAPP: Final = {
    "sent": "WhatsApp had it, and waited for the recipient's phone.",
    "delivered": "It arrived on the recipient's phone.",
    "deleted": "It was deleted in WhatsApp.",
}
_CALL: Final = {
    "queued": "{who} was about to dial.",
    "initiated": "{who} dialled.",
    "ringing": "The phone rang.",
    "in-progress": "The call was answered.",
    "completed": "The call ended{duration}.",
    "answered_by": "{answered}",
    "confirmed": "The person pressed the key that was asked for{digits}.",
    "digits": "A key was pressed{digits}.",
    "recorded": "The person finished their message.",
    "recording-in-progress": "The recording began.",
    "recording-completed": "The call was recorded.",
    "recording-absent": "Nothing was recorded.",
    "recording-failed": "The recording failed.",
    "transcription-completed": "The recording was put into words.",
    "transcription-failed": "The recording could not be put into words.",
    "cost": "{who} told what the call cost{price}.",
}
_DEFERRED = "The recipient's mail server did not take it yet; {who} kept trying."
# For a notice that may not be a bounce; a certain bounce has the status `failed`.
_CAME_BACK = "A notice came back that does not say for sure whether it arrived."
_SPAM = "The recipient reported it as spam."
_LEFT = "The recipient unsubscribed."
_EMAIL: Final = {
    **dict.fromkeys(
        ("processed", "accepted", "send", "sent"), "{who} had it, and was delivering it."
    ),
    **dict.fromkeys(("delivered", "delivery", "relayed", "expanded"),
                    "The recipient's mail server took it."),
    **dict.fromkeys(
        ("deferred", "delayed", "deliverydelay", "delivery_delayed", "transient", "dnserror",
         "failed"),
        _DEFERRED,
    ),
    **dict.fromkeys(("bounce", "bounced"), _CAME_BACK),
    **dict.fromkeys(("open", "opened"), "{opened}"),
    **dict.fromkeys(("click", "clicked"), "A link in it was followed."),
    **dict.fromkeys(("spamreport", "complained", "complaint", "spamcomplaint"), _SPAM),
    **dict.fromkeys(
        ("unsubscribe", "unsubscribed", "group_unsubscribe", "opt-out", "opt-out-list"), _LEFT
    ),
    **dict.fromkeys(("group_resubscribe", "subscribe"), "The recipient subscribed again."),
    **dict.fromkeys(("subscriptionchange", "subscription"),
                    "The recipient's subscription was changed."),
    "autoresponder": "An automatic answer came back.",
    "challengeverification": "The recipient's mail server wants a person to confirm the mail.",
    "not-spam": "The recipient said that it is no spam.",
    "attachments": "The list of its files came in.",
}  # fmt: skip
_ANY: Final = {
    "received": "It came in.",
    "accepted": "{who} accepted it.",
    "queued": "{who} put it in its queue.",
    "scheduled": "{who} keeps it, to be sent later.",
    "sending": "{who} was sending it on.",
    "partially_delivered": "A part of it arrived.",
    "read": "It was read.",
    "played": "It was listened to.",
    "canceled": "{who} reports that it was canceled.",
}
_CHANNELS: Final = {"sms": _SMS, "whatsapp": _WHATSAPP, "call": _CALL, "email": _EMAIL}

# If the type is not known, the status still says something.
_BY_STATUS: Final = {
    "sent": "{who} has it",
    "delivered": "{who} reports that it arrived",
    "read": "{who} reports that it was read",
    "canceled": "{who} reports that it was canceled",
}
_ANSWERED: Final = {
    "human": "A person answered the call.",
    "fax": "A fax machine answered the call.",
    "unknown": "It is not known whether a person or a machine answered the call.",
}


def reported(story: Story, event: Row, who: str) -> str:
    """The sentence for a report that is not a failure."""
    word = str(event["type"]).lower().removeprefix("email.")
    known = _CHANNELS.get(story.channel, {}).get(word) or _ANY.get(word)
    if known is None:
        said = f'("{clean(event["type"], 64)}").'
        meaning = _BY_STATUS.get(event["status"] or "", "{who} reported something that changes "
                                 "nothing")  # fmt: skip
        return opening(f"{meaning.format(who=who)} {said}")
    return opening(
        known.format(
            who=who,
            opened=_opened(event),
            answered=answered_by(story) or _ANSWERED["unknown"],
            duration=_after(story),
            digits=_digits(story),
            price=_price(story),
        )
    )


def answered_by(story: Story) -> str | None:
    """A sentence on who answered a call; None if detection was not asked for."""
    found = str(story.provider_detail.get("answered_by") or "")
    if found.startswith("machine"):
        return "A machine answered the call, such as a voicemail."
    return _ANSWERED.get(found)


def _opened(event: Row) -> str:
    if event["status"] == "read":
        return "It was opened."
    return "A program opened it and loaded its images: that need not have been a person."


def _after(story: Story) -> str:
    seconds = how_long_seconds(story.provider_detail.get("duration"))
    return f" after {seconds}" if seconds else ""


def _digits(story: Story) -> str:
    digits = story.provider_detail.get("digits")
    return f" ({clean(digits, 64)})" if digits else ""


def _price(story: Story) -> str:
    price, unit = story.provider_detail.get("price"), story.provider_detail.get("price_unit")
    return f": {clean(str(price).lstrip('-'), 32)} {clean(unit or '', 8)}".rstrip() if price else ""
