"""The words with which people stop our messages, ask for them again, or ask for help.

SMS: the words that carriers and Twilio know
(https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out), and those of other providers.
WhatsApp has no carrier filter, and its conversations are longer: only words that mean nothing else
count there. The word must be the whole message: "STOP PLEASE" is an ordinary answer.
"""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from typing import Final

from channels.model import Channel

LONGEST = 64


class Consent(StrEnum):
    """What such a word asks for."""

    STOP = "stop"
    START = "start"
    HELP = "help"


STOPS: Final = {
    Channel.SMS: frozenset(
        {
            "stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit", "revoke",
            "optout", "opt out", "opt-out", "arret", "arrêt",
        }
    ),
    Channel.WHATSAPP: frozenset(
        {
            "stop", "stopall", "stop all", "unsubscribe", "optout", "opt out", "opt-out",
            # The button that Meta adds to marketing templates, in the language of the template.
            "stop promotions", "detener promociones", "parar promoções",
        }
    ),
}  # fmt: skip

# YES is an answer to many questions: it only lifts a stop, and does not count as consent.
STARTS: Final = {
    Channel.SMS: frozenset({"start", "unstop", "yes"}),
    Channel.WHATSAPP: frozenset({"start", "unstop", "subscribe"}),
}
HELPS: Final = {Channel.SMS: frozenset({"help", "info"})}

# People copy the quotation marks of "reply STOP" with the word, end it like a sentence, or make it
# bold as in WhatsApp.
_AROUND = "\"'`´‘’‚“”„«»‹›()[]<>*_~.…!,;: \t\r\n"


def read(text: str, channel: Channel) -> Consent | None:
    """What a message says about consent; None for an ordinary one.

    Punctuation around the word is ignored only for a stop. In doubt we stop: if we missed a stop,
    or took something else for a start, we would write to somebody who had said no.
    """
    if channel not in STOPS or len(text) > LONGEST:
        return None
    exact = _plain(text)
    word = _plain(exact.strip(_AROUND))
    if exact in STARTS[channel]:
        return Consent.START
    if word in STOPS[channel]:
        return Consent.STOP
    return Consent.HELP if exact in HELPS.get(channel, ()) else None


def _plain(text: str) -> str:
    """The text case-folded, with single spaces, full-width letters as normal ones, and without
    invisible characters (keyboards insert some for line breaks and text direction)."""
    seen = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", seen).casefold().split())
