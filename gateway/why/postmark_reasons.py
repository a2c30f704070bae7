"""Postmark's numeric codes: of its API's refusals, and of types of bounces.

https://postmarkapp.com/developer/api/overview#error-codes and
/developer/api/bounce-api#bounce-types
"""

from __future__ import annotations

from typing import Final

from channels.providers.postmark import REASONS
from gateway.why.mail_reasons import (
    BLOCKED,
    GONE,
    NOT_CONFIRMED,
    REFUSED,
    SPAM,
    STOPPED,
    UNTRUSTED,
    VIRUS,
)
from gateway.why.model import Reason
from gateway.why.own_reasons import ADMIN

_AGAIN = "Then send it again."
_ADVICE: Final = {
    "10": f"{ADMIN}: renew the Postmark account's server token. {_AGAIN}",
    "100": "Send it again later.",
    "300": "Look at the addresses and the subject, correct them, and send it again.",
    "400": f"{ADMIN}: set up the sender's address at Postmark. {_AGAIN}",
    "401": f"{ADMIN}: confirm the sender's address at Postmark. {_AGAIN}",
    "405": f"{ADMIN}: pay or change the plan at Postmark. {_AGAIN}",
    "406": "Reach the person another way, and ask for an address that works. If it was a mistake, "
    "an administrator can activate the address again at Postmark.",
    "411": "Send the file as another type, for example as PDF.",
    "412": f"{ADMIN}: ask Postmark to approve the account. {_AGAIN}",
    "413": f"{ADMIN}: settle it with Postmark. {_AGAIN}",
    "429": "Send it again later.",
}

POSTMARK: Final = {
    **{code: Reason(text=REASONS[code], advice=advice) for code, advice in _ADVICE.items()},
    "1": GONE,
    "4096": REFUSED,
    "8192": VIRUS,
    "100000": GONE,
    "100001": SPAM,
    "100002": STOPPED,
    "100003": NOT_CONFIRMED,
    "100006": BLOCKED,
    "100007": REFUSED,
    "100009": UNTRUSTED,
    "100010": Reason(
        text="Postmark could not put its template together.",
        advice=f"{ADMIN}: correct the template at Postmark. {_AGAIN}",
    ),
}
