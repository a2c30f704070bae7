"""The words with which people stop our messages, want them again, or ask for help.

SMS: the words that carriers and Twilio know
(https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out), and those of other providers.
WhatsApp has no filter of a carrier's, and longer conversations: there only words that mean nothing
else count. Only a whole message is such a word: "STOP PLEASE" is an ordinary answer.
"""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from typing import Final

from channels.model import Channel

LONGEST = 64


class Consent(StrEnum):
    """What such a word wants."""

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
            # The button that Meta itself puts under marketing templates, in their language.
            "stop promotions", "detener promociones", "parar promoções",
        }
    ),
}  # fmt: skip

# YES is an answer to many questions: it only lifts a stop, and is no consent by itself.
STARTS: Final = {
    Channel.SMS: frozenset({"start", "unstop", "yes"}),
    Channel.WHATSAPP: frozenset({"start", "unstop", "subscribe"}),
}
HELPS: Final = {Channel.SMS: frozenset({"help", "info"})}

# People copy the quotation marks of "reply STOP" with the word, end it as a sentence, or make it
# bold as WhatsApp does.
_AROUND = "\"'`´‘’‚“”„«»‹›()[]<>*_~.…!,;: \t\r\n"


def read(text: str, channel: Channel) -> Consent | None:
    """What a message says about consent, None for every ordinary one.

    Punctuation around a word is ignored in a stop alone: after a stop that is missed, or a start
    that was none, somebody who said no is written to.
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
    """One case, one kind of spaces, full-width letters as the usual ones, and none that is not seen
    (keyboards put in what says where a line may break, or which way it runs)."""
    seen = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", seen).casefold().split())
