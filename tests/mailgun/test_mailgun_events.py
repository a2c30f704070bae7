"""What each event that Mailgun reports means."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.model import Channel, Status
from tests.mailgun.values import account, form, hook, request
from tests.mails import ID
from webhooks import mailgun
from webhooks.model import ConsentChange, Reason, Reply, StatusReport, Unknown, Unreadable

AT = datetime(2018, 8, 12, 21, 17, 17, 153125, tzinfo=UTC)


def event(word: str, **fields: Any) -> dict[str, Any]:
    """One event, as Mailgun writes it."""
    return {
        "event": word,
        "id": "hTWCTD81RtiDN-",
        "timestamp": 1534108637.153125,
        "recipient": "them@example.net",
        "recipient-domain": "example.net",
        "log-level": "info",
        "tags": ["a", "b"],
        "user-variables": {"message_id": str(ID)},
        "flags": {"is-routed": False},
        "storage": {"url": "https://sw.api.mailgun.net/v3/x"},
        "message": {"headers": {"message-id": f"{ID}@example.com", "subject": "Hi"}},
    } | {name.replace("_", "-"): value for name, value in fields.items()}


def report(word: str, **fields: Any) -> StatusReport:
    """The report among what an event tells."""
    [found] = [
        each
        for each in mailgun.parse(hook(event(word, **fields)))
        if isinstance(each, StatusReport)
    ]
    return found


def test_a_report_in_whole() -> None:
    """The mail is found by our id and by Mailgun's, without <>; the rest is detail."""
    [found] = mailgun.parse(
        hook(event("delivered", delivery_status={"code": 250, "message": "OK"}))
    )
    assert isinstance(found, StatusReport)
    assert found == StatusReport(
        external_id=f"{ID}@example.com",
        message_id=ID,
        status=Status.DELIVERED,
        word="delivered",
        key=found.key,
        occurred_at=AT,
        detail={
            "delivery-code": 250,
            "delivery-message": "OK",
            "id": "hTWCTD81RtiDN-",
            "recipient": "them@example.net",
            "tags": '["a", "b"]',
        },
    )
    assert found.key.startswith(f"mailgun:{ID}@example.com:delivered:")


@pytest.mark.parametrize(
    ("word", "fields", "status"),
    [
        ("accepted", {}, Status.SENT),
        ("Delivered", {}, Status.DELIVERED),
        ("failed", {"severity": "permanent"}, Status.FAILED),
        ("failed", {"severity": "temporary"}, None),
        ("failed", {}, Status.FAILED),
        ("rejected", {}, Status.FAILED),
        ("opened", {}, Status.READ),
        ("opened", {"client_info": {"bot": ""}}, Status.READ),
        ("opened", {"client_info": {"bot": "apple"}}, None),
        ("clicked", {}, None),
        ("unsubscribed", {}, None),
        ("complained", {}, None),
        ("something_new", {}, None),
    ],
)
def test_every_word(word: str, fields: dict[str, Any], status: Status | None) -> None:
    """Each word becomes a status, or changes none; a new one too."""
    assert (report(word, **fields).status, report(word, **fields).word) == (status, word.lower())


@pytest.mark.parametrize(
    ("word", "fields", "code", "message"),
    [
        (
            "failed",
            {"reason": "bounce", "delivery_status": {"code": 550, "message": "No\0\n user"}},
            "550",
            "The recipient's mail server refused the mail for good: No user",
        ),
        (
            "failed",
            {"reason": "suppress-bounce", "delivery_status": {"code": 605, "description": "Not"}},
            "605",
            "Mailgun did not send it: an earlier mail to this address bounced: Not",
        ),
        (
            "failed",
            {"reason": "generic", "delivery_status": {"code": 0, "enhanced-code": "5.7.1"}},
            "5.7.1",
            "Mailgun could not deliver the mail.",
        ),
        ("failed", {"reason": "old", "delivery_status": None}, "old", None),
        ("failed", {}, "failed", "Mailgun could not deliver the mail."),
        ("rejected", {"reject": {"reason": "No"}}, "rejected", "Mailgun rejected the mail: No"),
        ("rejected", {"reason": "Spam"}, "rejected", "Mailgun rejected the mail: Spam"),
        ("rejected", {}, "rejected", "Mailgun rejected the mail."),
    ],
)  # fmt: skip
def test_why_it_failed(word: str, fields: dict[str, Any], code: str, message: str | None) -> None:
    """The server's code or Mailgun's word, and a sentence with what was said."""
    found = report(word, **fields)
    wanted = message or "Mailgun could not deliver it in time and gave up."
    assert (found.error_code, found.error_message) == (code, wanted)


