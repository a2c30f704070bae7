"""What each event of the Event Webhook means."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.model import Channel, Status
from tests.mails import ID
from tests.sendgrid.values import account, events, request
from webhooks import sendgrid
from webhooks.model import ConsentChange, Reason, Reply, StatusReport, Unknown, Unreadable

AT = datetime(2020, 9, 14, 19, 41, 32, tzinfo=UTC)


def event(word: str, **fields: Any) -> dict[str, Any]:
    """One event, as SendGrid writes it."""
    return {
        "email": "them@example.net",
        "timestamp": 1600112492,
        "smtp-id": "<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>",
        "event": word,
        "sg_event_id": "ZHJvcC0xMDk5NDkxOS1MUnpYbF9O",
        "sg_message_id": "LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-9.0",
        "message_id": str(ID),
    } | fields


def report(word: str, **fields: Any) -> StatusReport:
    """The report among what an event tells."""
    [found] = [
        each
        for each in sendgrid.parse(events(event(word, **fields)))
        if isinstance(each, StatusReport)
    ]
    return found


def consent(word: str, **fields: Any) -> list[tuple[Reason, bool, str | None]]:
    """What an event means for the address."""
    return [
        (each.reason, each.is_lifted, each.address)
        for each in sendgrid.parse(events(event(word, **fields)))
        if isinstance(each, ConsentChange)
    ]


def test_a_report_in_whole() -> None:
    """The mail is found by our id and by SendGrid's; the rest is detail."""
    [found] = sendgrid.parse(events(event("delivered", response="250 OK", category=["a", "b"])))
    assert isinstance(found, StatusReport)
    assert found == StatusReport(
        external_id="LRzXl_NHStOGhQ4kofSm_A",
        message_id=ID,
        status=Status.DELIVERED,
        word="delivered",
        key=found.key,
        occurred_at=AT,
        detail={
            "email": "them@example.net",
            "smtp-id": "<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>",
            "sg_event_id": "ZHJvcC0xMDk5NDkxOS1MUnpYbF9O",
            "sg_message_id": "LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-9.0",
            "response": "250 OK",
            "category": '["a", "b"]',
        },
    )
    assert found.key.startswith("sendgrid:LRzXl_NHStOGhQ4kofSm_A:delivered:")


@pytest.mark.parametrize(
    ("word", "fields", "status"),
    [
        ("processed", {}, Status.SENT),
        ("Deferred", {"attempt": "1"}, None),
        ("delivered", {}, Status.DELIVERED),
        ("bounce", {"type": "bounce", "status": "5.1.1"}, Status.FAILED),
        ("bounce", {"type": "blocked"}, Status.FAILED),
        ("dropped", {"reason": "Invalid"}, Status.FAILED),
        ("open", {"sg_machine_open": False}, Status.READ),
        ("open", {}, Status.READ),
        ("open", {"sg_machine_open": True}, None),
        ("open", {"sg_machine_open": "true"}, None),
        ("click", {"url": "https://example.com"}, None),
        ("spamreport", {}, None),
        ("unsubscribe", {}, None),
        ("group_unsubscribe", {}, None),
        ("group_resubscribe", {}, None),
        ("something_new", {}, None),
    ],
)
def test_every_word(word: str, fields: dict[str, Any], status: Status | None) -> None:
    """Each word becomes a status, or changes none; a new one too."""
    assert report(word, **fields).status == status
    assert report(word, **fields).word == word.lower()


@pytest.mark.parametrize(
    ("word", "fields", "code", "message"),
    [
        (
            "bounce",
            {"type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 No\n such\0 user"},
            "5.1.1",
            "The recipient's mail server refused the address for good: 550 5.1.1 No such user",
        ),
        (
            "bounce",
            {"type": "bounce", "reason": "550 No such user"},
            "550",
            "The recipient's mail server refused the address for good: 550 No such user",
        ),
        (
            "bounce",
            {},
            "bounce",
            "The recipient's mail server refused the address for good.",
        ),
        (
            "bounce",
            {"type": "bounce", "status": "4.2.2", "reason": "452"},
            "4.2.2",
            "The recipient's mail server could not take the mail, the address may be good: 452",
        ),
        (
            "bounce",
            {"type": "blocked", "reason": "no mx info"},
            "blocked",
            "The recipient's mail server blocked this mail, the address may be good: no mx info",
        ),
        (
            "bounce",
            {"type": "expired", "reason": "gave up"},
            "expired",
            "The recipient's mail server could not take the mail, the address may be good: gave up",
        ),
        (
            "dropped",
            {"reason": "Bounced Address"},
            "bounced address",
            "SendGrid did not send it: an earlier mail to this address bounced.",
        ),
        (
            "dropped",
            {"reason": "Spam Reporting Address", "status": "5.0.0"},
            "spam reporting address",
            "SendGrid did not send it: this address has reported spam before.",
        ),
        ("dropped", {"reason": "New"}, "new", "SendGrid did not send it: New."),
        ("dropped", {}, "dropped", "SendGrid did not send it: it gave no reason."),
    ],
)
def test_why_it_failed(word: str, fields: dict[str, Any], code: str, message: str) -> None:
    """The SMTP status or SendGrid's word, and a sentence with its reason."""
    found = report(word, **fields)
    assert (found.error_code, found.error_message) == (code, message)


