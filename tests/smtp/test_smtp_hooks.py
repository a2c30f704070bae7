"""Mails that the operator's mail server hands in, and the corpus of real bounces."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from channels.model import Status
from tests.smtp.values import account
from webhooks import smtp
from webhooks.model import (
    ConsentChange,
    Inbound,
    InvalidSignature,
    Reply,
    StatusReport,
    Unknown,
    Unreadable,
    WebhookRequest,
)

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "smtp.json"
CASES = json.loads(CORPUS.read_text()) if CORPUS.exists() else []
ACCOUNT = account(25, username="u", password="its own", webhook_secret="a-secret")


def request(body: bytes, *, event: str = "inbound", **headers: str) -> WebhookRequest:
    """A mail as it is handed in."""
    basic = base64.b64encode(b"mail:a-secret").decode()
    return WebhookRequest(
        method="POST",
        url=f"https://gateway.example.org/webhooks/smtp/{ACCOUNT.id}/{event}",
        event=event,
        headers={"authorization": f"Basic {basic}"} | headers,
        body=body,
    )


def test_only_the_secret_opens() -> None:
    """A request without the account's secret, or for an account without one, is refused: the
    password of the mail server opens nothing."""
    smtp.verify(request(b"x"), ACCOUNT)
    with pytest.raises(InvalidSignature):
        smtp.verify(request(b"x", authorization="Basic bWFpbDpvdGhlcg=="), ACCOUNT)
    password = base64.b64encode(b"u:its own").decode()
    with pytest.raises(InvalidSignature):
        smtp.verify(request(b"x", authorization=f"Basic {password}"), ACCOUNT)
    with pytest.raises(InvalidSignature):
        smtp.verify(request(b"x"), account(25, username="mail", password="a-secret"))


def test_a_mail() -> None:
    """The envelope's recipient is to whom it came; an empty sender is a robot's."""
    raw = b"From: Bob <bob@example.org>\r\nTo: list@example.net\r\nSubject: Hi\r\n\r\nHello\r\n"
    envelope = {"x-envelope-from": "", "x-envelope-to": "shop@example.com"}
    [found] = smtp.parse(request(raw, **envelope))
    assert isinstance(found, Inbound)
    assert (found.from_address, found.to_address) == ("bob@example.org", "shop@example.com")
    assert (found.body, found.detail["auto_submitted"]) == ("Hello", True)
    assert smtp.reply(request(raw), [found], ACCOUNT) == Reply(status=204)


def test_what_is_no_mail() -> None:
    """An empty body cannot be read; another event is not known."""
    with pytest.raises(Unreadable):
        smtp.parse(request(b" \r\n"))
    assert smtp.parse(request(b"x", event="other")) == [Unknown(word="other")]


@pytest.mark.skipif(not CASES, reason="the corpus is not here")
@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_corpus(case: dict[str, Any]) -> None:
    """Real bounces and complaints: those that name their mail are reports, the others are kept."""
    expected = case["expected"]
    events = smtp.parse(request(base64.b64decode(case["request"]["body_b64"])))
    original = (expected["external_id"] or "").strip("<>")
    if not original:
        assert {type(each) for each in events} == {Unknown}
    reports = [each for each in events if isinstance(each, StatusReport | Unknown)]
    for report in reports:
        if isinstance(report, StatusReport):
            status = Status(expected["status"]) if expected["status"] else None
            assert (report.external_id, report.status) == (original, status)
    told = [
        {
            "recipient": each.detail.get("recipient"),
            "action": each.detail.get("action"),
            "enhanced_status": each.detail.get("status"),
            "diagnostic": each.detail.get("diagnostic"),
        }
        for each in reports
        if "action" in each.detail
    ]
    assert told == expected["recipients"]
    has_complaint = any(isinstance(each, ConsentChange) for each in events)
    assert expected["event"] != "complained" or has_complaint
