"""Which requests are Resend's: signed by Svix, of late."""

import hmac
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine

from tests.resend.values import KEY, NOW, account, signed
from webhooks import resend
from webhooks.model import InvalidSignature, WebhookRequest

BODY = b'{"type": "email.sent", "umlaut": "\xc3\xa4"}\r\n'
GOOD = signed(BODY)
OTHER = signed(BODY, key=b"another")


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def headed(request: WebhookRequest = GOOD, **headers: str | None) -> WebhookRequest:
    """The request with these headers; None takes one away."""
    named = {f"svix-{name}": value for name, value in headers.items()}
    given = {**request.headers, **named}
    return replace(request, headers={k: v for k, v in given.items() if v is not None})


def marks(*requests: WebhookRequest) -> str:
    """The signatures of these requests, in one header."""
    return " ".join(request.headers["svix-signature"] for request in requests)


@pytest.mark.parametrize(
    "given",
    [
        GOOD,
        signed(BODY, prefix="webhook"),
        signed(BODY, at=NOW - timedelta(minutes=5)),
        signed(BODY, at=NOW + timedelta(minutes=5)),
        headed(signature=marks(OTHER, GOOD)),
        headed(signature=f"v1a,{marks(OTHER)}  v2,x {marks(GOOD)} nothing"),
        signed(b""),
    ],
)
def test_requests_that_are_signed(given: WebhookRequest) -> None:
    """Under both names of the headers, with one of several signatures, within five minutes."""
    resend.verify(given, account())


def test_a_secret_without_its_prefix() -> None:
    """The base64 alone is the same secret."""
    resend.verify(GOOD, account(webhook_secret=b64encode(KEY).decode()))


@pytest.mark.parametrize(
    "given",
    [
        OTHER,
        replace(GOOD, body=BODY[:-1]),
        replace(GOOD, headers={}),
        headed(id=None),
        headed(id=""),
        headed(id="msg_2"),
        headed(id="m\u00e4"),
        headed(timestamp=None),
        headed(timestamp="soon"),
        headed(timestamp="-1"),
        headed(timestamp="\u0661" * 10),
        headed(timestamp=str(int(NOW.timestamp()) + 1)),
        headed(signature=None),
        headed(signature=" "),
        headed(signature="v1,"),
        headed(signature="v1,\u00e9\ud800"),
        headed(signature=marks(GOOD).replace("v1,", "v2,")),
        headed(signature=marks(GOOD).replace("v1,", "")),
        signed(BODY, event_id="msg.1"),
        signed(BODY, at=NOW - timedelta(minutes=5, seconds=1)),
        signed(BODY, at=NOW + timedelta(minutes=5, seconds=1)),
    ],
)
def test_other_requests(given: WebhookRequest) -> None:
    """Another key, a part that was changed, none, too old or too new: refused."""
    with pytest.raises(InvalidSignature):
        resend.verify(given, account())


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_?", "whsec_abcde"])
def test_an_account_without_a_secret(secret: str) -> None:
    """Nothing is believed where there is no key to check it with."""
    with pytest.raises(InvalidSignature):
        resend.verify(signed(BODY, key=b""), account(webhook_secret=secret))


def test_no_oracle() -> None:
    """The right signature stands in no error."""
    with pytest.raises(InvalidSignature) as raised:
        resend.verify(headed(signature="v1,x"), account())
    stamp = str(int(NOW.timestamp())).encode()
    right = b64encode(hmac.digest(KEY, b"msg_1." + stamp + b"." + BODY, "sha256")).decode()
    assert marks(GOOD) == f"v1,{right}"
    assert right not in str(raised.value)
