"""What Resend's webhooks tell about mails of ours."""

from dataclasses import replace
from typing import Any

import pytest

from channels.model import Channel, Status
from tests.mails import ID
from tests.resend.values import EMAIL_ID, MOMENT, RECEIVED, account, hook, signed
from webhooks import resend
from webhooks.model import (
    ConsentChange,
    Fetch,
    Reason,
    Reply,
    StatusReport,
    Unknown,
    Unreadable,
    WebhookRequest,
)

BOUNCE = {"type": "Permanent", "subType": "General", "message": "550 no such user"}


def only(request: WebhookRequest) -> StatusReport:
    """The one report of a request, whatever else it tells."""
    report = resend.parse(request)[0]
    assert isinstance(report, StatusReport)
    return report


def test_a_delivery() -> None:
    """A report has both ids, the time of the event and not of the mail, and what else was said."""
    [report] = resend.parse(hook("email.delivered"))
    assert isinstance(report, StatusReport)
    expected = StatusReport(
        external_id=EMAIL_ID,
        message_id=ID,
        status=Status.DELIVERED,
        word="email.delivered",
        key=report.key,
        occurred_at=MOMENT,
        detail={
            "created_at": "2026-01-02T03:00:00Z",
            "from": "Us <us@example.com>",
            "to": '["them@example.net"]',
        },
    )
    assert expected == report


def test_a_bounce() -> None:
    """The mail has failed, and the address is not written to any more."""
    report, change = resend.parse(hook("email.bounced", bounce=BOUNCE))
    assert isinstance(report, StatusReport)
    message = "The recipient's mail server refused the mail for good: 550 no such user"
    assert (Status.FAILED, "General", message) == (
        report.status,
        report.error_code,
        report.error_message,
    )
    expected = ConsentChange(
        channel=Channel.EMAIL,
        reason=Reason.HARD_BOUNCE,
        is_accounts=True,
        address="them@example.net",
        message_id=ID,
        external_id=EMAIL_ID,
        word="email.bounced",
        key=report.key,
        occurred_at=MOMENT,
        detail=report.detail,
    )
    assert expected == change


@pytest.mark.parametrize(
    ("name", "data", "status", "reason"),
    [
        ("email.sent", {}, Status.SENT, None),
        ("email.scheduled", {}, Status.SENT, None),
        ("email.delivered", {}, Status.DELIVERED, None),
        ("email.delivery_delayed", {}, None, None),
        ("email.opened", {}, Status.READ, None),
        ("email.clicked", {"click": {"link": "https://a.example/"}}, None, None),
        ("email.complained", {}, None, Reason.COMPLAINT),
        ("email.failed", {"failed": {"reason": "reached_daily_quota"}}, Status.FAILED, None),
        ("email.suppressed", {}, Status.FAILED, Reason.HARD_BOUNCE),
        ("email.bounced", {}, Status.FAILED, Reason.HARD_BOUNCE),
        ("email.bounced", {"bounce": "odd"}, Status.FAILED, Reason.HARD_BOUNCE),
        ("email.bounced", {"bounce": {"type": "Transient"}}, None, None),
        ("email.bounced", {"bounce": {"type": "Undetermined"}}, None, None),
        ("email.bounced", {"bounce": {"type": "Transient", "subType": "General"}}, None, None),
        (
            "email.bounced",
            {"bounce": {"type": "Transient", "subType": "MailboxFull"}},
            Status.FAILED,
            None,
        ),
        ("email.whatever", {}, None, None),
    ],
)
def test_every_word(
    name: str, data: dict[str, Any], status: Status | None, reason: Reason | None
) -> None:
    """What a word means for the mail, and what for the address."""
    report, *changes = resend.parse(hook(name, **data))
    assert isinstance(report, StatusReport)
    assert (name, status) == (report.word, report.status)
    assert [reason] * bool(reason) == [
        change.reason for change in changes if isinstance(change, ConsentChange)
    ]
    assert (status is Status.FAILED) == bool(report.error_code and report.error_message)


@pytest.mark.parametrize(
    ("name", "data", "code", "message"),
    [
        ("email.failed", {"failed": {"reason": "reached_daily_quota"}}, "email.failed",
         "Resend could not send the mail: reached_daily_quota"),
        ("email.bounced", {"bounce": {"type": "Transient", "subType": "MailboxFull"}},
         "MailboxFull", f"{resend.WORDS['soft']}."),
        ("email.bounced", {"bounce": {"type": "Permanent", "subType": "Suppressed"}},
         "Suppressed", f"{resend.WORDS['email.suppressed']}."),
        ("email.suppressed", {"suppressed": {"type": "OnAccountSuppressionList"}},
         "OnAccountSuppressionList", f"{resend.WORDS['email.suppressed']}."),
    ],
)  # fmt: skip
def test_why(name: str, data: dict[str, Any], code: str, message: str) -> None:
    """Why a mail failed, in words for staff."""
    report = only(hook(name, **data))
    assert (code, message) == (report.error_code, report.error_message)


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (["Them <Them@Example.NET>"], "Them@example.net"),
        ("them@example.net", "them@example.net"),
        (["a@example.net", "b@example.net"], None),
        ([5], None),
        (None, None),
    ],
)
def test_whose_address(to: object, expected: str | None) -> None:
    """Of several recipients none is meant for sure: then the mail itself names the address."""
    _, change = resend.parse(hook("email.complained", to=to))
    assert isinstance(change, ConsentChange)
    assert (expected, ID, EMAIL_ID) == (change.address, change.message_id, change.external_id)


