"""Meta's error codes of the WhatsApp Cloud API, in plain words and with what to do.

https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes
"""

from __future__ import annotations

from typing import Final

from channels.providers.meta.reasons import REASONS
from gateway.why.model import Reason
from gateway.why.own_reasons import ADMIN

_AGAIN = "Then send it again."
_TOKEN = f"{ADMIN}: renew the access token and its permissions at Meta. {_AGAIN}"
_ACCOUNT = f"{ADMIN}: the WhatsApp Manager at Meta says what is wrong. {_AGAIN}"
_LATER = "Send it again later. If others fail too, tell an administrator."
_SLOWER = (
    "Send it again later. If that happens often, an administrator should set a pace for the sender."
)
_OTHER_WAY = "Reach the person another way: by e-mail, by SMS, or with a call."
_TEMPLATE = f"{ADMIN}: compare the template here with the one in Meta's WhatsApp Manager. {_AGAIN}"
_VALUES = f"Look at the template's values: none may be empty or have line breaks. {_AGAIN}"
_CONTENT = (
    "Write the message anew, as plain text or with a usual file, and send it again. If it fails "
    "once more, tell an administrator."
)
_NO_ADVERTISING = (
    "Do not send it again within a day. If it is no advertising, use a utility template or another "
    "channel."
)
# Meta stops only advertising, but not every template says whether it is advertising.
_STOPPED = (
    "Respect it: this person gets nothing more on WhatsApp until they want offers again in "
    "WhatsApp itself, or an owner or admin takes the address off the list of suppressed ones."
)

_ADVICE: Final = {
    "0": _TOKEN,
    "2": _LATER,
    "3": _TOKEN,
    "4": _SLOWER,
    "10": _TOKEN,
    "33": _ACCOUNT,
    "100": _CONTENT,
    "190": _TOKEN,
    "368": _ACCOUNT,
    "613": _SLOWER,
    "80007": _SLOWER,
    "130429": _SLOWER,
    "130472": f"Sending it again does not help. {_OTHER_WAY}",
    "130497": f"WhatsApp does not allow it for this kind of business. {_OTHER_WAY}",
    "131000": "Try once more. If it fails again, tell an administrator.",
    "131005": _TOKEN,
    "131008": _CONTENT,
    "131009": _CONTENT,
    "131016": _LATER,
    "131021": "Choose the person's own number.",
    "131026": f"Check that the number is on WhatsApp, and ask the person to update the app. "
    f"{_OTHER_WAY}",
    "131030": f"{ADMIN}: add the recipient to the test number's list at Meta, or use another.",
    "131031": _ACCOUNT,
    "131037": _ACCOUNT,
    "131042": f"{ADMIN}: settle the payment at Meta. {_AGAIN}",
    "131045": _ACCOUNT,
    "131047": "Choose a template, or wait until the person writes again.",
    "131048": f"Do not send more for now. {ADMIN}: the number's quality at Meta is low. "
    f"{_OTHER_WAY}",
    "131049": _NO_ADVERTISING,
    "131050": _STOPPED,
    "131051": _CONTENT,
    "131052": "Ask the person to send the file again.",
    "131053": "Attach the file anew, as an upload, of a usual type and size. Then send it again.",
    "131056": "Wait some minutes before you write to this person again.",
    "131057": _LATER,
    "131060": "Read the message in the WhatsApp Business app.",
    "131062": "Ask the person for their phone number, and write to that.",
    "132000": _TEMPLATE,
    "132001": _TEMPLATE,
    "132005": "Shorten the values of the template, and send it again.",
    "132007": _TEMPLATE,
    "132008": _VALUES,
    "132012": _VALUES,
    "132015": f"Use another template. {ADMIN}: this one needs better words before Meta allows it.",
    "132016": f"Use another template. {ADMIN}: Meta does not allow this one any more.",
    "132068": _ACCOUNT,
    "132069": _LATER,
    "133004": _LATER,
    "133010": _ACCOUNT,
    "133016": f"{ADMIN}: wait until Meta allows to register the number again.",
    "2494100": _LATER,
}

_ACCESS = "Meta does not accept the gateway's access any more."
_PERMISSION = "The gateway's access at Meta lacks a permission."
_TOO_OFTEN = "The gateway asked Meta too often in a short time."

_PLAINER: Final = {
    "0": _ACCESS,
    "190": _ACCESS,
    "3": _PERMISSION,
    "10": _PERMISSION,
    "4": _TOO_OFTEN,
    "613": _TOO_OFTEN,
    "80007": _TOO_OFTEN,
    "100": "Meta did not accept a part of the message.",
    "132000": "The message does not have as many values as the template needs.",
    "132001": "The template does not exist in this language, or Meta has not approved it.",
    "132008": "A value of the template is not valid.",
    "132012": "A value of the template has the wrong form.",
    "131062": "WhatsApp needs a phone number for this message, and has only a user id.",
    "33": "The business number is no longer there at Meta.",
    "131005": "The gateway's access to this WhatsApp number is not permitted.",
    "131026": "WhatsApp cannot deliver to this person: the number is not on WhatsApp, or the app "
    "is too old.",
    "131045": "The business number is not set up completely for WhatsApp.",
    "131047": "More than 24 hours have passed since the person last wrote, and WhatsApp then takes "
    "prepared templates only.",
    "131049": "WhatsApp held it back so that this person does not get too much advertising.",
}

META: Final = {
    code: Reason(text=_PLAINER.get(code, REASONS[code]), advice=advice)
    for code, advice in _ADVICE.items()
} | {
    # All codes from 200 to 299 are about permissions.
    str(code): Reason(text=_PERMISSION, advice=_TOKEN)
    for code in range(200, 300)
}
