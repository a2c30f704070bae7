"""Which requests are Mailgun's: a signature in the body, of late."""

import hmac
import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine

from tests.costs import cpu_seconds
from tests.mailgun.values import KEY, NOW, TOKEN, account, form, hook, multipart, request, signature
from webhooks import mailgun
from webhooks.model import InvalidSignature, WebhookRequest


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def pairs(*signatures: dict[str, str]) -> list[tuple[str, str]]:
    """Signatures as the fields of a form."""
    return [pair for each in signatures for pair in each.items()]


GOOD = signature()
WRONG = signature(key="another")


@pytest.mark.parametrize(
    "given",
    [
        hook({}),
        hook({}, **(GOOD | {"timestamp": int(GOOD["timestamp"])})),
        hook({}, **(WRONG | {"parent-signature": GOOD["signature"]})),
        form(pairs(GOOD)),
        form(pairs(WRONG, GOOD)),
        form(pairs(GOOD), event="inbound"),
        multipart(*((f'"{name}"', value.encode()) for name, value in GOOD.items())),
        hook({}, **signature(NOW - timedelta(hours=11, minutes=59))),
        hook({}, **signature(NOW + timedelta(minutes=14))),
    ],
)
def test_requests_that_are_signed(given: WebhookRequest) -> None:
    """In JSON, in forms of both kinds, by a parent account; also the last retry after 8 hours."""
    mailgun.verify(given, account())


@pytest.mark.parametrize(
    "given",
    [
        hook({}, **WRONG),
        hook({}, **(GOOD | {"token": TOKEN[::-1]})),
        hook({}, **(GOOD | {"timestamp": str(int(GOOD["timestamp"]) + 1)})),
        hook({}, **(GOOD | {"signature": ""})),
        hook({}, **(GOOD | {"signature": GOOD["signature"].upper()})),
        hook({}, **(GOOD | {"signature": "\u00e9\ud800"})),
        hook({}, **(GOOD | {"token": ["x"]})),
        hook({}, signature=GOOD["signature"]),
        hook({}, **signature(token="")),
        hook({}, **signature(NOW - timedelta(hours=12, seconds=1))),
        hook({}, **signature(NOW + timedelta(minutes=15, seconds=1))),
        form(pairs(GOOD, WRONG)),
        form([]),
        request(b"{"),
        request(b"[]"),
        request(json.dumps({"signature": 3}).encode()),
        request(b"x", kind="text/plain"),
        request(b"x", kind="multipart/form-data"),
    ],
)
def test_other_requests(given: WebhookRequest) -> None:
    """Another key, a part that was changed, none, too old or too new: refused."""
    with pytest.raises(InvalidSignature):
        mailgun.verify(given, account())


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"x=" + b"%41" * 3_000_000, FORM),
        (b"token=" + b"%41" * 3_000_000, FORM),
        (b"[" + b"1," * 4_000_000 + b"1]", "application/json"),
    ],
)
def test_a_strangers_request_costs_little(body: bytes, kind: str) -> None:
    """Who does not sign is refused before anything of theirs is taken apart that takes long."""

    def verify() -> None:
        with pytest.raises(InvalidSignature):
            mailgun.verify(request(body, event="inbound", kind=kind), account())

    verify()
    assert cpu_seconds(verify, runs=1) < 0.3


def test_a_large_mail_is_signed_too() -> None:
    """What stands beside the signature may be large and need decoding."""
    mailgun.verify(form([("body-html", "ü" * 500_000), *pairs(GOOD)], event="inbound"), account())


def test_a_time_that_is_none() -> None:
    """A signed timestamp that is no time has no age."""
    mark = hmac.digest(KEY.encode(), f"soon{TOKEN}".encode(), "sha256").hex()
    signed = {"timestamp": "soon", "token": TOKEN, "signature": mark}
    with pytest.raises(InvalidSignature):
        mailgun.verify(hook({}, **signed), account())


def test_an_account_without_a_key() -> None:
    """Nothing is believed where there is no key to check it with."""
    empty = signature(key="")
    with pytest.raises(InvalidSignature):
        mailgun.verify(hook({}, **empty), account(webhook_signing_key=""))
