"""Real payloads, as other projects give them, with their outcomes.

Read from ../shared/corpus where it is; skipped elsewhere. A mail that came in is told of without
its text, so that only what is fetched for it can be compared.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine

from channels.errors import AnswerLost, Refused, SendError
from channels.http import Answer
from channels.providers.resend import read
from tests.resend.values import RECEIVED, account
from webhooks import resend
from webhooks.model import Fetch, InvalidSignature, StatusReport, WebhookRequest

FOLDER = Path(__file__).parents[3] / "shared" / "corpus"
CASES = [
    case
    for name in ("resend.json", "standard_webhooks.json")
    if (FOLDER / name).exists()
    for case in json.loads((FOLDER / name).read_text())
]

pytestmark = pytest.mark.skipif(not CASES, reason="the corpus is not here")


def cases(*kinds: str) -> pytest.MarkDecorator:
    """A test's cases: of these kinds."""
    chosen = [case for case in CASES if case["kind"] in kinds]
    return pytest.mark.parametrize("case", chosen, ids=[case["id"] for case in chosen])


def webhook(case: dict[str, Any]) -> WebhookRequest:
    """The request of a case."""
    given = case["request"]
    return WebhookRequest(
        method="POST",
        url=given["url"],
        event="events",
        headers={name.lower(): value for name, value in given["headers"].items()},
        body=given["body"].encode(),
    )


@cases("signature", "status")
def test_signatures(case: dict[str, Any]) -> None:
    """What other projects verify is verified, and what they refuse is refused."""
    held = account(webhook_secret=case["auth"]["signing_secret"])
    with time_machine.travel(datetime.fromtimestamp(case["auth"]["now"], UTC), tick=False):
        if case["expected"].get("valid", True):
            resend.verify(webhook(case), held)
        else:
            with pytest.raises(InvalidSignature):
                resend.verify(webhook(case), held)


@cases("status")
def test_statuses(case: dict[str, Any]) -> None:
    """A report means what others read in it."""
    expected = case["expected"]
    report, *changes = resend.parse(webhook(case))
    assert isinstance(report, StatusReport)
    assert expected["external_id"] == report.external_id
    assert report.status in [expected["status"], *expected.get("status_alternatives", [])]
    assert datetime.fromisoformat(expected["timestamp"]) == report.occurred_at
    assert f"email.{expected['event']}" == report.word
    assert (expected["event"] == "complained") == bool(changes)
    assert expected["to"] in report.detail["to"]


@cases("inbound")
def test_inbound_mails(case: dict[str, Any]) -> None:
    """The mail is fetched from where others fetch it."""
    [fetch] = resend.parse(webhook(case))
    assert isinstance(fetch, Fetch)
    data = json.loads(case["request"]["body"])["data"]
    assert f"{RECEIVED}{data['email_id']}" == fetch.url.partition("?")[0]


@cases("send_response", "error")
def test_answers(case: dict[str, Any]) -> None:
    """An answer to a send is read as others read it."""
    given, expected = case["response"], case["expected"]
    answer = Answer(status=given["status"], text=given["body"], headers=given["headers"])
    if case["kind"] == "send_response":
        assert expected["external_id"] == read(answer).external_id
        return
    with pytest.raises(SendError) as raised:
        read(answer)
    assert isinstance(raised.value, AnswerLost if expected["retryable"] is None else Refused)
    if "error_code" in expected:
        assert (expected["error_code"], expected["error_message"]) == (
            raised.value.code,
            raised.value.message,
        )
