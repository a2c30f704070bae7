"""What Meta's error codes mean: which are temporary, and plain words for staff.

https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes. The code counts, not
the HTTP status (a rate limit has 400 or 403); most errors come later, in status reports.
"""

from __future__ import annotations

import re
from typing import Final

# The recipient wants no more marketing messages.
OPTED_OUT: Final = "131050"
# Limits, maintenance, and errors that Meta calls temporary: the same message may pass later.
RETRYABLE: Final = frozenset(
    {
        "2", "4", "613", "80007", "130429", "131000", "131016", "131048", "131053", "131056",
        "131057", "133004", "133016", "2494100",
    }
)  # fmt: skip

REASONS: Final = {
    "0": "Meta does not accept the account's access token.",
    "2": "Meta's service is overloaded or down for a moment.",
    "3": "The access token lacks the permission to send WhatsApp messages.",
    "4": "The app's calls to Meta are used up for now.",
    "10": "The access token lacks a permission, or it was taken away.",
    "33": "The business phone number was deleted at Meta.",
    "100": "Meta does not accept a part of the request.",
    "190": "The access token has expired or is not valid.",
    "368": "Meta has restricted the business account for breaking a policy.",
    "613": "Meta asks to send more slowly.",
    "80007": "The WhatsApp business account's calls are used up for now.",
    "130429": "The business number sends more messages a second than Meta allows.",
    "130472": "The recipient is part of an experiment of Meta's and gets no marketing messages.",
    "130497": "The business account may not write to recipients in this country.",
    "131000": "Meta had an error that it does not explain.",
    "131005": "The access token lacks the permission for this number.",
    "131008": "A required part of the message is missing.",
    "131009": "A value of the message is not valid.",
    "131016": "Meta's service is not available for a moment.",
    "131021": "The recipient is the business number itself.",
    "131026": "WhatsApp cannot deliver to this recipient: not on WhatsApp, or too old an app.",
    "131030": "A test number can only write to recipients that were added to its list.",
    "131031": "Meta has locked the business account.",
    "131037": "The business number's display name is not approved yet.",
    "131042": "The business account has a problem with its payment.",
    "131045": "The business number is not registered for the Cloud API.",
    "131047": "More than 24 hours since the recipient last wrote: only a template can be sent.",
    "131048": "Too many recipients have blocked or reported this sender: Meta limits it.",
    "131049": "Meta limits marketing messages to this recipient; wait at least a day.",
    "131050": "The recipient has stopped marketing messages of this business.",
    "131051": "WhatsApp does not know this type of message.",
    "131052": "Meta could not download the file that the person sent.",
    "131053": "Meta could not fetch or use the attachment.",
    "131056": "Too many messages to this recipient in a short time.",
    "131057": "The business account is in maintenance.",
    "131060": "Meta does not pass this message on: it can be read in the WhatsApp Business app.",
    "131062": "This message cannot be sent to a WhatsApp user id; it needs a phone number.",
    "132000": "The number of variables is not that of the template.",
    "132001": "The template does not exist in this language, or is not approved.",
    "132005": "The template with its variables is too long.",
    "132007": "The template breaks a policy of WhatsApp's.",
    "132008": "A variable of the template is not valid.",
    "132012": "A variable of the template has the wrong form.",
    "132015": "Meta has paused the template for its low quality.",
    "132016": "Meta has disabled the template for its low quality.",
    "132068": "The flow of the template is blocked.",
    "132069": "The flow of the template is limited for now.",
    "133004": "Meta's server is not available for a moment.",
    "133010": "The business number is not registered at WhatsApp.",
    "133016": "The business number was registered too often in a short time.",
    # The other codes of seven digits are about registrations, migrations and creating templates.
    "2494100": "The business number is in maintenance at Meta.",
}
_PERMISSION = re.compile(r"2\d\d")  # 200 to 299, all about permissions


def explain(code: str | None) -> str | None:
    """The meaning of one of Meta's error codes in plain words; None if we have no words for it."""
    if code and _PERMISSION.fullmatch(code):
        return REASONS["10"]
    return REASONS.get(code or "")


def read_error(error: object) -> tuple[str | None, str | None]:
    """Code and words of one of Meta's errors, in an answer or in a report.

    Our own words, followed by Meta's details, which often name the part at fault.
    """
    if not isinstance(error, dict):
        return None, None
    given = error.get("code")
    code = str(given) if re.fullmatch(r"\d{1,10}", str(given), re.ASCII) else None
    data = error.get("error_data")
    details = data.get("details") if isinstance(data, dict) else None
    named = (details, error.get("details"), error.get("message"), error.get("title"))
    said = next((text for each in named if (text := _words(each))), None)
    ours = explain(code)
    if ours is None or said is None:
        return code, ours or said
    return code, f"{ours} Meta says: {said}"


def _words(text: object) -> str:
    if not isinstance(text, str):
        return ""
    return " ".join(text.replace("\0", "").encode(errors="replace").decode().split())[:500]
