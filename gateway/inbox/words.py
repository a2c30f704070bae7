"""The words that staff see for the gateway's short names."""

from __future__ import annotations

import re

from gateway.consent import standing

CHANNELS = {"email": "E-mail", "sms": "SMS", "whatsapp": "WhatsApp", "call": "Call"}
REASONS = {
    "stop": "They said stop",
    "hard_bounce": "The mailbox does not exist",
    "complaint": "They complained",
    "unsubscribe": "They unsubscribed",
    "manual": "Put on the list by hand",
}
SOURCES = {"api": "a colleague, or a service of yours", "one-click": "the link in an e-mail"}

_NAMES = {
    "account_id": "Account",
    "address": "Address",
    "is_default": "Default",
    "html_body": "HTML",
    "content": "Text",
    "all": "The form",
}


# Control characters that make text be displayed in another order than it is stored.
_TURNS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def in_order(text: str) -> str:
    """A name without those characters, so that no address or file extension can be disguised."""
    return _TURNS.sub("", text)


def sentence(text: str) -> str:
    """A finding that follows a field's name ("is required") as a sentence of its own."""
    text = text.strip().removesuffix("; see /v1/suppressions")
    if not text:
        return text
    if text in standing.REASONS.values():
        return f"This address {text}."
    if text.startswith(("is ", "must ", "cannot ", "belongs ", "has ", "contains ")):
        text = f"This {text}"
    elif text.startswith("are "):
        text = f"These {text}"
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def field_name(name: str) -> str:
    """A field's name roughly as on its label: `options.reply_to` becomes "Reply to"."""
    if name.startswith("variables."):
        return name.removeprefix("variables.")
    return _NAMES.get(name) or name.rpartition(".")[2].replace("_", " ").capitalize()
