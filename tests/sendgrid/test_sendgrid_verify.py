"""Which requests are SendGrid's: by signature, or for mail by a secret."""

import base64

import pytest

from channels.model import Account
from tests.sendgrid.values import KEY, OTHER_KEY, URL, account, public, request, signature
from webhooks import sendgrid
from webhooks.model import InvalidSignature, WebhookRequest

BODY = b'[{"event":"processed"},\r\n{"event":"delivered"}]\r\n'
SIGNATURE, TIMESTAMP = sendgrid.SIGNATURE, sendgrid.TIMESTAMP


@pytest.mark.parametrize(
    "held",
    [
        account(),
        account(webhook_public_key=f"{public(OTHER_KEY)},{public(KEY)}"),
        account(webhook_public_key=public(OTHER_KEY), webhook_public_key_secondary=public(KEY)),
        account(webhook_public_key="", webhook_public_key_secondary=public(KEY)),
    ],
)
def test_the_signature_of_any_of_its_keys(held: Account) -> None:
    """Each key counts, so that keys can be changed and subusers have their own."""
    sendgrid.verify(request(BODY), held)


@pytest.mark.parametrize("timestamp", ["1", "9999999999", "x"])
def test_the_timestamp_has_no_limit(timestamp: str) -> None:
    """A retry after a day is still believed: whatever was signed."""
    sendgrid.verify(request(BODY, headers=signature(BODY, timestamp)), account())


@pytest.mark.parametrize(
    "given",
    [
        request(BODY, headers={}),
        request(BODY, headers=signature(BODY, key=OTHER_KEY)),
        request(BODY, headers=signature(BODY.replace(b"\r\n", b"\n"))),
        request(BODY.strip(), headers=signature(BODY)),
        request(BODY, headers=signature(BODY) | {TIMESTAMP: "1600112503"}),
        request(BODY, headers=signature(BODY) | {TIMESTAMP: "\udc80"}),
        request(BODY, headers={SIGNATURE: signature(BODY)[SIGNATURE]}),
        request(BODY, headers=signature(BODY) | {SIGNATURE: "%"}),
        request(BODY, headers=signature(BODY) | {SIGNATURE: "\u00e9"}),
        request(BODY, headers=signature(BODY) | {SIGNATURE: base64.b64encode(b"x").decode()}),
    ],
)
def test_other_requests(given: WebhookRequest) -> None:
    """Another key, one byte changed, no signature, or one that is none."""
    with pytest.raises(InvalidSignature):
        sendgrid.verify(given, account())


@pytest.mark.parametrize(
    "held",
    [
        account(webhook_public_key=""),
        account(webhook_public_key=","),
        account(webhook_public_key="!"),
        account(webhook_public_key="", inbound_secret="hush"),
    ],
)
def test_an_account_without_a_key(held: Account) -> None:
    """Events are refused where there is no key to check them with; a secret is not enough."""
    with pytest.raises(InvalidSignature):
        sendgrid.verify(request(BODY, url=URL + "?secret=hush"), held)


def mail(*, signed: bool, secret: str | None = None) -> WebhookRequest:
    """A mail that comes in."""
    url = URL + (f"?secret={secret}" if secret else "")
    headers = signature(BODY) if signed else {}
    return request(BODY, event="inbound", url=url, headers=headers)


@pytest.mark.parametrize(
    ("given", "held"),
    [
        (mail(signed=True), account()),
        (mail(signed=True), account(inbound_secret="hush")),
        (mail(signed=False, secret="hush"), account(inbound_secret="hush")),
        (mail(signed=True, secret="hush"), account(webhook_public_key="", inbound_secret="hush")),
    ],
)
def test_mail_that_is_let_in(given: WebhookRequest, held: Account) -> None:
    """Signed by a security policy, or with the secret in its URL."""
    sendgrid.verify(given, held)


def test_mail_with_a_password() -> None:
    """`https://any:hush@...` sends the secret as the password of Basic authentication."""
    basic = {"authorization": "Basic " + base64.b64encode(b"any:hush").decode()}
    given = request(BODY, event="inbound", headers=basic)
    sendgrid.verify(given, account(inbound_secret="hush"))


@pytest.mark.parametrize(
    ("given", "held"),
    [
        (mail(signed=False), account()),
        (mail(signed=False, secret="hush"), account()),
        (mail(signed=False, secret="other"), account(inbound_secret="hush")),
        (mail(signed=False), account(webhook_public_key="")),
        (mail(signed=True, secret="hush"), account(webhook_public_key=public(OTHER_KEY))),
        (mail(signed=True), account(webhook_public_key="", inbound_secret="hush")),
    ],
)
def test_mail_that_is_kept_out(given: WebhookRequest, held: Account) -> None:
    """Neither signed nor with the secret; or an account that has neither."""
    with pytest.raises(InvalidSignature):
        sendgrid.verify(given, held)
