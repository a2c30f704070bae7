"""Twilio's error codes, in plain words and with what to do: for messages, WhatsApp and calls.

https://www.twilio.com/docs/api/errors; for failed calls also the network's SIP codes
(https://www.iana.org/assignments/sip-parameters) and the values of CallStatus.
"""

from __future__ import annotations

from typing import Final

from channels.providers.twilio.reasons import REASONS
from gateway.why.model import Reason
from gateway.why.own_reasons import ADMIN

_AGAIN = "Then send it again."
_CHECK = "Check the number with the person, correct it in their record, and send it again."
_OTHER_WAY = "Reach the person another way: by e-mail, or with a call."
_LATER = "Send it again later. If others fail too, tell an administrator."
_CREDENTIALS = f"{ADMIN}: renew the Twilio account's credentials. {_AGAIN}"
_SENDER = f"{ADMIN}: use another sender, or set this one up at Twilio. {_AGAIN}"
_STOPPED = (
    "Respect it: write no more on this channel. If the person wants messages again, they have to "
    "write START to this number themselves."
)
_STOPPED_ADVERTISING = (
    "Respect it: write no more on this channel until the person writes START or asks for it."
)
_WINDOW = "Choose a template, or wait until the person writes again."
_TEMPLATE = f"{ADMIN}: compare the template here with the one at WhatsApp. {_AGAIN}"
_SLOWER = (
    "Send it again later. If that happens often, an administrator should set a pace for the sender."
)
_REGISTER = f"{ADMIN}: the sender has to be registered with the carriers through Twilio. {_AGAIN}"
_TRIAL = f"{ADMIN}: verify the number in the Twilio console, or upgrade the account. {_AGAIN}"

_ADVICE: Final = {
    "10004": _SLOWER,
    "14107": _SLOWER,
    "20003": _CREDENTIALS,
    "20404": f"{ADMIN}: the account's settings name something that Twilio does not have. {_AGAIN}",
    "20429": _SLOWER,
    "20500": _LATER,
    "20503": _LATER,
    "21210": _SENDER,
    "21211": _CHECK,
    "21212": _SENDER,
    "21213": _SENDER,
    "21214": _CHECK,
    "21215": f"{ADMIN}: allow calls to this country in the Twilio console (Geo Permissions). "
    f"{_AGAIN}",
    "21216": f"{ADMIN}: Twilio support can say why. {_OTHER_WAY}",
    "21217": _CHECK,
    "21219": _TRIAL,
    "21408": f"{ADMIN}: allow this country in the Twilio console (Messaging Geo Permissions). "
    f"{_AGAIN}",
    "21602": "Write a text, and send it again.",
    "21604": "Choose a recipient, and send it again.",
    "21606": _SENDER,
    "21608": _TRIAL,
    "21610": _STOPPED,
    "21611": _SLOWER,
    "21612": f"{_OTHER_WAY} {ADMIN}, too: this sender cannot reach that country or network.",
    "21614": _OTHER_WAY,
    "21617": "Shorten the text, or send it in parts.",
    "21620": "Attach the file anew, as an upload, and send the message again.",
    "21623": "Send fewer files at once.",
    "21635": _OTHER_WAY,
    "21654": _TEMPLATE,
    "21655": _TEMPLATE,
    "21656": _TEMPLATE,
    "21701": _SENDER,
    "21703": _SENDER,
    "21711": f"{ADMIN}: add the sender to the messaging service at Twilio, or take the service out "
    f"of the account here. {_AGAIN}",
    "21730": _LATER,
    "30001": _SLOWER,
    "30002": f"{ADMIN}: settle it with Twilio. Nothing leaves through this account until then.",
    "30003": "Try again in a few hours, when the phone may be on again. If it fails once more, "
    "check the number, or reach the person another way.",
    "30004": f"The person may have blocked the number. {_OTHER_WAY}",
    "30005": f"{_CHECK} Otherwise reach the person another way.",
    "30006": _OTHER_WAY,
    "30007": "Write it differently: without shortened links, without many capitals, and saying "
    "who writes. If that happens often, tell an administrator: the sender may need a registration.",
    "30008": f"Try once more in some minutes. If it fails again: {_OTHER_WAY[0].lower()}"
    f"{_OTHER_WAY[1:]}",
    "30009": _LATER,
    "30010": f"{ADMIN}. {_OTHER_WAY}",
    "30011": "Send the text without the file.",
    "30017": _LATER,
    "30018": _REGISTER,
    "30019": "Send a smaller file, or the text without it.",
    "30022": _SLOWER,
    "30023": "Send it again tomorrow, or from another sender.",
    "30024": _SENDER,
    "30027": "Send it again tomorrow.",
    "30032": _REGISTER,
    "30033": _REGISTER,
    "30034": _REGISTER,
    "30035": "Send it again tomorrow, or from another sender.",
    "30036": "Send it again if it still matters.",
    "30037": f"{ADMIN}: settle it with Twilio. Nothing leaves through this account until then.",
    "30038": f"{ADMIN}: Twilio support can say why. {_OTHER_WAY}",
    "30039": "Look at the conversation: a program of theirs may answer each message of ours.",
    "30040": _REGISTER,
    "30041": _REGISTER,
    "30042": _SENDER,
    "30044": "Shorten the text, or ask an administrator to upgrade the Twilio account.",
    "30410": _LATER,
    "30450": f"{ADMIN}: Twilio support can say why. {_OTHER_WAY}",
    "30453": f"{ADMIN}: Twilio support can say why. {_OTHER_WAY}",
    "30454": "Send it again tomorrow.",
    "30500": _LATER,
    "60005": _LATER,
    "63001": f"{ADMIN}: the WhatsApp sender has to be set up anew at Twilio. {_AGAIN}",
    "63003": f"Check the number. {_OTHER_WAY}",
    "63005": _TEMPLATE,
    "63007": f"{ADMIN}: register the WhatsApp sender in the Twilio console. {_AGAIN}",
    "63008": _SENDER,
    "63009": _LATER,
    "63010": _LATER,
    "63012": _LATER,
    "63013": "Write it differently, or use another channel.",
    "63014": _OTHER_WAY,
    "63015": "The person has to send the sandbox's join word to the number first. This is for "
    "tests only; an administrator can set up a real WhatsApp sender.",
    "63016": _WINDOW,
    "63017": _SLOWER,
    "63018": _SLOWER,
    "63019": "Attach the file anew, as an upload, and send the message again.",
    "63020": _SENDER,
    "63021": _TEMPLATE,
    "63024": f"Check that the number is on WhatsApp. {_OTHER_WAY}",
    "63026": f"{ADMIN}: the sender's quality at WhatsApp is low. {_OTHER_WAY}",
    "63027": _TEMPLATE,
    "63028": _TEMPLATE,
    "63030": _TEMPLATE,
    "63032": f"WhatsApp decides this, for example to limit advertising. {_OTHER_WAY}",
    "63033": _STOPPED_ADVERTISING,
    "63034": "Send a smaller file.",
    "63036": _OTHER_WAY,
    "63038": "Send it again tomorrow.",
    "63040": _TEMPLATE,
    "63041": _TEMPLATE,
    "63042": _TEMPLATE,
    "63049": "Do not send it again within a day. If it is no advertising, use a utility template "
    "or another channel.",
    "63050": _STOPPED_ADVERTISING,
    "63051": _SENDER,
    "63053": "Send it again in a quarter of an hour.",
    "63054": _TEMPLATE,
    "63058": _OTHER_WAY,
    "63112": f"{ADMIN}: Meta's Business Support can say why. {_OTHER_WAY}",
}

