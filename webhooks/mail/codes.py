"""The codes and words of mail servers (RFC 3463): what to tell people, and whether the address is
bad."""

from __future__ import annotations

import re
from typing import Final

from channels.server_words import NO_SUCH_SENDER, NO_USER, TOO_MUCH_MAIL, is_about_recipient

# The address itself is bad; not for a full mailbox, a policy, or a fault of the sender.
# https://www.iana.org/assignments/smtp-enhanced-status-codes
BAD_ADDRESS = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", "5.4.310"})
UNSPECIFIC = frozenset({"5.0.0", "5.1.0", "5.3.0", "5.5.0"})

REASONS: Final = {
    "5.1.1": "The mailbox does not exist.",
    "5.1.2": "The domain of the address does not exist or takes no mail.",
    "5.1.3": "The address is not valid.",
    "5.1.6": "The mailbox has moved and is no longer there.",
    "5.1.8": "The sender's domain is not accepted.",
    "5.1.10": "The address does not exist, or its domain takes no mail.",
    "5.2.1": "The mailbox is disabled.",
    "5.2.2": "The mailbox is full.",
    "5.2.3": "The mail is larger than the recipient's limit.",
    "5.3.4": "The mail is larger than the recipient's server takes.",
    "5.4.1": "The recipient's mail server did not answer, or knows no such address.",
    "5.4.4": "No mail server was found for the address.",
    "5.4.6": "The mail went round in a loop.",
    "5.4.7": "The mail could not be delivered in time.",
    "5.4.310": "The domain of the address does not exist.",
    "5.7.1": "The recipient's server refused the mail by its policy.",
    "5.7.26": "The mail failed the recipient's check of its sender (SPF, DKIM, DMARC).",
}

ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
# After an SMTP reply code, or as qmail writes it: versions and sections in a text look the same.
REFUSED = re.compile(r"(?:(?<![\d.])5\d\d[ -]{1,3}#?|\(#)(5\.\d{1,3}\.\d{1,3})(?![\d.])")
# What Exchange Online says of an address that its tenant does not have
# https://learn.microsoft.com/en-us/exchange/troubleshoot/email-delivery/ndr/fix-error-code-550-5-4-1-in-exchange-online
NOT_THERE = re.compile(r"recipient address rejected: access denied", re.IGNORECASE)


def _meant(code: str | None, diagnostic: str) -> str | None:
    """The code; if it is unspecific, the one that the other server gave in the diagnostic."""
    if code not in UNSPECIFIC:
        return code
    said = REFUSED.findall(diagnostic)
    return next((each for each in said if each not in UNSPECIFIC), code)


def is_bad_address(code: str | None, diagnostic: str) -> bool:
    """Whether no mail will ever arrive at the address, whoever sends it."""
    if not is_about_recipient(diagnostic):
        return False
    code = _meant(code, diagnostic)
    if code in BAD_ADDRESS:
        return True
    if code == "5.4.1":
        return NOT_THERE.search(diagnostic) is not None
    is_permanent = code in UNSPECIFIC or (code is None and re.search(r"\b55[0-4]\b", diagnostic))
    return bool(is_permanent) and NO_USER.search(diagnostic) is not None


def explanation(code: str | None, diagnostic: str) -> str:
    """Plain words, followed by those of the server."""
    code = _meant(code, diagnostic)
    if NO_SUCH_SENDER.search(diagnostic):
        words: str | None = "The recipient's mail server does not accept our address."
    elif TOO_MUCH_MAIL.search(diagnostic):
        words = "The mailbox got more mail than it takes at a time."
    else:
        words = REASONS.get(code or "") or REASONS.get("5" + (code or "")[1:])
    said = re.sub(r"^[\w-]+\s*;\s*", "", diagnostic)[:500].strip()
    words = words or "The mail could not be delivered."
    return f"{words} ({said})" if said else words
