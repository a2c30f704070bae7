"""Real payloads, as other projects and SendGrid's documents give them, with their outcomes.

Read from ../shared/corpus where it is; skipped elsewhere. Differing: see `DIFFERS`.
"""

import base64
import json
from datetime import datetime
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import pytest

from channels.errors import AnswerLost, Refused, SendError
from channels.http import Answer
from channels.providers.sendgrid import read
from tests.sendgrid.values import account, outbound
from webhooks import sendgrid
from webhooks.forms import read_form
from webhooks.model import Inbound, InvalidSignature, StatusReport, WebhookRequest

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "sendgrid.json"
CASES = json.loads(CORPUS.read_text()) if CORPUS.exists() else []
# The corpus has the providers' words; with us a deferral changes nothing.
OURS = {"queued": "sent", "deferred": None}
DIFFERS = {
    # "retryable", where an empty 500 may come after the mail was taken: sending it again may be a
    # second mail, so it waits, unknown, for the reports.
    "sendgrid-error-001": AnswerLost,
}

pytestmark = pytest.mark.skipif(not CASES, reason="the corpus is not here")


def cases(*kinds: str) -> pytest.MarkDecorator:
    """A test's cases: all of these kinds."""
    chosen = [case for case in CASES if case["kind"] in kinds]
    return pytest.mark.parametrize("case", chosen, ids=[case["id"] for case in chosen])


def webhook(case: dict[str, Any], event: str) -> WebhookRequest:
    """The request of a case."""
    given = case["request"]
    encoded = given.get("body_b64")
    return WebhookRequest(
        method=given["method"],
        url=given["url"],
        event=event,
        headers={name.lower(): value for name, value in given["headers"].items()},
        body=base64.b64decode(encoded) if encoded else given["body"].encode(),
    )


@cases("signature")
def test_signatures(case: dict[str, Any]) -> None:
    """What other projects verify is verified, and what they refuse is refused."""
    held = account(webhook_public_key=case["auth"]["public_key"])
    if case["expected"]["valid"]:
        sendgrid.verify(webhook(case, "events"), held)
    else:
        with pytest.raises(InvalidSignature):
            sendgrid.verify(webhook(case, "events"), held)


@cases("status")
def test_statuses(case: dict[str, Any]) -> None:
    """An event means what others read in it, in the contract's words."""
    [report] = sendgrid.parse(webhook(case, "events"))
    expected = case["expected"]
    assert isinstance(report, StatusReport)
    assert report.status == OURS.get(expected["status"], expected["status"])
    assert report.word == expected["event"]
    assert report.external_id == expected["external_id"]
    assert report.occurred_at == datetime.fromisoformat(expected["timestamp"])
    assert report.detail["email"] == expected["to"]
    assert report.detail["response"] == expected["mta_response"]
    assert report.detail["sg_event_id"] == expected["event_id"]
    for name, value in expected["custom_args_seen"].items():
        assert report.detail[name] == value


@cases("inbound")
def test_inbound_mails(case: dict[str, Any]) -> None:
    """A mail has the addresses, text and files that others find in it."""
    request = webhook(case, "inbound")
    [mail] = sendgrid.parse(request)
    expected = case["expected"]
    assert isinstance(mail, Inbound)
    assert mail.from_address == parseaddr(expected["from_header"])[1]
    assert mail.to_address in expected["envelope"]["to"]
    assert parseaddr(expected["to_header"])[1] in mail.recipients
    assert mail.body.strip() == expected["text"].strip()
    assert (mail.detail["spf"], mail.detail["dkim"]) == (expected["spf"], expected["dkim"])
    # In raw mode the subject is the mail's own, and the form's another where it was made up.
    form = read_form(request)
    assert sorted(name for name, _ in form.fields) == expected["fields"]
    assert form.text("subject") == expected["subject"]
    names = [each.filename for each in mail.attachments]
    assert names == [each["filename"] for each in expected.get("attachments", [])]
    types = [each.content_type for each in mail.attachments]
    assert types == [each["content_type"] for each in expected.get("attachments", [])]


@cases("send_response", "error")
def test_answers(case: dict[str, Any]) -> None:
    """An answer to a send is read as others read it."""
    given, expected = case["response"], case["expected"]
    answer = Answer(
        status=given["status"],
        text=given["body"],
        headers={name.lower(): value for name, value in given["headers"].items()},
    )
    if case["kind"] == "send_response":
        # One mail goes to one recipient; without X-Message-Id it is known by our own id.
        ids = expected["external_id"]
        wanted = str(outbound().message_id) if isinstance(ids, list) else ids
        assert read(answer, outbound()).external_id == wanted
        return
    with pytest.raises(SendError) as raised:
        read(answer, outbound())
    assert expected["retryable"] is (case["id"] in DIFFERS)
    assert type(raised.value) is DIFFERS.get(case["id"], Refused)
    assert raised.value.message == expected.get("error_message", raised.value.message)
