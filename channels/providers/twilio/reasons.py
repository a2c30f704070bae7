"""What Twilio's codes mean: which may pass later, which are opt-outs, and plain words for staff.

https://www.twilio.com/docs/api/errors; for a call's end also the words of CallStatus.
"""

from __future__ import annotations

from typing import Final

# The recipient replied STOP, blocked the sender on WhatsApp, or stopped its marketing messages.
# https://www.twilio.com/docs/api/errors/63014, /63033 and /63050
OPT_OUTS: Final = frozenset({"21610", "63014", "63033", "63050"})

# Queues full, congestion, rate and daily limits, maintenance, a channel away, a template on its
# way: the same message may pass later.
RETRYABLE = frozenset(
    {
        "10004", "14107", "20429", "20500", "20503", "21611", "21730", "30001", "30017", "30022",
        "30023", "30027", "30410", "30500", "60005", "63009", "63010", "63012", "63017", "63018",
        "63053",
    }
)  # fmt: skip

REASONS: Final = {
    "20003": "Twilio does not accept the account's credentials.",
    "20404": "Twilio does not know this account or resource.",
    "20429": "Twilio asks to send more slowly.",
    "21210": "The caller's number is not verified with Twilio.",
    "21211": "The recipient's number is not valid.",
    "21212": "The sender's number is not valid.",
    "21213": "The call has no caller's number.",
    "21214": "The recipient's number cannot be called.",
    "21215": "The Twilio account may not call this country.",
    "21216": "Twilio does not let this account call this number.",
    "21219": "A trial account can only call numbers that were verified with Twilio.",
    "21408": "The Twilio account may not send to this country.",
    "21602": "The message has no text.",
    "21604": "The message has no recipient.",
    "21606": "The sender's number cannot send messages to this recipient.",
    "21608": "A trial account can only write to numbers that were verified with Twilio.",
    "21610": "The recipient has replied STOP and gets no more messages from this sender.",
    "21611": "Too many messages of this sender wait at Twilio.",
    "21612": "Twilio has no route from this sender to this recipient.",
    "21614": "The recipient's number is not a mobile number.",
    "21617": "The text is longer than 1600 characters.",
    "21635": "The recipient's number is a landline.",
    "21711": "The sender does not belong to the account's messaging service.",
    "21730": "Twilio is under maintenance.",
    "30001": "Too many messages of this account wait at Twilio.",
    "30002": "The Twilio account is suspended.",
    "30003": "The phone could not be reached: switched off, or out of range.",
    "30004": "The recipient or the carrier blocks this message.",
    "30005": "The number does not exist or is no longer in use.",
    "30006": "The number is a landline, or its carrier cannot be reached.",
    "30007": "The carrier filtered the message out as unwanted.",
    "30008": "The carrier did not deliver the message and gave no reason.",
    "30017": "The carrier's network is congested.",
    "30018": "The destination carrier requires a registration of the sender.",
    "30019": "The message with its files is larger than the carrier allows.",
    "30022": "The sender's messages per second at US carriers are used up.",
    "30023": "The sender's messages for today at US carriers are used up.",
    "30024": "The sender's number is not ready to send yet.",
    "30032": "The toll-free number is not verified.",
    "30033": "The sender's US A2P 10DLC campaign is suspended.",
    "30034": "The sender is not registered for US A2P 10DLC.",
    "30035": "The sender's number is still being set up for US A2P 10DLC.",
    "30036": "It waited at Twilio for longer than it was valid, and was not sent.",
    "30037": "Twilio has turned off outbound messages of this account.",
    "30038": "Twilio filtered the message out because it holds a one-time code.",
    "30039": "Twilio stopped it because the same messages went to and fro.",
    "30040": "The destination carrier requires a registration of the sender.",
    "30041": "The sender is not registered for a country that requires it.",
    "30042": "The alphanumeric sender is too general, or is not this account's.",
    "30044": "A trial account cannot send a text of this length.",
    "30410": "The next provider did not answer Twilio in time.",
    "30450": "Twilio blocked the message.",
    "30453": "Twilio held the message back because it looks like fraud.",
    "30454": "The Twilio account's limit of messages is reached.",
    "30500": "Twilio had an internal error.",
    "63001": "WhatsApp does not accept the sender's channel credentials.",
    "63003": "The recipient cannot be reached on WhatsApp.",
    "63005": "The channel did not accept the content.",
    "63007": "The sender is not registered for WhatsApp with Twilio.",
    "63012": "WhatsApp had an internal error.",
    "63013": "The message breaks a policy of the channel's.",
    "63014": "The recipient has blocked the sender, or takes no more messages from it.",
    "63015": "The recipient has not joined the WhatsApp sandbox.",
    "63016": "More than 24 hours since the recipient last wrote: only a template can be sent.",
    "63017": "WhatsApp asks to send more slowly.",
    "63018": "The WhatsApp sender's rate limit is reached.",
    "63019": "WhatsApp could not fetch the attachment.",
    "63021": "The channel did not accept the content.",
    "63024": "The recipient's number is not valid for WhatsApp.",
    "63026": "WhatsApp holds back this sender's messages because people reported them as spam.",
    "63027": "WhatsApp has no template of this name in this language.",
    "63028": "The values do not fit the WhatsApp template's parameters.",
    "63032": "WhatsApp does not deliver this message to this user.",
    "63033": "The recipient has stopped marketing messages of this sender.",
    "63034": "The attachment is larger than the channel takes.",
    "63036": "The recipient's number cannot be reached over RCS.",
    "63038": "The Twilio account's messages for today are used up.",
    "63040": "WhatsApp has rejected the template.",
    "63041": "WhatsApp has paused the template for its low quality.",
    "63042": "WhatsApp has disabled the template for its low quality.",
    "63049": "Meta limits marketing messages to this recipient; wait at least a day.",
    "63050": "The recipient has stopped marketing messages of this sender.",
    "63051": "The WhatsApp sender is locked.",
    "63053": "The template is not yet known everywhere; that takes some minutes.",
    "63054": "The template cannot be used at WhatsApp.",
    "63058": "The business may not write to WhatsApp users in this country.",
    "63112": "Meta has disabled the WhatsApp business account.",
    "busy": "The line was busy.",
    "no-answer": "Nobody answered the call.",
    "failed": "The call could not be connected.",
}


def explain(code: str | None) -> str | None:
    """What one of Twilio's error codes means, in plain words; None for one we have no words for."""
    return REASONS.get(code or "")
