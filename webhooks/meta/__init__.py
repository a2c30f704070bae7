"""Meta, the webhook half: statuses of WhatsApp messages, and messages that come in.

Docs: https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview
A POST is signed with the hex HMAC-SHA256 of the raw body, keyed with the app's secret; the GET
that proves the URL to be ours carries no signature but the verify token
(.../webhooks/create-webhook-endpoint), and its challenge is the answer.
Oddities: a POST holds entries of changes of messages or statuses, up to a thousand; `read` may come
without `delivered`; a URL belongs to an app, so that other numbers and fields arrive there too.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final
from uuid import UUID

from channels.model import Account, Channel, Status
from channels.providers.meta.reasons import OPTED_OUT, read_error
from webhooks.meta import messages
from webhooks.meta.people import by_id, for_each, recipient, updated
from webhooks.meta.values import ID_CHARACTERS, Given, address, filled, text
from webhooks.model import (
    UNNAMED,
    ConsentChange,
    InvalidSignature,
    Reason,
    Reply,
    StatusReport,
    Unknown,
    Unreadable,
    WebhookEvent,
    WebhookRequest,
)
from webhooks.values import in_query, items, members, moment, read_object

EVENTS: Final = ("events",)
SECRETS: Final = ("app_secret", "app_secret_secondary")
OBJECT = "whatsapp_business_account"
# Meta sends at most a thousand updates in one request.
MOST_EVENTS = 10_000

# The members that name the recipient of a status; Meta's own pages spell the last in two ways.
RECIPIENTS: Final = (
    "recipient_id", "recipient_user_id", "recipient_parent_user_id", "parent_recipient_user_id",
)  # fmt: skip

STATUSES: Final = {
    "sent": Status.SENT,
    "delivered": Status.DELIVERED,
    "read": Status.READ,
    "played": Status.READ,
    "failed": Status.FAILED,
}


def verify(request: WebhookRequest, account: Account) -> None:
    """Return if the app's secret has signed the request, or a handshake has the verify token; else
    raises `InvalidSignature`."""
    if request.method == "GET":
        _verify_handshake(request, account)
        return
    given = request.headers.get("x-hub-signature-256", "").encode(errors="replace")
    if not given.startswith(b"sha256="):
        raise InvalidSignature("The request has no X-Hub-Signature-256.")
    secrets = [secret for name in SECRETS if (secret := account.credentials.get(name))]
    if not secrets:
        raise InvalidSignature("The account has no app secret to verify with.")
    for secret in secrets:
        right = hmac.digest(secret.encode(), request.body, "sha256").hex().encode()
        if hmac.compare_digest(right, given.removeprefix(b"sha256=")):
            return
    raise InvalidSignature("The signature is not that of this account.")


def _verify_handshake(request: WebhookRequest, account: Account) -> None:
    token = account.credentials.get("verify_token")
    if not token:
        raise InvalidSignature("The account has no verify token.")
    given = in_query(request.url, "hub.verify_token").encode(errors="replace")
    is_right = hmac.compare_digest(token.encode(), given)
    if not is_right or in_query(request.url, "hub.mode") != "subscribe":
        raise InvalidSignature("The verify token is not that of this account.")


def parse(request: WebhookRequest) -> Sequence[WebhookEvent]:
    """Every event of a verified request, in order; raises `Unreadable`.

    An item that cannot be read becomes `Unknown`, and does not stop the others.
    """
    if request.method == "GET":
        return []
    if request.event not in EVENTS:
        return [Unknown(word=request.event)]
    given = read_object(request.body)
    if given.get("object") != OBJECT:
        return [Unknown(word=text(given.get("object"), 64) or "unknown")]
    events = list(islice(_events(given, request.sender_id), MOST_EVENTS + 1))
    if len(events) > MOST_EVENTS:
        raise Unreadable("The body holds more updates than Meta sends.")
    return events or [Unknown(word="empty")]


def _events(given: Given, own: str | None) -> Iterator[WebhookEvent]:
    for entry in items(given.get("entry")):
        for each in items(members(entry).get("changes")):
            change = members(each)
            metadata = members(members(change.get("value")).get("metadata"))
            number = text(metadata.get("phone_number_id"), ID_CHARACTERS)
            # One app has one URL for all its numbers: another number may belong to another account.
            if own and number and number != own:
                known = filled(phone_number_id=number)
                yield Unknown(word="other-number", detail=known, sender_id=number)
            else:
                yield from _change(change)


def _change(change: Given) -> Iterator[WebhookEvent]:
    value = members(change.get("value"))
    field = text(change.get("field", "messages"), 64)
    readers = READERS.get(field, {})
    if not any(name in value for name in readers):
        yield Unknown(word=field or "unknown", detail=filled(value=value))
    value = {**value, "contacts": by_id(value.get("contacts"))}
    for name, reader in readers.items():
        for item in items(value.get(name)):
            try:
                yield from reader(members(item), value)
            except Unreadable as error:
                yield Unknown(word="unreadable", detail=filled(reason=str(error), item=item))


def _status(status: Given, value: Given) -> list[WebhookEvent]:
    external_id = text(status.get("id"), ID_CHARACTERS) or None
    message_id = _message_id(status.get("biz_opaque_callback_data"))
    if external_id is None and message_id is None:
        raise Unreadable("The status names no message.")
    word = text(status.get("status"), 64).strip().lower()
    # The state of a payment that a message asked for comes in the same list.
    # https://support.wati.io/en/articles/11822291-how-to-use-webhook-to-check-payment-status
    kind = text(status.get("type"), 64).strip().lower()
    is_of_message = kind in {"", "message"}
    word = word if is_of_message else f"{kind}-{word}"[:64]
    errors = items(status.get("errors"))
    code, words = read_error(next(iter(errors), None))
    report = StatusReport(
        external_id=external_id,
        message_id=message_id,
        status=STATUSES.get(word) if is_of_message else None,
        word=word or UNNAMED,
        key=f"meta:{external_id or ''}:{word}:{code or ''}",
        occurred_at=moment(status.get("timestamp")),
        error_code=code,
        error_message=words,
        recipient=recipient(status),
        detail=filled(
            phone_number_id=members(value.get("metadata")).get("phone_number_id"),
            **{
                name: status.get(name)
                for name in (
                    "recipient_id", "recipient_user_id", "recipient_type", "conversation",
                    "pricing", "payment", "errors",
                )
            },
        ),
    )  # fmt: skip
    if OPTED_OUT not in (read_error(error)[0] for error in errors):
        return [report]
    stopped = ConsentChange(
        channel=Channel.WHATSAPP,
        reason=Reason.UNSUBSCRIBE,
        message_id=message_id,
        external_id=external_id,
        word=OPTED_OUT,
        key=f"{report.key}:consent",
        occurred_at=report.occurred_at,
        detail=filled(errors=status.get("errors")),
    )
    return [report, *for_each(stopped, *(status.get(name) for name in RECIPIENTS))]


def _message_id(value: object) -> UUID | None:
    """Our id of the message, which the send passed to Meta."""
    try:
        return UUID(text(value, 64)) if value else None
    except ValueError:
        return None


def _error(error: Given, value: Given) -> list[WebhookEvent]:
    """An error of the account, not of a message."""
    code, words = read_error(error)
    known = filled(
        code=code,
        message=words,
        title=error.get("title"),
        phone_number_id=members(value.get("metadata")).get("phone_number_id"),
    )
    return [Unknown(word="error", detail=known)]


def _preference(preference: Given, value: Given) -> list[WebhookEvent]:
    """Somebody stopped marketing messages in WhatsApp itself, or wants them again.

    https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/user_preferences
    """
    word = text(preference.get("value"), 64).strip().lower()
    person = address(preference.get("wa_id")) or address(preference.get("user_id"))
    if word not in {"stop", "resume"} or preference.get("category") != "marketing_messages":
        return [Unknown(word="user_preferences", detail=filled(preference=preference))]
    if not person:
        raise Unreadable("The preference says not whose it is.")
    at = moment(preference.get("timestamp"))
    number = text(members(value.get("metadata")).get("phone_number_id"), ID_CHARACTERS)
    change = ConsentChange(
        channel=Channel.WHATSAPP,
        reason=Reason.UNSUBSCRIBE,
        is_lifted=word == "resume",
        word=word,
        key=f"meta:{number}:{person}:{word}:{int(at.timestamp()) if at else ''}",
        occurred_at=at,
        detail=filled(phone_number_id=number, preference=preference),
    )
    known_as = [preference.get(name) for name in ("wa_id", "user_id", "parent_user_id")]
    return for_each(change, *known_as)


# The readers of the lists in a change, by the field of the change and the name of the list.
READERS: Final[dict[str, dict[str, Callable[[Given, Given], list[WebhookEvent]]]]] = {
    "messages": {"messages": messages.read, "statuses": _status, "errors": _error},
    "user_preferences": {"user_preferences": _preference},
    "user_id_update": {"user_id_update": updated},
}


def reply(
    request: WebhookRequest,
    _events: Sequence[WebhookEvent],
    _account: Account,
) -> Reply:
    """The answer that Meta expects: 200, and to a handshake its challenge."""
    if request.method == "GET":
        challenge = in_query(request.url, "hub.challenge")
        return Reply(status=200, content_type="text/plain", body=challenge)
    return Reply(status=200)
