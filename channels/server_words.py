"""What a mail server says in words while its code says something else.

Postfix and Exim refuse a sender with the codes of a mailbox that is not there; Gmail has one code
for a closed account and for one that gets too much mail at this moment (550 5.2.1).
"""

from __future__ import annotations

import re
from typing import Final

# Our own address: it was looked up, and is not there or takes no mail.
SENDER_REFUSED: Final = re.compile(
    r"sender (?:address )?(?:rejected|verify failed|verification|unknown|denied)"
    r"|verification failed for|while verifying",
    re.IGNORECASE,
)
TOO_MUCH_MAIL: Final = re.compile(r"receiving e?-?mail at a rate", re.IGNORECASE)


def is_about_recipient(said: str) -> bool:
    """Whether a refusal may speak of the recipient's address."""
    return not (SENDER_REFUSED.search(said) or TOO_MUCH_MAIL.search(said))