@pytest.mark.parametrize("word", ["processed", "deferred", "delivered", "spamreport"])
def test_what_did_not_fail_has_no_error(word: str) -> None:
    """A reason for a delay is no failure."""
    found = report(word, reason="450 later", status="4.2.1")
    assert (found.error_code, found.error_message) == (None, None)


@pytest.mark.parametrize(
    ("word", "fields", "expected"),
    [
        ("bounce", {"type": "bounce", "status": "5.1.1"}, Reason.HARD_BOUNCE),
        ("bounce", {"status": "5.1.1"}, Reason.HARD_BOUNCE),
        ("bounce", {"type": "bounce"}, Reason.HARD_BOUNCE),
        ("bounce", {"type": "bounce", "status": "4.2.2"}, None),
        ("bounce", {"type": "blocked", "status": "5.7.1"}, None),
        ("dropped", {"reason": "Bounced Address"}, Reason.HARD_BOUNCE),
        ("dropped", {"reason": "Spam Reporting Address"}, Reason.COMPLAINT),
        ("dropped", {"reason": "Unsubscribed Address"}, Reason.UNSUBSCRIBE),
        ("dropped", {"reason": "Invalid"}, None),
        ("spamreport", {}, Reason.COMPLAINT),
        ("unsubscribe", {}, Reason.UNSUBSCRIBE),
        ("group_unsubscribe", {}, Reason.UNSUBSCRIBE),
        ("delivered", {}, None),
    ],
)
def test_what_it_means_for_the_address(
    word: str, fields: dict[str, Any], expected: Reason | None
) -> None:
    """Hard bounces, complaints and unsubscribes are told beside the report; a block is not."""
    wanted = [(expected, False, "them@example.net")] if expected else []
    assert consent(word, **fields) == wanted


def test_a_resubscription() -> None:
    """It lifts what an unsubscription of the same group did, and where it names none, nothing."""
    wanted = [(Reason.UNSUBSCRIBE, True, "them@example.net")]
    assert consent("group_resubscribe", asm_group_id=5) == wanted
    assert consent("group_resubscribe") == []


@pytest.mark.parametrize(
    ("name", "group", "is_own"),
    [
        ("group_unsubscribe", "5", False),
        ("group_resubscribe", "5", True),
        ("unsubscribe", None, False),
        ("spamreport", None, False),
    ],
)
def test_which_group_it_is_about(name: str, group: str | None, *, is_own: bool) -> None:
    """Only the words of a group are about it, whichever group the mail went to."""
    found = sendgrid.parse(events(event(name, asm_group_id=5)))
    [change] = [each for each in found if isinstance(each, ConsentChange)]
    assert (change.group, change.is_own) == (group, is_own)


def test_a_change_in_whole() -> None:
    """Group events may name an address and no mail: the change stands alone."""
    bare = {"event": "group_unsubscribe", "email": "them@example.net", "asm_group_id": 1}
    [found] = sendgrid.parse(events(bare))
    assert isinstance(found, ConsentChange)
    assert found == ConsentChange(
        channel=Channel.EMAIL,
        reason=Reason.UNSUBSCRIBE,
        address="them@example.net",
        word="group_unsubscribe",
        group="1",
        key=found.key,
        detail={"email": "them@example.net", "asm_group_id": 1},
    )
    assert sendgrid.parse(events({"event": "spamreport"})) == []


@pytest.mark.parametrize(
    ("fields", "external_id", "message_id"),
    [
        ({}, "LRzXl_NHStOGhQ4kofSm_A", ID),
        ({"message_id": "x" * 36}, "LRzXl_NHStOGhQ4kofSm_A", None),
        ({"message_id": 7, "sg_message_id": "a.b"}, "a", None),
        ({"message_id": None, "sg_message_id": None}, "LRzXl_NHStOGhQ4kofSm_A", None),
        ({"sg_message_id": "", "smtp-id": f"<{ID}@example.com>"}, None, ID),
        ({"message_id": "", "smtp-id": f"<{ID}@example.com>"}, "LRzXl_NHStOGhQ4kofSm_A", ID),
    ],
)
def test_which_mail_it_is_about(
    fields: dict[str, Any], external_id: str | None, message_id: UUID | None
) -> None:
    """By our id in custom_args or in the Message-ID, by SendGrid's in either of its places."""
    found = report("bounce", **fields)
    assert (found.external_id, found.message_id) == (external_id, message_id)


