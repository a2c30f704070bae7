"""Real payloads, as other projects and Meta's documents give them, with their outcomes.

Read from ../shared/corpus where it is; skipped elsewhere.
"""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from channels.errors import RefusedForNow, SendError
from channels.http import Answer
from channels.model import Account, Status
from channels.providers.meta import read
from tests.meta.values import account
from webhooks import meta
from webhooks.model import Inbound, InvalidSignature, StatusReport, Unknown, WebhookRequest

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "whatsapp_cloud.json"
CASES = json.loads(CORPUS.read_text()) if CORPUS.exists() else []

pytestmark = pytest.mark.skipif(not CASES, reason="the corpus is not here")


def cases(*kinds: str) -> pytest.MarkDecorator:
    """A test's cases: of these kinds."""
    chosen = [case for case in CASES if case["kind"] in kinds]
    return pytest.mark.parametrize("case", chosen, ids=[case["id"] for case in chosen])


def webhook(case: dict[str, Any]) -> WebhookRequest:
    """The request of a case."""
    given = case["request"]
    return WebhookRequest(
        method=given["method"],
        url=given["url"],
        event="events",
        headers={name.lower(): value for name, value in given["headers"].items()},
        body=given["body"].encode(),
    )


def holder(case: dict[str, Any]) -> Account:
    """The account of a case."""
    return account(app_secret=case["auth"].get("app_secret", ""))


def bare(address: str) -> str:
    """An address as the corpus is compared: without + and spaces."""
    return address.replace("+", "").replace(" ", "")


@cases("signature", "inbound", "status")
def test_signatures(case: dict[str, Any]) -> None:
    """What other projects verify is verified, and what they refuse is refused."""
    if "signature" not in case:
        pytest.skip("the case is not signed")
    if case["expected"].get("valid", case["signature"].get("valid")):
        meta.verify(webhook(case), holder(case))
    else:
        with pytest.raises(InvalidSignature):
            meta.verify(webhook(case), holder(case))


@cases("status")
def test_statuses(case: dict[str, Any]) -> None:
    """A status means what others read in it."""
    [report] = meta.parse(webhook(case))
    expected = case["expected"]
    assert isinstance(report, StatusReport)
    assert report.external_id == expected["external_id"]
    assert report.status == (Status(expected["status"]) if expected["status"] else None)
    assert report.word == expected["provider_status"]
    assert report.error_code == expected.get("error_code")
    if "to" in expected:
        assert report.detail["recipient_id"] == expected["to"]
    if "timestamp" in expected:
        assert report.occurred_at is not None
        assert report.occurred_at.timestamp() == expected["timestamp"]
    if "conversation_id" in expected:
        assert report.detail["conversation"]["id"] == expected["conversation_id"]
        assert report.detail["pricing"]["category"] == expected["pricing_category"]


@cases("inbound")
def test_inbound_messages(case: dict[str, Any]) -> None:
    """A message has the text, addresses and files that others find in it."""
    expected = case["expected"]
    events = meta.parse(webhook(case))
    ids = {(event.external_id, event.body) for event in events if isinstance(event, Inbound)}
    stored = expected.get("messages_stored", len(expected.get("messages", [expected])))
    assert len(ids) in [stored, *expected.get("messages_stored_alternatives", [])]
    for event, wanted in zip(events, expected.get("messages", [expected]), strict=False):
        if isinstance(event, Unknown):
            continue
        assert isinstance(event, Inbound)
        compare(event, wanted)


def compare(message: Inbound, expected: dict[str, Any]) -> None:
    """Whether a message is what a case expects, where it expects anything."""
    detail = message.detail
    seen = {
        "external_id": message.external_id,
        "from": bare(message.from_address),
        "to": bare(message.to_address),
        "text": message.body,
        "context_id": message.quotes,
        "timestamp": message.occurred_at.timestamp() if message.occurred_at else None,
        "phone_number_id": detail.get("phone_number_id"),
        "profile_name": detail.get("ProfileName"),
        "external_user_id": detail.get("user_id"),
        "button_payload": detail.get("button_payload"),
        "flow_response": detail.get("flow_response"),
        "message_type": detail.get("type"),
        "error_code": detail.get("error_code"),
    }
    wanted = {name: expected[name] for name in seen if name in expected}
    wanted |= {name: bare(wanted[name]) for name in ("from", "to") if name in wanted}
    wanted |= {"text": wanted["text"] or ""} if "text" in wanted else {}
    assert {name: seen[name] for name in wanted} == wanted
    files = [
        {"media_id": each.url.rpartition("/")[2], "mime_type": each.content_type}
        for each in message.attachments
    ]
    given_files = [
        {name: each[name] for name in ("media_id", "mime_type")}
        for each in expected.get("attachments", [])
    ]
    assert files == given_files
    if "location" in expected:
        assert expected["location"].items() <= detail["location"].items()


@cases("send_response", "error")
def test_answers(case: dict[str, Any]) -> None:
    """An answer to a send is read as others read it."""
    given, expected = case["response"], case["expected"]
    answer = Answer(status=given["status"], text=given["body"], headers={})
    if case["kind"] == "send_response":
        assert read(answer).external_id == expected["external_id"]
        return
    with pytest.raises(SendError) as raised:
        read(answer)
    assert isinstance(raised.value, RefusedForNow) == expected["retryable"]
    assert raised.value.code == expected["error_code"]


def test_signatures_are_made_as_meta_makes_them() -> None:
    """The corpus's own signatures are those of its bodies, so that a wrong one is our mistake."""
    for case in CASES:
        if case.get("signature", {}).get("valid"):
            secret, body = case["auth"]["app_secret"].encode(), case["request"]["body"].encode()
            right = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
            assert case["request"]["headers"]["X-Hub-Signature-256"] == right
