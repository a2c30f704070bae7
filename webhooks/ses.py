"""Amazon SES, the webhook half: what became of our mails, and mails that come in, through SNS.

Docs: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html.
Signed by SNS (`webhooks.sns`).
Oddities: SNS sends JSON as text/plain; an identity's own notifications have `notificationType` and
lack the tags that carry our id, which is then in the Message-ID, if headers are included; the time
that another mail server tells (of a bounce) is in the detail, the event has that of SNS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from channels.model import Account, Channel, Status
from channels.providers.ses import TAG
from webhooks import ses_mail, sns
from webhooks.mail.letter import mailboxes
from webhooks.model import (
    ConsentChange,
    Fetch,
    Reason,
    StatusReport,
    Unknown,
    Unreadable,
    WebhookEvent,
    WebhookRequest,
    ok,
)
from webhooks.times import iso_time
from webhooks.values import detail, items, members, our_id, our_id_in, read_json, word

EVENTS: Final = ("events", "inbound")
MOST_RECIPIENTS = 100

# https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
STATUSES: Final[Mapping[str, Status | None]] = {
    "Send": Status.SENT,
    "Delivery": Status.DELIVERED,
    "DeliveryDelay": None,
    "Open": Status.READ,
    "Click": None,
    "Reject": Status.FAILED,
    "Rendering Failure": Status.FAILED,
    "Subscription": None,
}
# Events whose object is not called like the event.
OBJECTS: Final = {"DeliveryDelay": "deliveryDelay", "Rendering Failure": "failure"}
RECIPIENTS: Final = {
    "Bounce": "bouncedRecipients",
    "Complaint": "complainedRecipients",
    "Delivery": "recipients",
    "DeliveryDelay": "delayedRecipients",
}
# The subtype if SES's own check of the address failed (Auto Validation).
NOT_VALID: Final = "emailvalidationsuppressed"
UNSUBSCRIBED: Final = "unsubscribedrecipient"
# Subtypes of permanent bounces: the address does not work, or its owner wants no mail.
BOUNCES: Final = {
    "general": Reason.HARD_BOUNCE,
    "noemail": Reason.HARD_BOUNCE,
    "suppressed": Reason.HARD_BOUNCE,
    "onaccountsuppressionlist": Reason.HARD_BOUNCE,
    "ontenantsuppressionlist": Reason.HARD_BOUNCE,
    NOT_VALID: Reason.HARD_BOUNCE,
    UNSUBSCRIBED: Reason.UNSUBSCRIBE,
}
# Reports that a mailbox provider makes by itself, which are nobody's complaint.
NO_COMPLAINTS: Final = frozenset({"not-spam", "auth-failure"})
SUPPRESSED: Final = frozenset({"onaccountsuppressionlist", "ontenantsuppressionlist"})
READ: Final = frozenset({*RECIPIENTS.values(), "headers"})


def verify(request: WebhookRequest, account: Account) -> None:
    """Return if SNS has signed the request and it is of the account's topic; mails may have a topic
    of their own. Raises `InvalidSignature`, or `NeedsCertificate`."""
    topic = account.credentials.get("topic_arn")
    if request.event == "inbound":
        topic = account.credentials.get("inbound_topic_arn") or topic
    sns.verify(request, topic)


def parse(request: WebhookRequest) -> Sequence[WebhookEvent]:
    """The events of a verified request; raises `Unreadable`.

    Whether it is a report or a mail is read from its content, whichever URL it came to.
    """
    if request.event not in EVENTS:
        return [Unknown(word=request.event)]
    envelope = sns.read(request)
    if envelope.type == sns.CONFIRMATION and envelope.subscribe_url:
        key = f"sns:{envelope.type}:{sha256(envelope.subscribe_url.encode()).hexdigest()[:32]}"
        return [Fetch(url=envelope.subscribe_url, key=key, is_visit=True)]
    if envelope.type != sns.NOTIFICATION:
        return [Unknown(word=envelope.type, detail={"topic": envelope.topic_arn[:256]})]
    try:
        given = members(read_json(envelope.message.encode(errors="replace")))
    except Unreadable:
        # "Successfully validated SNS topic for Amazon SES event publishing."
        return [Unknown(word=envelope.type, detail={"message": word(envelope.message)})]
    if given.get("notificationType") == "Received":
        return ses_mail.events(given)
    return list(_events(given, envelope))


def _events(given: Mapping[str, Any], envelope: sns.Envelope) -> Iterator[WebhookEvent]:
    """The reports in a notification: one for each recipient that it names."""
    name = word(given.get("eventType") or given.get("notificationType"), 64)
    sent = members(given.get("mail"))
    external_id, message_id = word(sent.get("messageId"), 128) or None, _message_id(sent)
    if not name or not (external_id or message_id):
        kept = detail(given, leave_out=frozenset({"mail", "content"}))
        yield Unknown(word=name or "unreadable", detail=kept)
        return
    told = members(given.get(OBJECTS.get(name, name.lower())))
    for recipient, about in _recipients(name, told, sent):
        report = StatusReport(
            external_id=external_id,
            message_id=message_id,
            status=_status(name, told, about),
            word=name,
            key=_key(name, told, external_id or str(message_id), recipient),
            occurred_at=iso_time(envelope.timestamp),
            detail={"recipient": recipient} | detail({**told, **about}, leave_out=READ),
        )
        if report.status == Status.FAILED:
            code, message = _error(name, told, about)
            report = replace(report, error_code=code, error_message=message)
        yield report
        reason, is_lifted = _consent(name, told)
        if reason:
            yield ConsentChange(
                channel=Channel.EMAIL,
                reason=reason,
                is_lifted=is_lifted,
                address=_written_to(recipient, sent),
                message_id=message_id,
                external_id=external_id,
                word=name,
                key=report.key,
                occurred_at=report.occurred_at,
                detail=report.detail,
            )


def _message_id(sent: Mapping[str, Any]) -> UUID | None:
    """Our id, from the mail's tag, or else from its Message-ID."""
    tags = members(sent.get("tags")).get(TAG)
    if isinstance(tags, list) and tags and (found := our_id(tags[0])):
        return found
    for header in map(members, items(sent.get("headers"))):
        if word(header.get("name"), 64).lower() == "message-id":
            return our_id_in(word(header.get("value"), 998).lstrip("<"))
    return None