def test_the_same_report_has_the_same_key() -> None:
    """sg_event_id is new at each retry; everything that tells reports apart counts."""
    key = report("click").key
    assert report("click", sg_event_id="another").key == key
    others = [
        report("open").key,
        report("click", timestamp=1600112493).key,
        report("click", url="https://example.com").key,
        report("click", email="they@example.net").key,
        report("click", sg_message_id="LRzXl_NHStOGhQ4kofSm_A.other").key,
        report("click", attempt="2").key,
    ]
    assert len({key, *others}) == 7


def test_one_bad_item_does_not_lose_the_others() -> None:
    """What is no event is kept as unknown, in its place."""
    account_event = {"event": "account_status_change", "type": "compliance_suspend"}
    found = sendgrid.parse(
        events(1, None, [], {}, {"event": {}}, account_event, event("delivered"), "x")
    )
    words = [(type(each), each.word) for each in found if isinstance(each, StatusReport | Unknown)]
    unreadable = (Unknown, "unreadable")
    assert words == [
        *[unreadable] * 5,
        (Unknown, "account_status_change"),
        (StatusReport, "delivered"),
        unreadable,
    ]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ('{"timestamp": 1600112492.5}', AT.replace(microsecond=500000)),
        ('{"timestamp": "1600112492"}', AT),
        ('{"timestamp": NaN}', None),
        ('{"timestamp": -1}', None),
        ('{"timestamp": 1e999}', None),
        ('{"timestamp": true}', None),
        ('{"timestamp": ' + "9" * 5000 + "}", None),
        ('{"timestamp": 1, "timestamp": 1600112492}', AT),
        ('{"timestamp": [[1]]}', None),
    ],
)
def test_times_of_every_kind(text: str, at: datetime | None) -> None:
    """A time that is none costs the time, not the report."""
    item = '{"event": "delivered", "sg_message_id": "a.b", ' + text.removeprefix("{")
    [found] = sendgrid.parse(request(f"[{item}]".encode()))
    assert isinstance(found, StatusReport)
    assert (found.external_id, found.occurred_at) == ("a", at)


def test_details_are_bounded_and_can_be_stored() -> None:
    """Forty of them, a thousand characters each, without NUL and halves of surrogate pairs."""
    many = {f"field{number}": "\0\ud800" + "x" * 5000 for number in range(100)}
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    found = report("delivered", huge=10**30, tiny=float("inf"), deep=deep, **many)
    assert len(found.detail) == 40
    assert found.detail["field0"] == "?" + "x" * 998
    assert found.detail["huge"] == "1" + "0" * 30
    assert found.detail["tiny"] == "Infinity"
    json.dumps(found.detail, allow_nan=False).encode()


def test_more_than_sendgrid_sends() -> None:
    """A list of more events than any batch has is refused: millions of empty ones, which fit into a
    body, took thirteen seconds and a gigabyte."""
    assert 10_000 == len(sendgrid.parse(events(*[{}] * 10_000)))
    with pytest.raises(Unreadable, match="more events than SendGrid sends"):
        sendgrid.parse(events(*[{}] * 10_001))


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b"3", b"[" * 100_000, b"\xff"])
def test_what_is_no_batch(body: bytes) -> None:
    """A body that is no list of events is unreadable."""
    with pytest.raises(Unreadable):
        sendgrid.parse(request(body))


def test_a_byte_that_is_no_utf8_costs_itself() -> None:
    """The batch is read all the same."""
    body = b'\xef\xbb\xbf[{"event": "delivered", "sg_message_id": "a.b", "response": "\xff"}]'
    [found] = sendgrid.parse(request(body))
    assert isinstance(found, StatusReport)
    assert found.detail["response"] == "\ufffd"


def test_other_hooks_and_the_answer() -> None:
    """A hook that we do not have is unknown; the answer is 200."""
    assert sendgrid.parse(request(b"[]", event="other")) == [Unknown(word="other")]
    assert sendgrid.reply(request(b"[]"), [], account()) == Reply(status=200)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["event", "email", "timestamp", "sg_message_id", "smtp-id", "message_id", "type", "status"]
)


@given(st.lists(st.dictionaries(NAMES, JSON | st.sampled_from(["bounce", "dropped"])), max_size=3))
def test_anything_can_be_read(items: list[dict[str, Any]]) -> None:
    """Whatever JSON an item is made of, it is an event or unknown, and can be stored."""
    for found in sendgrid.parse(events(*items)):
        assert not isinstance(found, ConsentChange) or found.key
        json.dumps(getattr(found, "detail", {}), allow_nan=False).encode()
