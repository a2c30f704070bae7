"""Why mails come back: the codes of mail servers, and the words that providers use instead.

https://www.iana.org/assignments/smtp-enhanced-status-codes and RFC 5321 §4.2. The words are those
of SendGrid, Mailgun, SES and Resend, in reports as `webhooks` stores them, and in refused requests.
"""

from __future__ import annotations

import re
from typing import Final

from channels.server_words import NO_SUCH_SENDER, NO_USER, TOO_MUCH_MAIL, is_about_recipient
from gateway.why.model import Reason
from gateway.why.own_reasons import ADMIN

_AGAIN = "Then send it again."
_OTHER_WAY = "Reach the person another way, and ask for an address that works."

GONE: Final = Reason(
    text="The address does not exist, or is no longer in use.",
    advice=f"Look for a typing mistake in the address and correct it in the person's record. "
    f"{_OTHER_WAY}",
)
_NOT_TAKEN = Reason(
    text="The recipient's mail server takes no mail from us for this address.",
    advice=f"Look for a typing mistake in the address. If it is right, their server may be "
    f"blocking us: tell an administrator. {_OTHER_WAY}",
)
_NO_DOMAIN = Reason(
    text="What stands behind the @ does not exist or takes no mail.",
    advice=f"Look for a typing mistake behind the @. {_OTHER_WAY}",
)
_DISABLED = Reason(text="The recipient's mailbox is closed.", advice=_OTHER_WAY)
_FULL = Reason(
    text="The recipient's mailbox is full.",
    advice="Try again in some days, or tell the person another way.",
)
_TOO_LARGE = Reason(
    text="The mail is too large for the recipient's mail server.",
    advice="Use fewer or smaller files, then send it again.",
)
REFUSED: Final = Reason(
    text="The recipient's mail server refused the mail.",
    advice="Try once more, perhaps with another text and without files. If it comes back again, "
    "reach the person another way.",
)
BLOCKED: Final = Reason(
    text="The recipient's mail server blocked this mail; the address itself may be good.",
    advice="Try again later, with a plainer text and fewer links. If many mails are blocked, tell "
    "an administrator: the sender's reputation may be bad.",
)
_POLICY = Reason(
    text="The recipient's mail server refuses the mail by its rules.",
    advice="Write it differently: plainer, with fewer links, without files. If many mails come "
    "back so, tell an administrator.",
)
UNTRUSTED: Final = Reason(
    text="The recipient's mail server does not believe that the mail is from us.",
    advice=f"{ADMIN}: the sender domain's SPF, DKIM or DMARC records are missing or wrong. "
    f"{_AGAIN}",
)
_NO_ANSWER = Reason(
    text="The recipient's mail server did not answer for so long that delivery was given up.",
    advice=f"Look for a typing mistake behind the @, and try again tomorrow. {_OTHER_WAY}",
)
_NO_ANSWER_OR_GONE = Reason(
    text="The recipient's mail server did not answer, or knows no such address.",
    advice=f"Look for a typing mistake in the address. If it is right, try again tomorrow. "
    f"{_OTHER_WAY}",
)
_LATER = Reason(
    text="The recipient's mail server asked to wait for so long that delivery was given up.",
    advice="Send it again later. If it comes back once more, reach the person another way.",
)
_AWAY = Reason(
    text="The provider was not available for a while.",
    advice="Send it again later. If it happens again, tell an administrator.",
)
_SENDER = Reason(
    text="The address that the mail was to be sent from is not accepted.",
    advice=f"{ADMIN}: the sender's address or domain has to be verified at the provider. {_AGAIN}",
)
_OUR_ADDRESS = Reason(
    text="The recipient's mail server does not accept the address that the mail was sent from.",
    advice=f"{ADMIN}: that address has to exist, and its domain to take mails. {_AGAIN}",
)
_TOO_MUCH = Reason(
    text="The recipient's mailbox got more mail than it takes at a time.",
    advice="Send it again later, or reach the person another way.",
)
_ACCESS = Reason(
    text="The gateway's access to the mail provider was not accepted.",
    advice=f"{ADMIN}: renew the account's credentials and what they permit. {_AGAIN}",
)
_REJECTED = Reason(
    text="The mail provider rejected the mail.",
    advice=f"{ADMIN}: usually an address is not verified at the provider, or the account may only "
    f"write to its own addresses yet. {_AGAIN}",
)
_SUSPENDED = Reason(
    text="The mail provider does not let this account send for now.",
    advice=f"{ADMIN}: settle it with the provider. {_AGAIN}",
)
_QUOTA = Reason(
    text="The account's mails at the provider are used up for now.",
    advice="Send it again later. If that happens often, an administrator should change the plan.",
)
_INVALID = Reason(
    text="The mail provider did not accept the mail as it is.",
    advice="Look at the addresses, the subject and the files, correct them, and send it again.",
)
_BOUNCED_BEFORE = Reason(
    text="The provider did not send it, because an earlier mail to this address came back.",
    advice=f"{_OTHER_WAY} If the address is good after all, an administrator can take it from the "
    "provider's list.",
)
SPAM: Final = Reason(
    text="The provider did not send it, because the recipient reported an earlier mail as spam.",
    advice="Respect it: write no more e-mails to this address. Reach the person another way.",
)
STOPPED: Final = Reason(
    text="The provider did not send it, because the recipient wants no mails or was taken off.",
    advice="Respect it. If the person wants mails again, an administrator can take the address "
    "from the provider's list.",
)
_SPAM_CONTENT = Reason(
    text="The mail looks like spam to the provider, so it was not sent.",
    advice="Write it differently: plainer, with fewer links and capitals. Then send it again.",
)
VIRUS: Final = Reason(
    text="The mail was refused because a file in it looks dangerous.",
    advice="Check the file for viruses, or send it in another form, for example as PDF.",
)
NOT_CONFIRMED: Final = Reason(
    text="The recipient has not confirmed yet that they want mails.",
    advice="Ask the person to confirm, then send it again.",
)
_MAKING = Reason(
    text="The provider could not put the mail together.",
    advice=f"{ADMIN}: the technical details say what is wrong. {_AGAIN}",
)
_OURS = Reason(
    text="The mail server did not accept the way in which the gateway spoke to it.",
    advice=f"{ADMIN}: look at the account's settings. {_AGAIN}",
)

