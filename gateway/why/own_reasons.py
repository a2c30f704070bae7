"""The gateway's own codes: for what it refused itself, and what providers have no code for."""

from __future__ import annotations

import re
from typing import Final

from gateway.why.model import Reason
from gateway.why.words import opening, sentence

ADMIN: Final = "Tell an administrator"
_AGAIN = "Then send it again."

# None as the text: the row's own text says more (a file's name, the reason of the suppression).
# The texts are also shown for attempts that are followed by another, so none may sound final.
_OWN: Final[dict[str, tuple[str | None, str]]] = {
    "expired": (
        "It was not sent in time: its latest moment had passed.",
        "Send it again if it still matters.",
    ),
    "fallback": (
        "It was not sent once more, because something else was sent instead.",
        "Look at that message.",
    ),
    "suppressed": (
        None,
        (
            "Do not write to this address on this channel. If the person asks for messages again, "
            "lift the suppression (the list of suppressed addresses shows why it is there), then "
            "send it anew."
        ),
    ),
    "form": (None, "Write it anew, and tell whoever looks after the other program."),
    "sign_in": (
        None,
        "Ask for a new link on the page to sign in.",
    ),
    "no_sender": (
        "The address it was to be sent from, or its account, was removed or turned off.",
        f"{ADMIN}: turn the account on again, or choose another sender. {_AGAIN}",
    ),
    "credentials": (
        "The gateway could not use the account's access data at the provider.",
        f"{ADMIN}: enter the account's credentials again. {_AGAIN}",
    ),
    "answer_lost": (
        "The provider never answered, and does not have the message.",
        (
            "It did not arrive, and can safely be sent again. If that happens often, tell an "
            "administrator."
        ),
    ),
    "window_closed": (
        (
            "More than 24 hours have passed since the person last wrote, and WhatsApp then takes "
            "prepared templates only."
        ),
        "Choose a template, or wait until the person writes again.",
    ),
    "attachment": (
        None,
        (
            "Attach the file anew (an upload rather than a link, and smaller if it is large) and "
            "send the message again."
        ),
    ),
    "attachments": (
        None,
        "Send one file with each message, as an upload.",
    ),
    "no_files": (
        "The account it was to be sent through carries no files on this channel.",
        "Send it without the file, or by e-mail.",
    ),
    "media": (
        None,
        "Attach the file anew, as an upload, and send the message again.",
    ),
    "channel": (
        "The account it was to be sent through does not carry this channel.",
        f"{ADMIN}: the sender belongs to the wrong account. {_AGAIN}",
    ),
    "template": (
        None,
        f"{ADMIN}: complete the template's entry of the provider's own template. {_AGAIN}",
    ),
    "path": (
        "The mail account is not set up correctly.",
        f"{ADMIN}: the account's domain is probably misspelt. {_AGAIN}",
    ),
    "busy_server": (
        "The mail server was busy with other mails of this account.",
        f"{ADMIN}: this account sends more than its mail server takes. {_AGAIN}",
    ),
    "dkim": (
        "The mail could not be signed: the account's DKIM key is missing or cannot be read.",
        f"{ADMIN}: set up the account's DKIM key. {_AGAIN}",
    ),
    "tls": (
        "No secure connection to the mail server could be made.",
        f"{ADMIN}: the mail server's certificate or the account's tls setting is wrong. {_AGAIN}",
    ),
    "login": (
        "The mail server offers no way to log in that the gateway knows.",
        f"{ADMIN}: the account's host, port or tls setting is wrong. {_AGAIN}",
    ),
    "smtputf8": (
        "The mail server takes no addresses with letters beyond a to z.",
        "Ask the person for another address of theirs.",
    ),
    "address": (
        "An address of the mail is not written correctly.",
        "Correct the address of the recipient or of the sender, then send it again.",
    ),
    "header": (
        "A line of the mail's head holds characters that no mail may have.",
        "Write the subject anew, on one line, and send it again.",
    ),
    "content": (
        "The gateway could not put this message together.",
        "Tell an administrator: this is a fault of the gateway itself.",
    ),
    "unreachable": (
        "The provider could not be reached.",
        (
            "Send it again later. If others fail too, tell an administrator: the network or the "
            "provider's address is wrong."
        ),
    ),
}
_LOST = Reason(
    text="The provider's answers could not be understood, and it does not have the message.",
    advice="Send it again. If that happens often, tell an administrator.",
)
_BROKEN = Reason(
    text="The connection to the provider broke, or was too slow to bring it the message.",
    advice=_LOST.advice,
)
_UNCLEAR = {
    **dict.fromkeys(("timeout", "reset"), _BROKEN),
    "cut": Reason(
        text="It was cut off before it had left: the gateway was stopped, or it took too long.",
        advice=_LOST.advice,
    ),
    **dict.fromkeys(("unreadable", "too-early", "too-many"), _LOST),
}
_HTTP = re.compile(r"http-(\d{3})")


# Every code that has an entry here.
CODES: Final = frozenset({*_OWN, *_UNCLEAR})


def find(code: str, said: str) -> Reason | None:
    """What one of our own codes means; `said` is the row's error message, cleaned."""
    if code in _OWN:
        text, advice = _OWN[code]
        return Reason(text=text or sentence(said or "The gateway did not send it"), advice=advice)
    return _UNCLEAR.get(code)


def of_http(code: str, who: str) -> Reason | None:
    """What the HTTP status of a provider's answer means, if that had no code of its own."""
    match = _HTTP.fullmatch(code)
    if match is None:
        return None
    status = int(match[1])
    if status in {401, 403}:
        return Reason(
            text=f"The gateway's access to {who} was not accepted.",
            advice=f"{ADMIN}: renew the account's credentials and what they permit. {_AGAIN}",
        )
    if status == 402:
        return Reason(
            text=f"The account at {who} has run out of credit.",
            advice=f"{ADMIN}: pay or change the plan. {_AGAIN}",
        )
    if status == 404:
        return Reason(
            text=f"{opening(who)} does not know the account, or what it is to send from.",
            advice=f"{ADMIN}: look for a typing mistake in the account's settings. {_AGAIN}",
        )
    if status == 413:
        return Reason(
            text=f"The message is too large for {who}.",
            advice="Use fewer or smaller files, then send it again.",
        )
    if status == 429:
        return Reason(
            text=f"{opening(who)} was asked too often in a short time.",
            advice="Send it again later. If that happens often, an administrator should set a "
            "pace for the sender.",
        )
    if status >= 500:
        return Reason(
            text=f"{opening(who)} had a disturbance.",
            advice="Send it again later.",
        )
    return Reason(
        text=f"{opening(who)} did not accept the message as it is.",
        advice="Look at the addresses and the text. If they are right, show an administrator this "
        "page: the technical details say what was refused.",
    )
