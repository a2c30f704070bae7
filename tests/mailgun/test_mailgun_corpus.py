"""Real payloads, as other projects and Mailgun's documents give them, with their outcomes.

Read from ../shared/corpus where it is; skipped elsewhere. None differs but in words: a click and a
deferral change nothing, and `event` is Mailgun's word of today.
The clock is the case's, else the time of its signature.
"""

import base64
import json
import re
from datetime import UTC, datetime
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine

from channels.errors import Refused
from channels.http import Answer
from channels.providers.mailgun import read
from tests.mailgun.values import account
from webhooks import mailgun
from webhooks.model import Inbound, InvalidSignature, StatusReport, WebhookRequest

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "mailgun.json"
CASES = json.loads(CORPUS.read_text()) if CORPUS.exists() else []
OURS = {"queued": "sent", "deferred": None}
# The events of other projects, and Mailgun's own words for them.
WORDS = {"bounced": "failed", "deferred": "failed"}

pytestmark = pytest.mark.skipif(not CASES, reason="the corpus is not here")


def cases(*kinds: str, told: str = "") -> pytest.MarkDecorator:
    """A test's cases: of these kinds, and which expect `told`."""
    chosen = [
        case for case in CASES if case["kind"] in kinds and (not told or told in case["expected"])
    ]
    return pytest.mark.parametrize("case", chosen, ids=[case["id"] for case in chosen])


def webhook(case: dict[str, Any], event: str) -> WebhookRequest:
    """The request of a case."""
    given = case["request"]
    body = given.get("body", "").encode()
    if "body_b64" in given:
        body = base64.b64decode(given["body_b64"])
    if "form" in given:
        body = urlencode([(name, value) for name, value in given["form"]]).encode()
    return WebhookRequest(
        method=given["method"],
        url=given["url"],
        event=event,
        headers={name.lower(): value for name, value in given["headers"].items()},
        body=body,
    )


def clock(case: dict[str, Any], request: WebhookRequest) -> datetime:
    """The time at which a case comes in."""
    signed = mailgun._signature(request)["timestamp"]
    return datetime.fromtimestamp(int(case["auth"].get("now", signed)), UTC)


@cases("signature", "status", "inbound")
def test_signatures(case: dict[str, Any]) -> None:
    """What other projects verify is verified, and what they refuse is refused."""
    request = webhook(case, "events")
    held = account(webhook_signing_key=case["auth"]["webhook_signing_key"])
    with time_machine.travel(clock(case, request), tick=False):
        if case["expected"].get("valid", True):
            mailgun.verify(request, held)
        else:
            with pytest.raises(InvalidSignature):
                mailgun.verify(request, held)


@cases("status", "signature", told="status")
def test_statuses(case: dict[str, Any]) -> None:
    """An event means what others read in it, in the contract's words."""
    [report, *_] = mailgun.parse(webhook(case, "events"))
    expected = case["expected"]
    assert isinstance(report, StatusReport)
    allowed = [expected["status"], *expected.get("status_alternatives", [])]
    assert report.status in [OURS.get(each, each) for each in allowed]
    word = expected["event"]
    assert report.word in {word, WORDS.get(word), report.detail.get("legacy-event") and "failed"}
    assert (report.external_id or "") == (expected["external_id"] or "").strip("<>")
    at = expected["timestamp"]
    is_number = isinstance(at, float)
    assert report.occurred_at == (
        datetime.fromtimestamp(at, UTC) if is_number else datetime.fromisoformat(at)
    )
    assert report.detail.get("recipient") == expected["to"]
    assert report.error_code == expected.get("error_code", report.error_code)
    assert json.loads(report.detail.get("tags", "[]")) == expected.get("tags", [])
    assert report.detail.get("url") == expected.get("click_url")
    said = report.detail.get("delivery-message", "")
    assert said == expected.get("mta_response", said)
    assert expected.get("description", "") in json.dumps(dict(report.detail))


@cases("inbound")
def test_inbound_mails(case: dict[str, Any]) -> None:
    """A mail has the addresses and texts that others find in it."""
    [mail] = mailgun.parse(webhook(case, "inbound"))
    expected = case["expected"]
    assert isinstance(mail, Inbound)
    assert mail.from_address == parseaddr(expected["from"])[1]
    assert mail.to_address == expected["envelope_recipient"]
    assert mail.subject == expected["subject"]
    assert mail.external_id == expected["external_id"].strip("<>")
    assert mail.body.strip() == expected["text"].strip()
    words = [
        re.sub(r"<[^>]*>", "", html).strip() for html in (mail.html_body or "", expected["html"])
    ]
    assert words[0] == words[1]


@cases("error")
def test_answers(case: dict[str, Any]) -> None:
    """An answer to a send is read as others read it: all of these are final."""
    given, expected = case["response"], case["expected"]
    answer = Answer(status=given["status"], text=given["body"], headers={})
    with pytest.raises(Refused) as raised:
        read(answer)
    assert expected["retryable"] is False
    assert raised.value.message == expected.get("error_message", raised.value.message)
