"""What is kept of a webhook's URL."""

from __future__ import annotations

from uuid import UUID

import pytest

from channels.model import Account
from gateway.receive.raw_requests import raw_request
from tests.costs import cpu_seconds
from webhooks.model import WebhookRequest

ID = UUID("0192f0c1-2345-7000-8000-000000000001")
ACCOUNT = Account(id=ID, organization_id=ID, provider="meta", credentials={})
HOOK = "msg.example.org/gw/webhooks/meta/1/events"


def kept(url: str) -> str:
    """The URL of a request as it rests."""
    request = WebhookRequest(method="GET", url=url, event="events", headers={}, body=b"")
    return raw_request(ACCOUNT, request).url


@pytest.mark.parametrize(
    ("came", "rests"),
    [
        (f"https://{HOOK}?secret=sesame", f"https://{HOOK}?secret=***"),
        (f"https://{HOOK}?a=1&Secret=sesame&b=2#c", f"https://{HOOK}?a=1&Secret=***&b=2#c"),
        (f"https://{HOOK}?s%65cret=sesame", f"https://{HOOK}?s%65cret=***"),
        (
            f"https://{HOOK}?hub.mode=subscribe&hub.verify_token=sesame&hub.challenge=1",
            f"https://{HOOK}?hub.mode=subscribe&hub.verify_token=***&hub.challenge=1",
        ),
        (f"https://{HOOK}?hub%2Everify_token=sesame", f"https://{HOOK}?hub%2Everify_token=***"),
        (f"https://user:sesame@{HOOK}", f"https://{HOOK}"),
        (f"https://user:ses@me@{HOOK}?secret=sesame", f"https://{HOOK}?secret=***"),
    ],
)
def test_what_is_secret_does_not_rest(came: str, rests: str) -> None:
    """Secrets, the token of Meta's handshake, and user and password of PUBLIC_URL are left out."""
    assert rests == kept(came)


@pytest.mark.parametrize(
    "url",
    [
        f"https://{HOOK}",
        f"https://{HOOK}?m={ID}&secrets=1&secret",
        f"https://{HOOK}?to=https://a@b.example/",
        "https://msg.example.org/a@b/webhooks?x=%zz&=&&",
    ],
)
def test_all_else_does(url: str) -> None:
    """What is not secret stays as it came."""
    assert url == kept(url)


def test_a_url_of_question_marks() -> None:
    """Each of them may begin a parameter, which is not read to the end of the URL every time."""
    url = f"https://{HOOK}{'?' * 16_000}"
    assert cpu_seconds(lambda: kept(url)) < 0.1
    assert f"{url}secret=***" == kept(f"{url}secret=sesame")


def test_the_envelope_of_a_mail() -> None:
    """What a mail server tells of the envelope is kept: the mail would read otherwise without."""
    told = {"x-envelope-from": "", "x-envelope-to": "desk@clinic.example"}
    headers = {**told, "authorization": "Basic c2VjcmV0"}
    request = WebhookRequest(method="POST", url=HOOK, event="inbound", headers=headers, body=b"")
    assert told == raw_request(ACCOUNT, request).headers
