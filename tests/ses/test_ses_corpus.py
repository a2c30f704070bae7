"""Real payloads, as other projects give them, with their outcomes.

Read from ../shared/corpus where it is; skipped elsewhere.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from webhooks import ses
from webhooks.model import Inbound, StatusReport, Unknown, WebhookRequest

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "amazon_ses.json"
CASES = json.loads(CORPUS.read_text()) if CORPUS.exists() else []

pytestmark = pytest.mark.skipif(not CASES, reason="the corpus is not here")


def cases(kind: str) -> pytest.MarkDecorator:
    """A test's cases: of this kind."""
    chosen = [case for case in CASES if case["kind"] == kind]
    return pytest.mark.parametrize("case", chosen, ids=[case["id"] for case in chosen])


def webhook(case: dict[str, Any], event: str) -> WebhookRequest:
    """The request of a case."""
    given = case["request"]
    return WebhookRequest(
        method="POST",
        url=given["url"],
        event=event,
        headers={name.lower(): value for name, value in given["headers"].items()},
        body=given["body"].encode(),
    )


@cases("status")
def test_statuses(case: dict[str, Any]) -> None:
    """A notification means what others read in it."""
    first, *_ = ses.parse(webhook(case, "events"))
    expected = case["expected"]
    if "external_id" not in expected:
        assert isinstance(first, Unknown)
        return
    assert isinstance(first, StatusReport)
    assert expected["external_id"] == first.external_id
    assert expected["status"] == first.status
    assert expected["to"] == first.detail["recipient"]
    assert datetime.fromisoformat(expected["timestamp"]) == first.occurred_at
    assert expected.get("mta_response", "") in (first.error_message or "")


@cases("inbound")
def test_mails(case: dict[str, Any]) -> None:
    """A mail has the text, the addresses and the time that others find in it."""
    [letter] = ses.parse(webhook(case, "inbound"))
    expected = case["expected"]
    assert isinstance(letter, Inbound)
    assert expected["external_id"].strip("<>") == letter.external_id
    assert letter.from_address in expected["from"]
    assert expected["envelope_recipient"] == letter.to_address
    assert all(any(each in to for to in expected["to"]) for each in letter.recipients)
    assert expected["subject"] == letter.subject
    assert expected["text"].strip() == letter.body.strip()
    assert datetime.fromisoformat(expected["timestamp"]) == letter.occurred_at