_ENHANCED: Final = {
    "1.1": GONE,
    "1.2": _NO_DOMAIN,
    "1.3": GONE,
    "1.6": GONE,
    "1.7": _SENDER,
    "1.8": _SENDER,
    "1.10": _NO_DOMAIN,
    "2.1": _DISABLED,
    "2.2": _FULL,
    "2.3": _TOO_LARGE,
    "3.1": _FULL,
    "3.4": _TOO_LARGE,
    "4.1": _NO_ANSWER_OR_GONE,
    "4.2": _NO_ANSWER,
    "4.4": _NO_DOMAIN,
    "4.7": _LATER,
    "4.310": _NO_DOMAIN,
    "7.1": _POLICY,
    "7.3": _ACCESS,
    "7.8": _ACCESS,
    "7.57": _ACCESS,
    "7.60": _SENDER,
    "7.139": _ACCESS,
    **dict.fromkeys(("7.20", "7.21", "7.22", "7.23", "7.24", "7.25", "7.26"), UNTRUSTED),
}
# By the middle number, if the whole code is not known.
_SUBJECTS: Final = {
    "0": REFUSED, "1": GONE, "2": _DISABLED, "3": REFUSED, "4": _NO_ANSWER, "5": _OURS,
    "6": _INVALID, "7": _POLICY,
}  # fmt: skip
_REPLIES: Final = {
    "421": _LATER, "450": _LATER, "451": _LATER, "452": _FULL, "454": _LATER, "530": _ACCESS,
    "534": _ACCESS, "535": _ACCESS, "538": _ACCESS, "550": _NOT_TAKEN, "551": _NOT_TAKEN,
    "552": _FULL, "553": _NOT_TAKEN, "554": _POLICY, "556": _NO_DOMAIN,
    # Mailgun's own
    "605": _BOUNCED_BEFORE, "606": STOPPED, "607": SPAM,
}  # fmt: skip

