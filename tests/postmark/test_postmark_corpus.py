"""Real payloads, as other projects give them, with their outcomes.

Read from ../shared/corpus where it is; skipped elsewhere.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from channels.errors import AnswerLost, Refused, SendError
from channels.http import Answer
from channels.providers.postmark import read
from webhooks import postmark
from webhooks.model import StatusReport, WebhookRequest

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "postmark.json"
CASES = json.loads(CORPUS.read_text()) if CORPUS.exists() else []

pytestmark = pytest.mark.skipif(not CASES, reason="the corpus is not here")


def cases(*kinds: str) -> pytest.MarkDecorator:
    """A test's cases: of these kinds."""
    chosen = [case for case in CASES if case["kind"] in kinds]
    return pytest.mark.parametrize("case", chosen, ids=[case["id"] for case in chosen])


@cases("status")
def test_statuses(case: dict[str, Any]) -> None:
    """A report means what others read in it; a click is by our contract no read."""
    given, expected = case["request"], case["expected"]
    request = WebhookRequest(
        method="POST",
        url=given["url"],
        event="events",
        headers={},
        body=given["body"].encode(),
    )
    report, *changes = postmark.parse(request)
    assert isinstance(report, StatusReport)
    assert expected["external_id"] == report.external_id
    allowed = [expected["status"], *expected.get("status_alternatives", [])]
    assert report.status in allowed
    assert (expected["event"] in {"complained", "unsubscribed"}) <= bool(changes)
    if expected.get("timestamp"):
        assert datetime.fromisoformat(expected["timestamp"]) == report.occurred_at
    if "error_code" in expected:
        assert expected["error_code"] == report.error_code
    if expected.get("to"):
        assert expected["to"] in {report.detail.get("Email"), report.detail.get("Recipient")}
    if expected.get("description"):
        assert expected["description"] in (report.error_message or "")
    if expected.get("mta_response"):
        assert expected["mta_response"] in (report.error_message or "")


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
