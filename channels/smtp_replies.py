"""What a mail server's reply means for a mail: refused for good or for now, and why.

Codes: RFC 5321 §4.2, enhanced ones https://www.iana.org/assignments/smtp-enhanced-status-codes.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiosmtplib.errors import SMTPAuthenticationError, SMTPResponseException

from channels.errors import Refused, RefusedForNow, SendError, Unreachable
from channels.server_words import is_about_recipient

ENHANCED = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
# At the start of a reply (RFC 2034 §4): no such mailbox, or a domain that accepts no mail. Any
# other code may be about a policy, the sender or the moment.
NO_MAILBOX = re.compile(r"5\.1\.10?(?![\d.]*\d)")
_NO_ACCESS = 530
REASONS: Final = {
    "5.1.1": "The recipient's mailbox does not exist.",
    "5.1.2": "The domain of the recipient's address does not exist.",
    "5.1.3": "The recipient's address is not valid.",
    "5.1.6": "The recipient's mailbox has moved and is no longer there.",
    "5.1.7": "The sender's address is not valid.",
    "5.1.8": "The sender's domain is not accepted.",
    "5.1.10": "The recipient's address does not exist, or its domain takes no mail.",
    "5.2.1": "The recipient's mailbox is disabled.",
    "5.2.2": "The recipient's mailbox is full.",
    "5.2.3": "The mail is larger than the recipient's limit.",
    "5.3.4": "The mail is larger than the mail server takes.",
    "5.7.0": "The mail server does not let this account send the mail.",
    "5.7.1": "The mail server refuses the mail by its policy.",
    "530": "The mail server wants a user name and password, or an encrypted connection.",
    "550": "The mail server refuses the recipient.",
    "551": "The mail server does not take mail for the recipient.",
    "552": "The mail is too large, or the recipient's mailbox is full.",
    "553": "The mail server does not accept the address.",
    "554": "The mail server refuses the mail.",
}


def refusal(code: int, text: str, *, is_to_rcpt: bool = False) -> Refused | RefusedForNow:
    """What a server's negative reply means, by its class; with its enhanced status if it has one.

    Raises nothing. Only a reply to RCPT (`is_to_rcpt`) is about the recipient alone. After 4yz, or
    a code that is not valid, another attempt may succeed (RFC 5321 §4.2.1).
    """
    said = one_line(text)
    found = ENHANCED.search(said)
    # 530 is about our access (RFC 4954 §6); its enhanced status is often that of a policy.
    named = found[1] if found and code != _NO_ACCESS else str(code)
    if not 500 <= code < 600:
        return RefusedForNow(f"The mail server asks to come back later: {said}", code=named)
    if not is_about_recipient(said):
        return Refused(f"The mail server refuses the mail. ({said})", code=named)
    words = REASONS.get(named) or REASONS.get(str(code)) or "The mail server refuses the mail."
    kind = Unreachable if is_to_rcpt and NO_MAILBOX.match(said) else Refused
    return kind(f"{words} ({said})" if said else words, code=named)


@contextmanager
def any_yes() -> Iterator[None]:
    """Take any 2yz for a yes, such as 252 to RCPT: the library only knows some of them.

    https://www.rfc-editor.org/rfc/rfc5321#section-4.3.2
    """
    try:
        yield
    except SMTPResponseException as error:
        if not 200 <= error.code < 300:
            raise


def one_line(text: str) -> str:
    """A reply's words on one line, fit to be stored."""
    words = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(words.encode(errors="replace").decode().split())[:300]


def refused_login(code: int, text: str) -> Refused | RefusedForNow:
    """What a failed login means: wrong credentials stay wrong, and retrying locks accounts."""
    if 400 <= code < 500:
        return refusal(code, text)
    return Refused(
        "The mail server does not accept the account's user name and password.", code=str(code)
    )


def cannot_connect(error: Exception) -> SendError:
    """Why there is no connection; nothing was sent."""
    cause = error if isinstance(error, ssl.SSLError) else error.__cause__
    if isinstance(error, SMTPAuthenticationError):
        return refused_login(error.code, error.message)
    if isinstance(error, SMTPResponseException):
        # A refused greeting or HELO is about us or the moment, not about the mail. Its words are
        # not repeated: whoever configures a host must not read what other servers answer there.
        return RefusedForNow("The mail server takes no mail now.", code=str(error.code))
    if isinstance(cause, ssl.SSLError):
        return RefusedForNow("No trusted TLS connection to the mail server was made.", code="tls")
    if isinstance(error, OSError):
        return RefusedForNow("The mail server cannot be reached.", code="unreachable")
    if "STARTTLS extension" in str(error):
        return Refused("The mail server offers no STARTTLS, which the account wants.", code="tls")
    return Refused("The mail server offers no login that can be used.", code="login")