def test_a_delay_is_no_error() -> None:
    """What Mailgun goes on trying has not failed."""
    found = report("failed", severity="temporary", delivery_status={"code": 450, "message": "x"})
    assert (found.error_code, found.error_message) == (None, None)
    assert found.detail["delivery-message"] == "x"


def test_a_recipient_that_breaks_the_library() -> None:
    """A header that Python's library would read without an end does not keep an event away."""
    headers = {"to": "(" * 1000, "message-id": "a@b"}
    [found] = mailgun.parse(hook({"event": "failed", "message": {"headers": headers}}))
    assert isinstance(found, StatusReport)
    assert (found.external_id, found.status) == ("a@b", Status.FAILED)


@pytest.mark.parametrize(
    ("word", "fields", "expected"),
    [
        ("failed", {"reason": "bounce", "delivery_status": {"code": 550}}, Reason.HARD_BOUNCE),
        ("failed", {"reason": "bounce"}, Reason.HARD_BOUNCE),
        ("failed", {"reason": "bounce", "delivery_status": {"code": 452}}, None),
        ("failed", {"reason": "bounce", "severity": "temporary"}, None),
        ("failed", {"reason": "suppress-bounce"}, Reason.HARD_BOUNCE),
        ("failed", {"reason": "suppress-complaint"}, Reason.COMPLAINT),
        ("failed", {"reason": "suppress-unsubscribe"}, Reason.UNSUBSCRIBE),
        ("failed", {"delivery_status": {"code": 607}}, Reason.COMPLAINT),
        ("failed", {"reason": "old"}, None),
        ("failed", {"reason": "generic", "delivery_status": {"code": 554}}, None),
        ("rejected", {"reason": "bounce"}, None),
        ("complained", {}, Reason.COMPLAINT),
        ("unsubscribed", {}, Reason.UNSUBSCRIBE),
        ("delivered", {}, None),
    ],
)
def test_what_it_means_for_the_address(
    word: str, fields: dict[str, Any], expected: Reason | None
) -> None:
    """Hard bounces, complaints and unsubscribes are told beside the report."""
    found = [
        (each.reason, each.address, each.is_lifted, each.channel)
        for each in mailgun.parse(hook(event(word, **fields)))
        if isinstance(each, ConsentChange)
    ]
    wanted = [(expected, "them@example.net", False, Channel.EMAIL)] if expected else []
    assert found == wanted


@pytest.mark.parametrize(
    ("fields", "external_id", "message_id"),
    [
        ({}, f"{ID}@example.com", ID),
        ({"user_variables": {}}, f"{ID}@example.com", ID),
        ({"message": None}, None, ID),
        ({"message": {"headers": {"message-id": "<a@b>"}}, "user_variables": []}, "a@b", None),
        ({"message": {"headers": []}, "user_variables": {"message_id": "x"}}, None, None),
    ],
)
def test_which_mail_it_is_about(
    fields: dict[str, Any], external_id: str | None, message_id: UUID | None
) -> None:
    """By our id in the variables or in the Message-ID, by the Message-ID itself."""
    found = report("delivered", **fields)
    assert (found.external_id, found.message_id) == (external_id, message_id)