# Plainer texts for codes whose own description support staff would not understand.
_PLAINER: Final = {
    "20003": "Twilio does not accept the gateway's access to the account.",
    "21213": "The call has no number to call from.",
    "30022": "Too many messages went to US phones in a short time.",
    "30023": "The sender's messages to US phones for today are used up.",
    "30410": "A network on the way did not answer Twilio in time.",
    "63028": "The values do not fit the WhatsApp template.",
    "20404": "The account at Twilio is not set up correctly.",
    "30018": "The recipient's network only takes messages from registered senders.",
    "30024": "The sender's number was set up too recently to send already.",
    "30032": "The sender's toll-free number is not verified yet, so networks refuse it.",
    "30034": "The sender's number is not registered for messages to US phones.",
    "63001": "WhatsApp no longer accepts the sender's registration.",
    "63005": "WhatsApp did not accept the content.",
    "63013": "WhatsApp says that the message breaks one of its policies.",
    "63016": "More than 24 hours have passed since the person last wrote, and WhatsApp then takes "
    "prepared templates only.",
    "63021": "WhatsApp did not accept the content.",
    "63032": "WhatsApp chose not to deliver this message to this person.",
}

_CALL_AGAIN = "Call again at another time, or write to the person."
_ASK = (
    "Write to the person, and ask when they may be called. If many calls end so, tell an "
    "administrator: networks may take the number for a nuisance."
)
_SIP_GONE = "The number does not exist or is no longer in use."
_SIP_AWAY = "The phone could not be reached: switched off, or out of range."
_SIP_REJECTED = "The call was rejected by the person, the phone or the network."
_SIP_NETWORK = "The telephone network could not put the call through."

# How calls end; Twilio's own numbers are in TWILIO.
CALLS: Final = {
    "busy": Reason(text="The line was busy.", advice="Call again in some minutes."),
    "no-answer": Reason(text="Nobody answered the call.", advice=_CALL_AGAIN),
    "failed": Reason(
        text="The call could not be connected.",
        advice="Check the number, and call again. If it fails once more, write to the person.",
    ),
    "canceled": Reason(
        text="The call was ended before it was answered.", advice="Call again if it still matters."
    ),
    **{
        code: Reason(text=text, advice=advice)
        for codes, text, advice in (
            (("404", "410", "484", "604"), _SIP_GONE, _CHECK),
            (("408", "480"), _SIP_AWAY, _CALL_AGAIN),
            (("487",), "The call was ended before it was answered.", _CALL_AGAIN),
            (("486", "600"), "The line was busy.", "Call again in some minutes."),
            (("403", "603", "606", "607", "608"), _SIP_REJECTED, _ASK),
            (("488", "500", "502", "503", "504"), _SIP_NETWORK, "Call again later."),
        )
        for code in codes
    },
}

TWILIO: Final = {
    code: Reason(text=_PLAINER.get(code, REASONS[code]), advice=advice)
    for code, advice in _ADVICE.items()
}
