"""Which messages of SNS are taken for the account's."""

import base64
from collections.abc import Mapping
from typing import Any

import pytest

from tests.ses.values import (
    CERTIFICATE_URL,
    SUBSCRIBE_URL,
    TOPIC,
    account,
    certificate,
    envelope,
    request,
    sign,
)
from webhooks import ses
from webhooks.model import InvalidSignature, NeedsCertificate, WebhookRequest

CONFIRMATION = {
    "Type": "SubscriptionConfirmation",
    "Token": "abc",
    "SubscribeURL": SUBSCRIBE_URL,
}
GOOD = sign(envelope("Hello"))


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Subject": "Amazon SES Email Event Notification"},
        CONFIRMATION,
        CONFIRMATION | {"Subject": "which is not signed here"},
        CONFIRMATION | {"Type": "UnsubscribeConfirmation"},
    ],
)
def test_what_sns_signed(version: str, fields: Mapping[str, Any]) -> None:
    """Each kind of message, in both versions of the signature."""
    told = sign(envelope("Grüße\n{}", SignatureVersion=version, **fields))
    ses.verify(request(told), account())


def test_without_headers() -> None:
    """The headers only repeat what is signed."""
    bare = request(GOOD)
    ses.verify(
        WebhookRequest(
            method="POST",
            url=bare.url,
            event=bare.event,
            headers={"x-amz-sns-rawdelivery": "false"},
            body=bare.body,
            certificates=bare.certificates,
        ),
        account(),
    )


def test_a_subject_of_null() -> None:
    """A subject that is null is none."""
    ses.verify(request(GOOD | {"Subject": None}), account())


@pytest.mark.parametrize(
    "bad",
    [
        request(GOOD | {"Message": "Hallo"}),
        request(GOOD | {"Subject": "more"}),
        request(GOOD | {"Subject": 5}),
        request(GOOD | {"Message": None}),
        request(GOOD | {"Timestamp": 5}),
        request(GOOD | {"Signature": "AAAA"}),
        request(GOOD | {"Signature": "***"}),
        request(GOOD | {"Signature": "é"}),
        request(GOOD | {"Signature": None}),
        request(GOOD | {"SignatureVersion": "2"}),
        request(GOOD | {"SignatureVersion": "3"}),
        request(GOOD | {"SignatureVersion": ["1"]}),
        request(GOOD | {"Message": "\ud800"}),
        request(sign(envelope("", Type="Another"))),
        request(GOOD | {"Type": ["Notification"]}),
        request(sign(envelope("", TopicArn=TOPIC + "x"))),
        request({name: value for name, value in GOOD.items() if name != "TopicArn"}),
        request(GOOD, headers={"x-amz-sns-message-type": "SubscriptionConfirmation"}),
        request(GOOD, headers={"x-amz-sns-message-id": "another"}),
        request(GOOD, headers={"x-amz-sns-topic-arn": "another"}),
        request(GOOD, headers={"x-amz-sns-rawdelivery": "true"}),
        request(b""),
        request(b"[]"),
        request(sign(envelope("x" * 2**20))),
        request(b'{"eventType": "Bounce"}'),
        request(b"\xff\xfe"),
        request(GOOD, certificates={CERTIFICATE_URL: b""}),
        request(GOOD, certificates={CERTIFICATE_URL: b"-----BEGIN CERTIFICATE-----\nAAAA"}),
        request(GOOD, certificates={CERTIFICATE_URL: certificate("ec")}),
    ],
)
def test_what_it_did_not(bad: WebhookRequest) -> None:
    """Another text, form, topic, signature or certificate is refused."""
    with pytest.raises(InvalidSignature):
        ses.verify(bad, account())


def test_no_topic() -> None:
    """An account without a topic takes nothing."""
    with pytest.raises(InvalidSignature):
        ses.verify(request(GOOD), account(topic_arn=""))


def test_a_topic_for_mails() -> None:
    """Mails come by a topic of their own, where the account has one, and reports never do."""
    held = account(inbound_topic_arn=TOPIC + "-in")
    told = sign(envelope("Hello", TopicArn=TOPIC + "-in"))
    ses.verify(request(told, event="inbound"), held)
    ses.verify(request(GOOD, event="inbound"), account())
    for bad in (request(GOOD, event="inbound"), request(told)):
        with pytest.raises(InvalidSignature):
            ses.verify(bad, held)


def test_the_certificate_is_asked_for() -> None:
    """It is named where it lacks, and only once everything else is right."""
    with pytest.raises(NeedsCertificate) as raised:
        ses.verify(request(GOOD, certificates={}), account())
    assert CERTIFICATE_URL == raised.value.url
    with pytest.raises(InvalidSignature):
        ses.verify(request(GOOD, certificates={}), account(topic_arn="another"))


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.eu-west-1.amazonaws.com.cn/a.pem",
        "https://sns.us-gov-west-1.amazonaws.com/SimpleNotificationService-0a.pem",
    ],
)
def test_hosts_of_sns(url: str) -> None:
    """The hosts of every region, and of China."""
    with pytest.raises(NeedsCertificate):
        ses.verify(request(GOOD | {"SigningCertURL": url}), account())


@pytest.mark.parametrize(
    "url",
    [
        None,
        5,
        "",
        "http://sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com/a.crt",
        "https://sns.eu-west-1.amazonaws.com:443/a.pem",
        "https://sns.eu-west-1.amazonaws.com/a/b.pem",
        "https://sns.eu-west-1.amazonaws.com/a.pem?x=.pem",
        "https://sns.eu-west-1.amazonaws.com/%2e%2e.pem",
        "https://sns.eu-west-1.amazonaws.com/a.pem\n",
        "https://sns.eu-west-1.amazonaws.com@evil.example/a.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/a.pem",
        "https://sns.evil.example/.amazonaws.com/a.pem",
        "https://sns.a.b.amazonaws.com/a.pem",
        "https://evil-sns.eu-west-1.amazonaws.com/a.pem",
        "https://bucket.s3.amazonaws.com/a.pem",
        "https://sns.s3-us-west-2.amazonaws.com/a.pem",  # anybody's bucket that is called sns
        "https://sns.amazonaws.com/a.pem",
    ],
)
def test_other_hosts(url: object) -> None:
    """Nobody but SNS names the certificate, whatever is at hand."""
    at_hand = {str(url): certificate()}
    told = sign(envelope("", SigningCertURL=url))
    with pytest.raises(InvalidSignature):
        ses.verify(request(told, certificates=at_hand), account())


def test_every_byte_of_the_signature_counts() -> None:
    """A signature with one bit changed is none."""
    signature = bytearray(base64.b64decode(GOOD["Signature"]))
    signature[-1] ^= 1
    told = GOOD | {"Signature": base64.b64encode(signature).decode()}
    with pytest.raises(InvalidSignature) as raised:
        ses.verify(request(told), account())
    assert GOOD["Signature"] not in str(raised.value)
