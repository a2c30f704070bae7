"""Accounts, mails, certificates and requests that the tests of this folder are made of."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from channels.model import Account
from tests.mails import ID
from webhooks.model import WebhookRequest

EXTERNAL_ID = "0100018f-0a1b2c3d-1234-5678-9abc-def012345678-000000"
SINCE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TOPIC = "arn:aws:sns:eu-west-1:123456789012:mails"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b.pem"
SUBSCRIBE_URL = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=abc"
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
    ),
}  # fmt: skip


def account(api_url: str | None = None, **credentials: str) -> Account:
    """An SES account with the usual credentials and these; an empty one is left out."""
    held = {
        "access_key_id": "AKIDEXAMPLE",
        "secret_access_key": "secret",
        "region": "eu-west-1",
        "topic_arn": TOPIC,
        **credentials,
    }
    return Account(
        id=ID,
        organization_id=ID,
        provider="ses",
        credentials={name: value for name, value in held.items() if value},
        api_url=api_url,
    )


@cache
def key() -> rsa.RSAPrivateKey:
    """The key that stands in for that of SNS."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def certificate(kind: str = "rsa") -> bytes:
    """A certificate of that key, or with another `kind` of an EC key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    signer = key() if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(signer.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
        .sign(signer, hashes.SHA256())
    )
    return built.public_bytes(Encoding.PEM)


def envelope(message: object = "", **fields: Any) -> dict[str, Any]:
    """A message of SNS, not signed yet; a field that is None is left out."""
    told = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": "2026-01-02T03:04:05.678Z",
        "SignatureVersion": "1",
        "SigningCertURL": CERTIFICATE_URL,
        **fields,
    }
    return {name: value for name, value in told.items() if value is not None}


def sign(told: Mapping[str, Any]) -> dict[str, Any]:
    """The message with the signature of its version, made as Amazon's documentation says."""
    names = SIGNED.get(told["Type"], SIGNED["SubscriptionConfirmation"])
    text = "".join(f"{name}\n{told[name]}\n" for name in names if name in told)
    algorithm = hashes.SHA1() if told["SignatureVersion"] == "1" else hashes.SHA256()  # noqa: S303
    signature = key().sign(text.encode(), padding.PKCS1v15(), algorithm)
    return {**told, "Signature": base64.b64encode(signature).decode()}


def request(
    told: Mapping[str, Any] | bytes,
    *,
    event: str = "events",
    headers: Mapping[str, str] | None = None,
    certificates: Mapping[str, bytes] | None = None,
) -> WebhookRequest:
    """A request of SNS with its headers, and by default with its certificate already fetched."""
    named: dict[str, str] = {"content-type": "text/plain; charset=UTF-8"}
    if not isinstance(told, bytes):
        for header, name in (("type", "Type"), ("id", "MessageId")):
            named[f"x-amz-sns-message-{header}"] = str(told.get(name))
        named["x-amz-sns-topic-arn"] = str(told.get("TopicArn"))
    return WebhookRequest(
        method="POST",
        url=f"https://msg.example.org/webhooks/ses/{ID}/{event}",
        event=event,
        headers=named | dict(headers or {}),
        body=told if isinstance(told, bytes) else json.dumps(told).encode(),
        certificates=(
            {CERTIFICATE_URL: certificate()} if certificates is None else dict(certificates)
        ),
    )