def test_tags_as_a_list() -> None:
    """Our id is found, too, where tags come as they were sent."""
    tags = [{"name": "x", "value": "y"}, "odd", {"name": "message_id", "value": str(ID)}]
    assert ID == only(hook("email.sent", email_id=None, tags=tags)).message_id


def test_one_id_is_enough() -> None:
    """A report finds its mail by our tag or by Resend's id."""
    report, change = resend.parse(hook("email.complained", email_id=None))
    assert isinstance(report, StatusReport)
    assert isinstance(change, ConsentChange)
    assert [(None, ID)] * 2 == [(e.external_id, e.message_id) for e in (report, change)]
    others: list[object] = [None, [], {"message_id": "x"}, {"message_id": 5}]
    for tags in others:
        report = only(hook("email.sent", tags=tags))
        assert (EMAIL_ID, None) == (report.external_id, report.message_id)


def test_keys() -> None:
    """A retry has the same key, signed anew or read again from our store; others have others."""
    click = hook("email.clicked", click={"link": "https://a.example/", "timestamp": "1"})
    retry = signed(click.body, event_id="msg_1", key=b"rotated")
    stored = replace(click, headers={})
    others = [
        hook("email.clicked", click={"link": "https://b.example/", "timestamp": "1"}),
        hook("email.clicked", email_id="another", click={"link": "https://a.example/"}),
        hook("email.opened"),
    ]
    keys = [only(request).key for request in (click, retry, stored, *others)]
    assert 1 == len(set(keys[:3]))
    assert 4 == len(set(keys))


def test_a_mail_that_came_in() -> None:
    """It is fetched, once however often it is told."""
    expected = Fetch(url=f"{RECEIVED}{EMAIL_ID}?html_format=cid", key=f"resend:received:{EMAIL_ID}")
    assert [expected] == resend.parse(hook("email.received", tags=None))
    [fetch] = resend.parse(hook("email.received", email_id="../a?b#c"))
    assert isinstance(fetch, Fetch)
    assert f"{RECEIVED}..%2Fa%3Fb%23c?html_format=cid" == fetch.url


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        (hook("contact.created"), "contact.created"),
        (hook("email.received", email_id=None, tags=None), "email.received"),
        (hook("email.sent", email_id=["x"], tags=None), "email.sent"),
        (signed(b"{}"), "unreadable"),
        (signed(b'{"type": 5, "data": [1]}'), "5"),
        (signed(b"{}", event="other"), "other"),
    ],
)
def test_what_names_no_mail(request_: WebhookRequest, word: str) -> None:
    """An event about something else, or about nothing, is kept as it is."""
    [event] = resend.parse(request_)
    assert isinstance(event, Unknown)
    assert word == event.word


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"1", b"[" * 100_000, b"\xff"])
def test_what_cannot_be_read(body: bytes) -> None:
    """What is no JSON object is unreadable."""
    with pytest.raises(Unreadable):
        resend.parse(signed(body))


def test_bounds() -> None:
    """Nothing that is kept is longer than it may be, or what the database cannot hold."""
    more = {f"n{each}": each for each in range(99)}
    report = only(hook("email.opened", agent="x" * 100_000, nul="a\0b\ud800", **more))
    assert 40 == len(report.detail)
    assert ("x" * 1000, "ab?") == (report.detail["agent"], report.detail["nul"])


def test_replies() -> None:
    """Resend wants a 2xx."""
    assert Reply(status=200) == resend.reply(hook("email.sent"), [], account())


@pytest.mark.parametrize(
    ("origin", "reason"),
    [("bounce", "hard_bounce"), ("complaint", "complaint"), ("manual", "manual"), (5, "manual")],
)
def test_an_address_on_the_list(origin: object, reason: str) -> None:
    """Whom Resend writes to no more is not written to, for the same reason."""
    listed = hook("suppression.added", email="them@example.net", origin=origin)
    [change] = resend.parse(listed)
    assert isinstance(change, ConsentChange)
    assert (reason, "them@example.net", False, False) == (
        change.reason,
        change.address,
        change.is_lifted,
        change.is_own,
    )
    assert MOMENT == change.occurred_at


def test_an_address_that_is_off_the_list() -> None:
    """What Resend said is taken back, whatever it was; without an address nothing is."""
    changes = resend.parse(hook("suppression.removed", email="them@example.net"))
    told = [each for each in changes if isinstance(each, ConsentChange)]
    assert ["hard_bounce", "complaint", "manual"] == [each.reason for each in told]
    assert all(each.is_lifted and each.is_own and each.is_accounts for each in told)
    assert 3 == len({each.key for each in told})
    [nobody] = resend.parse(hook("suppression.removed"))
    assert isinstance(nobody, Unknown)