def test_the_same_report_has_the_same_key() -> None:
    """A retry may have another signature: the event's own id and time count."""
    key = report("clicked").key
    assert report("clicked", ip="50.56.129.169").key == key
    others = [
        report("opened").key,
        report("clicked", id="another").key,
        report("clicked", timestamp=1534108637.2).key,
        report("clicked", url="https://example.com").key,
        report("clicked", recipient="they@example.net").key,
        report("clicked", delivery_status={"attempt-no": 2}).key,
        report("clicked", message=None).key,
    ]
    assert len({key, *others}) == 8


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (None, "unreadable"),
        ([], "unreadable"),
        ({}, "unreadable"),
        (event("stored"), "stored"),
        (event("accepted", flags={"is-routed": True}), "accepted"),
        ({"event": "list_member_uploaded"}, "list_member_uploaded"),
    ],
)
def test_what_is_about_no_mail_of_ours(data: Any, word: str) -> None:
    """Kept as unknown."""
    [found] = mailgun.parse(hook(data))
    assert isinstance(found, Unknown)
    assert found.word == word


def test_a_change_without_an_address() -> None:
    """The mail's own address is meant; without a mail there is nothing to change."""
    [_, change] = mailgun.parse(hook(event("complained", recipient=None)))
    assert isinstance(change, ConsentChange)
    assert (change.address, change.message_id) == (None, ID)
    headers = {"to": "Them <they@example.net>", "message-id": "a@b"}
    [_, change] = mailgun.parse(hook({"event": "complained", "message": {"headers": headers}}))
    assert isinstance(change, ConsentChange)
    assert (change.address, change.external_id) == ("they@example.net", "a@b")
    [report_alone] = mailgun.parse(hook({"event": "complained"}))
    assert isinstance(report_alone, StatusReport)


def test_the_forms_of_before_2018() -> None:
    """They say the same in other words; of fields that repeat the first counts."""
    fields = [
        ("event", "bounced"), ("event", "metadata"), ("recipient", "them@example.net"),
        ("message_id", str(ID)), ("Message-Id", "<a@b>"), ("code", "550"), ("error", "No user"),
        ("timestamp", "metadata"), ("timestamp", "1534108637"), ("token", "t"), ("tag", "x"),
    ]  # fmt: skip
    [found, change] = mailgun.parse(form(fields))
    assert isinstance(found, StatusReport)
    assert isinstance(change, ConsentChange)
    assert found == StatusReport(
        external_id="a@b",
        message_id=ID,
        status=Status.FAILED,
        word="failed",
        key=found.key,
        occurred_at=AT.replace(microsecond=0),
        error_code="550",
        error_message="The recipient's mail server refused the mail for good: No user",
        detail=found.detail,
    )
    assert found.detail["legacy-event"] == "bounced"
    assert change.reason is Reason.HARD_BOUNCE


def test_a_mail_that_was_dropped_before_2018() -> None:
    """Its reason is its own."""
    fields = [
        ("event", "dropped"),
        ("reason", "hardfail"),
        ("code", "605"),
        ("Message-Id", "<a@b>"),
    ]
    [found, change] = mailgun.parse(form(fields))
    assert isinstance(found, StatusReport)
    assert isinstance(change, ConsentChange)
    assert (found.status, found.error_code, found.detail["reason"]) == (
        Status.FAILED,
        "605",
        "hardfail",
    )
    assert change.reason is Reason.HARD_BOUNCE


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"[" * 100_000])
def test_what_is_no_event(body: bytes) -> None:
    """A body that is no JSON object is unreadable."""
    with pytest.raises(Unreadable):
        mailgun.parse(request(body))


def test_other_hooks_and_the_answer() -> None:
    """A hook that we do not have is unknown; the answer is 200."""
    assert mailgun.parse(request(b"{}", event="other")) == [Unknown(word="other")]
    assert mailgun.reply(request(b"{}"), [], account()) == Reply(status=200)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["event", "id", "timestamp", "recipient", "message", "delivery-status", "reason", "client-info"]
)
WORDS = st.sampled_from(["failed", "opened", "rejected", "complained"])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, JSON | WORDS))
def test_anything_can_be_read(data: dict[str, Any]) -> None:
    """Whatever JSON an event is made of, it is read or unknown, and can be stored."""
    for found in mailgun.parse(hook(data)):
        json.dumps(getattr(found, "detail", {}), allow_nan=False).encode()
