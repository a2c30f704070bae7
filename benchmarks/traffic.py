"""Requests that are made before they are sent: to the API, and signed reports of providers."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.load import MARK

TEMPLATE = "appointment"
SOURCE = (
    "Hello {{ name }}, your appointment with {{ doctor }} is on {{ day }} at {{ time }}. "
    "Please answer YES to confirm, or call us. Your number is {{ ticket }}."
)


@dataclass(frozen=True, slots=True)
class Known:
    """A sent message: our id, the provider's, and the recipient."""

    id: UUID
    external_id: str
    contact: int


def number(contact: int) -> str:
    """The phone number of one of the contacts."""
    return f"+1{202 + contact // 10_000}555{contact % 10_000:04d}"


def wanted(contact: int) -> dict[str, object]:
    """One message in a request, with a text that no other has."""
    return {
        "channel": "sms",
        "to": number(contact),
        "template": TEMPLATE,
        "variables": {
            "name": f"Person {contact}",
            "doctor": "Dr. Grace Hopper",
            "day": "Tuesday, 3 March",
            "time": "10:30",
            "ticket": MARK.decode(),
        },
    }


def single(port: int, key: str, contact: int, *, is_keyed: bool = False) -> bytes:
    """POST /v1/messages with one message, perhaps with an Idempotency-Key of its own."""
    headers = {"Authorization": f"Bearer {key}"}
    if is_keyed:
        headers["Idempotency-Key"] = MARK.decode()
    return _post(port, "/v1/messages", wanted(contact), headers)


def batch(port: int, key: str, contacts: Sequence[int]) -> bytes:
    """POST /v1/messages/batch with a message to each contact."""
    body = {"messages": [wanted(contact) for contact in contacts]}
    return _post(port, "/v1/messages/batch", body, {"Authorization": f"Bearer {key}"})


def twilio_report(url: str, token: str, sid: str, word: str, to: str, sender: str) -> bytes:
    """A status of one message, signed as Twilio signs."""
    form = {
        "AccountSid": "AC" + "0" * 32,
        "ApiVersion": "2010-04-01",
        "From": sender,
        "MessageSid": sid,
        "MessageStatus": word,
        "SmsSid": sid,
        "SmsStatus": word,
        "To": to,
    }
    return _of_twilio(url, token, form)


def twilio_message(url: str, token: str, sid: str, contact: int) -> bytes:
    """An SMS that a contact writes, signed as Twilio signs."""
    form = {
        "AccountSid": "AC" + "0" * 32,
        "ApiVersion": "2010-04-01",
        "Body": f"Hello, this is {contact}: can I come tomorrow at ten instead of Tuesday?",
        "From": number(contact),
        "FromCountry": "US",
        "MessageSid": sid,
        "NumMedia": "0",
        "NumSegments": "1",
        "SmsMessageSid": sid,
        "SmsSid": sid,
        "SmsStatus": "received",
        "To": "+15551230001",
        "ToCountry": "US",
    }
    return _of_twilio(url, token, form)


def _of_twilio(url: str, token: str, form: dict[str, str]) -> bytes:
    signed = url + "".join(name + form[name] for name in sorted(form))
    signature = b64encode(hmac.digest(token.encode(), signed.encode(), "sha1")).decode()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        "User-Agent": "TwilioProxy/1.1",
        "X-Twilio-Signature": signature,
    }
    return _request(url, urlencode(form).encode(), headers)


def twilio_reports(url: str, token: str, sent: Sequence[Known]) -> Iterator[bytes]:
    """`sent` and then `delivered` for every message; `url` is the account's URL for statuses."""
    for word in ("sent", "delivered"):
        for known in sent:
            one = f"{url}?message_id={known.id}"
            to = number(known.contact)
            yield twilio_report(one, token, known.external_id, word, to, "+15551230001")


def sendgrid_events(
    url: str, key: ec.EllipticCurvePrivateKey, sent: Sequence[Known], size: int, now: int
) -> Iterator[bytes]:
    """`processed` and then `delivered` for every mail, `size` per request, signed."""
    for word in ("processed", "delivered"):
        for start in range(0, len(sent), size):
            events = [
                {
                    "email": f"person{known.contact}@example.com",
                    "timestamp": now,
                    "smtp-id": f"<{known.external_id}@example.com>",
                    "event": word,
                    "sg_event_id": f"{word}{start + n}",
                    "sg_message_id": f"{known.external_id}.recvd-1",
                    "message_id": str(known.id),
                    "response": "250 2.0.0 OK",
                }
                for n, known in enumerate(sent[start : start + size])
            ]
            body = orjson.dumps(events)
            signature = key.sign(str(now).encode() + body, ec.ECDSA(hashes.SHA256()))
            headers = {
                "Content-Type": "application/json",
                "User-Agent": "SendGrid Event API",
                "X-Twilio-Email-Event-Webhook-Signature": b64encode(signature).decode(),
                "X-Twilio-Email-Event-Webhook-Timestamp": str(now),
            }
            yield _request(url, body, headers)


def meta_statuses(
    url: str, secret: str, phone_number_id: str, sent: Sequence[Known], size: int, now: int
) -> Iterator[bytes]:
    """`sent` and then `delivered` for every WhatsApp message, `size` per request, signed."""
    metadata = {"display_phone_number": "15551230001", "phone_number_id": phone_number_id}
    for word in ("sent", "delivered"):
        for start in range(0, len(sent), size):
            statuses = [
                {
                    "id": known.external_id,
                    "status": word,
                    "timestamp": str(now),
                    "recipient_id": number(known.contact)[1:],
                    "biz_opaque_callback_data": str(known.id),
                    "conversation": {"id": known.external_id[-16:], "origin": {"type": "service"}},
                    "pricing": {"billable": False, "pricing_model": "PMP", "category": "service"},
                }
                for known in sent[start : start + size]
            ]
            value = {"messaging_product": "whatsapp", "metadata": metadata, "statuses": statuses}
            changes = [{"value": value, "field": "messages"}]
            body = orjson.dumps(
                {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": changes}]}
            )
            digest = hmac.digest(secret.encode(), body, "sha256").hex()
            headers = {
                "Content-Type": "application/json",
                "User-Agent": "facebookexternalua",
                "X-Hub-Signature-256": f"sha256={digest}",
            }
            yield _request(url, body, headers)


def _post(port: int, path: str, body: object, headers: dict[str, str]) -> bytes:
    headers = {**headers, "Content-Type": "application/json"}
    return _request(f"http://127.0.0.1:{port}{path}", orjson.dumps(body), headers)


def _request(url: str, body: bytes, headers: dict[str, str]) -> bytes:
    parts = urlsplit(url)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [f"POST {path} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body