# In lower case.
_WORDS: Final = {
    # SendGrid
    "bounce": _NOT_TAKEN,
    "blocked": BLOCKED,
    "dropped": _INVALID,
    "bounced address": _BOUNCED_BEFORE,
    "spam reporting address": SPAM,
    "unsubscribed address": STOPPED,
    "invalid": GONE,
    "spam content": _SPAM_CONTENT,
    # Mailgun
    "suppress-bounce": _BOUNCED_BEFORE,
    "suppress-complaint": SPAM,
    "suppress-unsubscribe": STOPPED,
    "old": _LATER,
    "generic": REFUSED,
    "failed": REFUSED,
    "rejected": _REJECTED,
    # SES, and Resend, which is built on it
    "general": REFUSED,
    "noemail": GONE,
    "suppressed": _BOUNCED_BEFORE,
    "onaccountsuppressionlist": _BOUNCED_BEFORE,
    "ontenantsuppressionlist": _BOUNCED_BEFORE,
    "emailvalidationsuppressed": GONE,
    "unsubscribedrecipient": STOPPED,
    "mailboxfull": _FULL,
    "messagetoolarge": _TOO_LARGE,
    "contentrejected": _POLICY,
    "attachmentrejected": VIRUS,
    "permanent": REFUSED,
    "reject": VIRUS,
    "rendering failure": _MAKING,
    "accessdenied": _ACCESS,
    "invalidsignature": _ACCESS,
    "unrecognizedclient": _ACCESS,
    "accountsuspended": _SUSPENDED,
    "sendingpaused": _SUSPENDED,
    "mailfromdomainnotverified": _SENDER,
    "messagerejected": _REJECTED,
    "notfound": _ACCESS,
    "badrequest": _INVALID,
    "serviceunavailable": _AWAY,
    **dict.fromkeys(
        ("limitexceeded", "requestlimitexceeded", "requestthrottled", "throttling",
         "toomanyrequests"),
        _QUOTA,
    ),
    # Resend
    "email.bounced": _NOT_TAKEN,
    "email.failed": _INVALID,
    "email.suppressed": _BOUNCED_BEFORE,
    "validation_error": _INVALID,
    "missing_required_field": _INVALID,
    "invalid_attachment": VIRUS,
    "invalid_from_address": _SENDER,
    "not_found": _INVALID,
    **dict.fromkeys(("missing_api_key", "invalid_api_key", "restricted_api_key"), _ACCESS),
    **dict.fromkeys(
        ("rate_limit_exceeded", "daily_quota_exceeded", "monthly_quota_exceeded"), _QUOTA
    ),
    "concurrent_idempotent_requests": _LATER,
    "invalid_idempotent_request": _INVALID,
}  # fmt: skip

_CODE = re.compile(r"[245]\.(\d{1,3})\.(\d{1,3})")
_REPLY = re.compile(r"[45]\d\d")


def asks_to_wait(code: str) -> bool:
    """Whether a mail server only says that it may take the mail later."""
    return re.fullmatch(r"4\.\d{1,3}\.\d{1,3}|4\d\d", code) is not None and find(code) is not _FULL


def of_words(code: str, said: str) -> Reason | None:
    """The reason in a mail server's own words, if its code says little or something else."""
    if NO_SUCH_SENDER.search(said):
        return _OUR_ADDRESS
    if TOO_MUCH_MAIL.search(said):
        return _TOO_MUCH
    says_little = find(code) in (REFUSED, _NOT_TAKEN)
    return GONE if says_little and NO_USER.search(said) and is_about_recipient(said) else None


def find(code: str) -> Reason | None:
    """What an error code of an e-mail means; None if it is not known."""
    if match := _CODE.fullmatch(code):
        # 4.x.x has the same cause as 5.x.x: if it is reported as a failure, somebody has given up.
        return _ENHANCED.get(f"{match[1]}.{match[2]}") or _SUBJECTS.get(match[1])
    if _REPLY.fullmatch(code) or code in _REPLIES:
        return _REPLIES.get(code) or (_LATER if code.startswith("4") else REFUSED)
    return _WORDS.get(code.lower())