def _recipients(
    name: str, told: Mapping[str, Any], sent: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The addresses that an event is about, each with its own details.

    Our mails have one recipient each: if no recipient is named, the report is about that one.
    """
    listed = told.get(RECIPIENTS.get(name, "")) or sent.get("destination")
    found: dict[str, Mapping[str, Any]] = {}
    for each in items(listed, MOST_RECIPIENTS):
        about = members(each)
        if address := word(about.get("emailAddress") or each, 320):
            found.setdefault(address, about)
    yield from found.items() or [("", {})]


def _written_to(recipient: str, sent: Mapping[str, Any]) -> str | None:
    """The address that we sent the mail to: a bounce may name one to which it was forwarded.

    A bounce is read from the notice of a mail server, which may write anything there.
    https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html#bounced-recipients
    """
    texts = [each for each in items(sent.get("destination")) if isinstance(each, str)]
    found = {each.lower(): each for each in mailboxes(texts[:MOST_RECIPIENTS])}
    only = next(iter(found.values())) if len(found) == 1 else None
    return found.get(recipient.lower(), only)


def _key(name: str, told: Mapping[str, Any], mail_id: str, recipient: str) -> str:
    """The same for the same report, whether SNS repeats it or SES sends it in another way, too."""
    parts = (recipient, word(told.get("timestamp")), word(told.get("link"), 4000))
    digest = sha256("\n".join(parts).encode()).hexdigest()[:24]
    return f"ses:{mail_id}:{name}:{digest}"


def _status(name: str, told: Mapping[str, Any], about: Mapping[str, Any]) -> Status | None:
    if name == "Bounce":
        return Status.FAILED if _has_given_up(told, about) else None
    if name == "Complaint":  # after an earlier complaint, SES did not send the mail
        is_old = word(told.get("complaintSubType")).lower() in SUPPRESSED
        return Status.FAILED if is_old else None
    return STATUSES.get(name)


def _has_given_up(told: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether a bounce is final: SES reports a soft one only after it has retried for long enough.

    https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_EventDestination.html. An exception
    are automatic answers, which look like a general bounce without a mail server's report.
    """
    if told.get("bounceType") == "Permanent" or word(about.get("action")).lower() == "failed":
        return True
    subtype = word(told.get("bounceSubType")).lower()
    return told.get("bounceType") == "Transient" and subtype not in {"general", ""}


def _error(
    name: str, told: Mapping[str, Any], about: Mapping[str, Any]
) -> tuple[str | None, str | None]:
    kind = word(told.get("bounceSubType") or told.get("complaintSubType"), 64)
    if kind.lower() in {"suppressed", *SUPPRESSED}:
        return kind, "SES did not send it: the address bounced or complained before."
    if kind.lower() == NOT_VALID:
        return kind, "SES did not send it: it found the address not to be one that takes mails."
    if kind.lower() == UNSUBSCRIBED:
        return kind, "SES did not send it: the recipient has unsubscribed from the list."
    if name == "Bounce":
        said = "The recipient's mail server refused it for good"
        if told.get("bounceType") != "Permanent":
            said = "The recipient's mail server did not take it, and SES tries no more"
        code = word(about.get("status"), 32) or kind or name
        cause = word(about.get("diagnosticCode"), 900)
    elif name == "Reject":
        said, code, cause = "SES rejected the mail", name, word(told.get("reason"), 900)
    else:
        said, code = "SES could not make the mail", name
        cause = word(told.get("errorMessage"), 900)
    return code, f"{said}: {cause}" if cause else f"{said}."


def _consent(name: str, told: Mapping[str, Any]) -> tuple[Reason | None, bool]:
    """Why the address must not be written to any more, if so; and whether that is lifted."""
    if name == "Bounce" and told.get("bounceType") == "Permanent":
        return BOUNCES.get(word(told.get("bounceSubType")).lower()), False
    if name == "Complaint":
        is_one = word(told.get("complaintFeedbackType")).lower() not in NO_COMPLAINTS
        return (Reason.COMPLAINT if is_one else None), False
    if name == "Subscription":
        is_out = _is_out(told.get("newTopicPreferences"))
        was_out = _is_out(told.get("oldTopicPreferences"))
        return (Reason.UNSUBSCRIBE if is_out or was_out else None), was_out and not is_out
    return None, False


def _is_out(preferences: object) -> bool:
    """Whether somebody wants no mail from the list, or none of its topics."""
    given = members(preferences)
    named = [members(each) for each in items(given.get("topicSubscriptionStatus"))]
    out = bool(named) and all(each.get("subscriptionStatus") == "OptOut" for each in named)
    return given.get("unsubscribeAll") is True or out


# SNS only looks at the status.
reply = ok
