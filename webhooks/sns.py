"""Amazon SNS: the signed envelope of notifications of AWS services.

Docs: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html.
Signed with RSA (PKCS #1 v1.5; SHA-1 in version 1, SHA-256 in 2) over some fields, with the key of a
certificate on SNS's own host. The signature proves that SNS sent it, not for whom: anybody can
subscribe our URL to a topic of theirs, so only the account's own topic is accepted.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature as WrongSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from webhooks.model import InvalidSignature, NeedsCertificate, Unreadable, WebhookRequest
from webhooks.values import members, read_json

# SNS carries 256 KB, which are longer as JSON; the limit bounds what a stranger's request costs us
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
MOST_BYTES: Final = 2**20
CONFIRMATION: Final = "SubscriptionConfirmation"
NOTIFICATION: Final = "Notification"
_CONFIRMED = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
SIGNED: Final = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: _CONFIRMED,
    "UnsubscribeConfirmation": _CONFIRMED,
}
HEADERS: Final = {
    "x-amz-sns-message-type": "Type",
    "x-amz-sns-message-id": "MessageId",
    "x-amz-sns-topic-arn": "TopicArn",
}
# Not the hosts of S3 buckets that look alike: anybody can have one
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html#VirtualHostingBackwardsCompatibility
HOST = r"https://sns\.(?!s3-)[a-z0-9-]{3,40}\.amazonaws\.com(\.cn)?/"
CERTIFICATE: Final = re.compile(HOST + r"[A-Za-z0-9_.-]{1,200}\.pem")
SUBSCRIBE: Final = re.compile(HOST + r"\?[!-~]{1,4000}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """What SNS wraps around a message; `subscribe_url` is "" unless it is on a host of SNS."""

    type: str
    id: str
    topic_arn: str
    message: str
    timestamp: str
    subscribe_url: str = ""


def verify(request: WebhookRequest, topic_arn: str | None) -> None:
    """Return if SNS has signed the request and it is of this topic.

    Raises `InvalidSignature`, or `NeedsCertificate` if nothing else is wrong.
    """
    if not topic_arn:
        raise InvalidSignature("The account has no topic_arn to compare with.")
    if request.headers.get("x-amz-sns-rawdelivery", "").strip().lower() == "true":
        raise InvalidSignature("Raw message delivery is not signed: switch it off in SNS.")
    given = _given(request)
    for header, name in HEADERS.items():
        if header in request.headers and request.headers[header] != given.get(name):
            raise InvalidSignature(f"The header {header} does not agree with the body.")
    if given.get("TopicArn") != topic_arn:
        raise InvalidSignature("The topic is not that of this account.")
    signed = _signed(given)
    signature, algorithm = _signature(given)
    url = given.get("SigningCertURL")
    if not isinstance(url, str) or CERTIFICATE.fullmatch(url) is None:
        raise InvalidSignature("The certificate does not lie on a host of SNS.")
    if url not in request.certificates:
        raise NeedsCertificate(url)
    try:
        _key(request.certificates[url]).verify(signature, signed, padding.PKCS1v15(), algorithm)
    except WrongSignature as error:
        raise InvalidSignature("The signature is not that of SNS.") from error


def _given(request: WebhookRequest) -> Mapping[str, Any]:
    if len(request.body) > MOST_BYTES:
        raise InvalidSignature("The body is larger than any that SNS sends.")
    try:
        return members(read_json(request.body))
    except Unreadable as error:
        raise InvalidSignature("The body is no message of SNS.") from error


def _signed(given: Mapping[str, Any]) -> bytes:
    """The signed text: names and values in byte order, a line each; Subject only if it is there."""
    kind = given.get("Type")
    if not isinstance(kind, str) or kind not in SIGNED:
        raise InvalidSignature("The body is no message of SNS.")
    lines = []
    for name in SIGNED[kind]:
        value = given.get(name)
        if value is None and name == "Subject":
            continue
        if not isinstance(value, str):
            raise InvalidSignature(f"The body has no {name}.")
        lines.append(f"{name}\n{value}\n")
    return "".join(lines).encode(errors="surrogatepass")


def _signature(given: Mapping[str, Any]) -> tuple[bytes, hashes.HashAlgorithm]:
    version, text = given.get("SignatureVersion"), given.get("Signature")
    if version not in ("1", "2") or not isinstance(text, str):
        raise InvalidSignature("The signature is of no known version.")
    try:
        signature = b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidSignature("The signature cannot be read.") from error
    # The owner of the topic chooses; version 1 is still the default
    # https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
    return signature, hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303


def _key(certificate: bytes) -> rsa.RSAPublicKey:
    try:
        key = x509.load_pem_x509_certificate(certificate).public_key()
    except ValueError as error:
        raise InvalidSignature("The certificate cannot be read.") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise InvalidSignature("The certificate has no RSA key.")
    return key


def read(request: WebhookRequest) -> Envelope:
    """The envelope of a verified request; raises `Unreadable`."""
    given = members(read_json(request.body))
    names = ("Type", "MessageId", "TopicArn", "Message", "Timestamp")
    texts = {name: given.get(name, "") for name in names}
    if not all(isinstance(text, str) for text in texts.values()) or texts["Type"] not in SIGNED:
        raise Unreadable("The body is no message of SNS.")
    url = given.get("SubscribeURL")
    return Envelope(
        type=texts["Type"],
        id=texts["MessageId"],
        topic_arn=texts["TopicArn"],
        message=texts["Message"],
        timestamp=texts["Timestamp"],
        subscribe_url=url if isinstance(url, str) and SUBSCRIBE.fullmatch(url) else "",
    )
