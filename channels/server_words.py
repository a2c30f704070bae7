"""Refusals of mail servers whose words say something else than their code.

Postfix and Exim refuse a sender with the codes for a mailbox that does not exist; Gmail has one
code for a closed account and for one that gets too much mail at the moment (550 5.2.1).
"""

from __future__ import annotations

import re
from typing import Final

# Not "Recipient verification failed for", which is about the recipient.
_NOT_VERIFIED = r"sender verif\w+ failed|(?<![a-z] )verification failed for"
# The server looked up our own address, which does not exist or accepts no mail.
NO_SUCH_SENDER: Final = re.compile(
    rf"sender (?:address )?rejected: (?:user unknown|unknown|undeliverable|unverified|domain)"
    rf"|sender unknown|{_NOT_VERIFIED}",
    re.IGNORECASE,
)
# The address may stand in between: 550 User [ada@x.example] does not exist.
NO_USER: Final = re.compile(
    r"(?:user|recipient|rcpt|mailbox|address|account)\s(?:\S{1,64}@\S{1,255}\s)?(?:is\s)?"
    r"(?:unknown|not\sfound|does\s?n[o']t\sexist)"
    r"|(?:unknown|no\ssuch|invalid|nonexistent)\s(?:user|recipient|mailbox|address|account)"
    r"|is\snot\sa\s(?:known|valid)\s(?:user|recipient|mailbox)"
    r"|user\sdoesn't\shave\sa\s\S{1,64}\saccount",
    re.IGNORECASE,
)
TOO_MUCH_MAIL: Final = re.compile(r"receiving e?-?mail at a rate", re.IGNORECASE)
# The sender is refused, also because we may not use the address there, or by a policy. Sendmail
# gives all of these the code for a mailbox that does not exist.
_SENDER_REFUSED = re.compile(
    r"(?:sender(?: address)?|(?:return|from) address)(?: \S{1,64}@\S{1,255})? (?:is )?"
    rf"(?:rejected|unknown|denied|not |does)|{_NOT_VERIFIED}"
    # Not if they are a part of an address or of a server's name.
    r"|sender policy framework|(?<![.@/\w-])(?:spf|dkim|dmarc)(?!\.?[\w@])",
    re.IGNORECASE,
)


def is_about_recipient(said: str) -> bool:
    """Whether a refusal may be about the recipient's address."""
    return not (_SENDER_REFUSED.search(said) or TOO_MUCH_MAIL.search(said))
