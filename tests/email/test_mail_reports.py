"""Bounces and complaints in the standard forms (RFC 3464, RFC 5965) are reports about a message."""

from base64 import encodebytes
from datetime import UTC, datetime

import pytest

from channels.model import Channel, Status
from tests.email.notices import ID, OURS, events, report
from webhooks.model import ConsentChange, Inbound, Reason, StatusReport, Unknown, WebhookEvent

DATE = datetime(2026, 1, 1, 12, tzinfo=UTC)
HEAD = (
    "From: MAILER-DAEMON@mx.example.org\nSubject: Undelivered Mail Returned to Sender\n"
    "Date: Thu, 01 Jan 2026 12:00:00 +0000\nMessage-ID: <n@mx.example.org>\n"
)
FAILED = (
    "Final-Recipient: rfc822; bob@example.org\nAction: failed\nStatus: 5.1.1\n"
    "Diagnostic-Code: smtp; 550 5.1.1 no such\n user\n"
)


def dsn(
    *blocks: str,
    original: str = f"Message-ID: <{OURS}>\n",
    kind: str = "multipart/report; report-type=delivery-status",
    part: str = "message/delivery-status",
    returned: str = "text/rfc822-headers",
    head: str = HEAD,
) -> bytes:
    """A delivery status notification about these recipients."""
    status = "\n".join(["Reporting-MTA: dns; mx.example.org\n", *blocks])
    return (
        f"{head}MIME-Version: 1.0\nContent-Type: {kind}; boundary=b\n\n--b\n\nSorry.\n"
        f"--b\nContent-Type: {part}\n\n{status}\n--b\nContent-Type: {returned}\n\n"
        f"{original}Subject: Hi\n\n--b--\n"
    ).encode()


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_however_its_lines_end(end: str) -> None:
    """A bounce is one with any line ends."""
    assert events(dsn(FAILED)) == events(dsn(FAILED).replace(b"\n", end.encode()))


def test_a_bounce() -> None:
    """A permanent failure of an address fails the message and suppresses its address."""
    detail = {
        "recipient": "bob@example.org", "action": "failed", "status": "5.1.1",
        "diagnostic": "smtp; 550 5.1.1 no such user",
        "subject": "Undelivered Mail Returned to Sender", "notice_id": "n@mx.example.org",
    }  # fmt: skip
    key = f"smtp:{OURS}:bounced:bob@example.org"
    expected = [
        StatusReport(
            external_id=OURS,
            message_id=ID,
            status=Status.FAILED,
            word="bounced",
            key=f"{key}:n@mx.example.org",
            occurred_at=DATE,
            error_code="5.1.1",
            error_message="The mailbox does not exist. (550 5.1.1 no such user)",
            detail=detail,
        ),
        ConsentChange(
            channel=Channel.EMAIL,
            reason=Reason.HARD_BOUNCE,
            group="inbound mail",
            is_accounts=True,
            message_id=ID,
            external_id=OURS,
            word="bounced",
            key=f"{key}:hard_bounce",
            occurred_at=DATE,
            detail=detail,
        ),
    ]
    assert events(dsn(FAILED)) == expected


@pytest.mark.parametrize(
    ("original", "is_bad"),
    [
        ("rfc822; team@example.org", False),
        ("rfc822;Bob@EXAMPLE.org", True),
        ("rfc822;<bob@example.org>", True),
        ("rfc822;bo+62@example.org", True),
        ("rfc822;bob", True),
        ("unknown;", True),
    ],
)
def test_a_bounce_of_a_list(original: str, *, is_bad: bool) -> None:
    """Where a mail was sent on to another mailbox, the address that it was sent to is not bad."""
    found = events(dsn(f"Original-Recipient: {original}\n{FAILED}"))
    assert isinstance(found[0], StatusReport)
    assert Status.FAILED is found[0].status
    assert is_bad == any(isinstance(each, ConsentChange) for each in found)


@pytest.mark.parametrize(
    ("block", "word", "status", "code"),
    [
        ("Final-Recipient:rfc822;a@b.example\nAction: Failed\nStatus: 4.4.1 (gave up)", "bounced",
         Status.FAILED, "4.4.1"),
        ("Final-Recipient: rfc822; a@b.example\nAction: delayed\nStatus: 4.4.1", "delayed", None,
         "4.4.1"),
        ("Final-Recipient: rfc822; a@b.example\nAction: delivered\nStatus: 2.1.5", "delivered",
         Status.DELIVERED, None),
        ("Final-Recipient: rfc822; a@b.example\nAction: relayed", "relayed", None, None),
        ("Final-Recipient: rfc822; a@b.example\nAction: expanded (list)", "expanded", None, None),
        ("Final-Recipient: rfc822; a@b.example\nStatus: 5.2.2", "bounced", Status.FAILED, "5.2.2"),
        ("Final-Recipient: rfc822; a@b.example\nDiagnostic-Code: smtp; 421 4.7.0 x", "delayed",
         None, "4.7.0"),
        ("Final-Recipient: rfc822; a@b.example\nAction: odd\nStatus: x", "odd", None, None),
        ("Final-Recipient: rfc822; a@b.example", "unreadable", None, None),
        ("Action: failed\nStatus: 5.9.9", "bounced", Status.FAILED, "5.9.9"),
    ],
)  # fmt: skip
def test_words(block: str, word: str, status: Status | None, code: str | None) -> None:
    """The action decides; without one the class of the status does."""
    found = report(dsn(block + "\n"))
    assert (found.word, found.status, found.error_code) == (word, status, code)


@pytest.mark.parametrize(
    ("status", "diagnostic", "expected"),
    [
        ("5.1.1", "", True), ("5.1.10", "", True), ("5.2.1", "", True), ("5.1.8", "", False),
        ("5.2.2", "550 user unknown", False), ("5.7.1", "550 policy", False), ("4.1.1", "", False),
        ("5.0.0", "smtp; 550 Unknown user bob", True), ("5.0.0", "smtp; 550 blocked", False),
        ("", "smtp; 550 Mailbox not found", True), ("", "smtp; 554 blocked", False),
        ("", "smtp; user unknown", False), ("5.4.1", "smtp; 550 5.4.1 no route", False),
        ("5.4.1", "smtp;550 5.4.1 Recipient address rejected: Access denied. [x.y]", True),
        ("5.4.310", "smtp;550 5.4.310 DNS domain b.example does not exist", True),
        ("5.7.1", "smtp; 554 5.7.1 Recipient address rejected: Access denied", False),
        ("5.1.0", "smtp; 550 5.1.0 <a@b.c>: Sender address rejected: User unknown in t", False),
        ("5.1.1", "smtp; 550 5.1.1 <a@b.c>: Sender address rejected: User unknown", False),
        ("5.0.0", "smtp; 550-Verification failed for <a@b.c> 550-No Such User Here", False),
        ("5.2.1", "smtp; 550-5.2.1 The user is receiving mail at a rate that prevents", False),
        ("5.1.1", "smtp; 550 5.1.1 Recipient verification failed for <a@b.example>: unknown", True),
        ("5.1.1", "smtp; 550 5.1.1 <a@b.c>: Sender address rejected: not owned by user", False),
        ("5.0.0", "smtp; 550 User [a@b.example] does not exist", True),
        ("5.0.0", "smtp; 554 Rcpt <a@b.example> does not exist", True),
        ("5.0.0", 'smtp; 550 "a@b.example" is not a known user', True),
        ("5.0.0", "smtp; 554 dd This user doesn't have a yahoo.example account (a) [0]", True),
        ("5.0.0", "smtp; 550 5.1.1 <a@b.example>... User Unknown", True),
        ("5.0.0", "X-Postfix; host mx said: 550 5.1.1 <a@b.example> is no mailbox", True),
        ("5.0.0", "smtp; 554 5.7.1 <a@b.example> does not exist", False),
        ("5.0.0", "smtp; 452 4.2.2 full", False),
        ("5.1.1", "smtp; 553 Sender Policy Framework (SPF) fail... User unknown", False),
        ("5.1.1", "smtp; 550 5.1.1 rejected by DMARC policy... User unknown", False),
        ("5.1.1", "smtp; 550 5.1.1 <dkim@spf.example> User unknown (dmarc.example/spf)", True),
        ("5.1.0", "smtp; 550 5.1.0 Sender address <us@x.example> does not exist", False),
        ("5.0.0", "smtp; 550 From address <us@x.example> not found", False),
        ("5.1.0", "smtp; 550 Return address us@x.example is unknown", False),
        ("5.0.0", "smtp; 550 Sender is not a known user", False),
        ("5.1.1", "smtp; 550 RCPT from unknown[192.0.2.1]: 5.1.1 User unknown", True),
        ("5.0.0", "smtp; 552 This user doesn't have a byte left", False),
        ("5.0.0", "smtp; 550 See section 5.2.1 of our rules", False),
        ("5.0.0", "smtp; 550 Invalid (#5.1.1)", True),
        ("5.0.0", "smtp; 550 <a@b.example> is not a valid mailbox", True),
        ("5.0.0", "smtp; 550 You are not a valid user", False),
    ],
)  # fmt: skip
def test_bad_addresses(status: str, diagnostic: str, expected: bool) -> None:  # noqa: FBT001
    """Only what is wrong with the address itself suppresses it."""
    block = f"Final-Recipient: rfc822; a@b.example\nAction: failed\nStatus: {status}\n"
    found = events(dsn(f"{block}Diagnostic-Code: {diagnostic}\n"))
    assert any(isinstance(each, ConsentChange) for each in found) is expected


@pytest.mark.parametrize(
    ("diagnostic", "words"),
    [
        (
            "550 5.1.1 <s@example.com>: Sender address rejected: Unknown",
            "does not accept our address",
        ),
        ("550-5.2.1 The user is receiving mail at a rate that", "more mail than it takes"),
        ("550 5.0.0 said: 550 5.2.2 over quota", "The mailbox is full."),
    ],
)
def test_what_the_code_does_not_say(diagnostic: str, words: str) -> None:
    """A refusal of our own address, or of too much mail, is not told as a bad address; what says
    nothing does not hide what the other server said."""
    block = f"Final-Recipient: rfc822; a@b.example\nAction: failed\nStatus: {diagnostic[4:9]}\n"
    found = report(dsn(f"{block}Diagnostic-Code: smtp; {diagnostic}\n"))
    assert words in str(found.error_message)


@pytest.mark.parametrize("blank", ["\n", " \n\n"])
def test_a_status_without_content(blank: str) -> None:
    """Google sends one of blank lines alone: then what is said in words counts."""
    head = HEAD.replace("mx.example.org", "googlemail.com")
    raw = dsn(head=head, original=f"Message-ID: <{OURS}>\n").decode()
    before, _, after = raw.partition("Reporting-MTA: dns; mx.example.org\n\n")
    found = report(
        (before + blank + after.lstrip("\n")).replace("Sorry.", "Undeliverable").encode()
    )
    assert (OURS, Status.FAILED) == (found.external_id, found.status)


def test_several_recipients() -> None:
    """Each has its own report, with or without an empty line between them."""
    other = FAILED.replace("bob@", "eve@")
    for blocks in ([FAILED, other], [FAILED + other]):
        found = [each for each in events(dsn(*blocks)) if isinstance(each, StatusReport)]
        assert [each.detail["recipient"] for each in found] == [
            "bob@example.org",
            "eve@example.org",
        ]
        assert len({each.key for each in found}) == 2


@pytest.mark.parametrize(
    "returned",
    [
        "message/rfc822", "text/rfc822-headers", "message/rfc822-headers",
        "message/global-headers", "message/partial",
    ],
)  # fmt: skip
def test_what_is_returned(returned: str) -> None:
    """The message is found by its Message-ID, whichever part brings it back."""
    assert report(dsn(FAILED, returned=returned)).external_id == OURS
    original = "MESSAGE-ID:\n <x@y.example>\n"
    found = report(dsn(FAILED, returned="text/rfc822-headers", original=original))
    assert (found.external_id, found.message_id) == ("x@y.example", None)


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (f"{HEAD}In-Reply-To: <{OURS}>\n", ""),
        (f"{HEAD}References: <{OURS}>\n", ""),
        (HEAD, f"X-Original-Message-ID: <{OURS}>\n"),
    ],
)
def test_nothing_is_returned(head: str, more: str) -> None:
    """Without a copy of the mail, the message is the one that the notice answers or names."""
    found = report(dsn(more + "\n" + FAILED, original="", head=head))
    assert (Status.FAILED, OURS, ID) == (found.status, found.external_id, found.message_id)


@pytest.mark.parametrize("domain", ["email.amazonses.com", "eu-west-1.amazonses.com"])
def test_a_message_id_of_amazons(domain: str) -> None:
    """What SES sends on names the mail by SES's own id, which is before the @."""
    found = report(dsn(FAILED, original=f"Message-ID: <0102019a-1c-000000@{domain}>\n"))
    assert ("0102019a-1c-000000", None) == (found.external_id, found.message_id)
    found = report(dsn(FAILED, original="Message-ID: <a@amazonses.com.example.org>\n"))
    assert "a@amazonses.com.example.org" == found.external_id


def test_the_same_bounce_twice() -> None:
    """The same notice has the same key, a later one another."""
    later = HEAD.replace("<n@", "<m@")
    keys = {report(raw).key for raw in (dsn(FAILED), dsn(FAILED), dsn(FAILED, head=later))}
    assert len(keys) == 2


def test_no_message_is_named() -> None:
    """What names no message is kept, and is no letter."""
    assert [type(each) for each in events(dsn(FAILED, original=""))] == [Unknown]
    assert [type(each) for each in events(dsn("nothing\n"))] == [Unknown]


def test_bounces_without_the_right_type() -> None:
    """A delivery status in a plain mixed mail counts where a mail server wrote it."""
    assert isinstance(events(dsn(FAILED, kind="multipart/mixed"))[0], StatusReport)
    person = "From: bob@example.org\nSubject: Fwd: look\n"
    assert isinstance(events(dsn(FAILED, kind="multipart/mixed", head=person))[0], Inbound)
    found = events(dsn(FAILED, kind="multipart/mixed", head=person), sender="<>")
    assert isinstance(found[0], StatusReport)


PACKED = "\nContent-Transfer-Encoding: base64"


@pytest.mark.parametrize("part", ["message/delivery-status", "message/global-delivery-status"])
def test_a_bounce_in_base64(part: str) -> None:
    """What no server should pack is read all the same: the statuses, and the mail's own copy."""
    plain = f"Reporting-MTA: dns; mx.example.org\n\n{FAILED}"
    copy = f"Message-ID: <{OURS}>\nSubject: Hi\n\n"
    raw = dsn(FAILED, part=part + PACKED, returned="message/rfc822" + PACKED).decode()
    packed = raw.replace(plain, encodebytes(plain.encode()).decode())
    packed = packed.replace(copy, encodebytes(copy.encode()).decode() + "\n")
    assert FAILED not in packed
    assert OURS not in packed
    assert [type(each) for each in events(packed.encode())] == [StatusReport, ConsentChange]
    found = report(packed.encode())
    assert (found.external_id, found.status, found.error_code) == (OURS, Status.FAILED, "5.1.1")
    assert report(raw.encode()).status == Status.FAILED  # it only says that it is packed


def test_the_last_boundary_is_missing() -> None:
    """A bounce that ends too early is one."""
    assert report(dsn(FAILED).removesuffix(b"--b--\n")).status == Status.FAILED


def test_a_bounce_with_a_footer() -> None:
    """What a server on the way wraps, to add its own words, is a bounce whoever wrote it; one that
    a person sends on as a file is a letter."""
    head = "From: Somebody <x@example.org>\nSubject: Undeliverable\n"
    outer = f"{head}Content-Type: multipart/mixed; boundary=o\n\n--o\n".encode()
    inner = dsn(FAILED, head="")
    footer = b"\n--o\n\nPlease think of the trees.\n--o--\n"
    assert report(outer + inner + footer).external_id == OURS
    as_file = b"Content-Type: message/rfc822\n\n" + dsn(FAILED)
    assert isinstance(events(outer + as_file + footer)[0], Inbound)


def arf(kind: str, original: str = f"Message-ID: <{OURS}>\n") -> bytes:
    """A complaint of this type."""
    fields = f"Feedback-Type: {kind}\nUser-Agent: Some/1\nOriginal-Rcpt-To: <bob@example.org>\n"
    return dsn(
        original=original,
        kind="multipart/report; report-type=feedback-report",
        part="message/feedback-report",
        returned="message/rfc822",
    ).replace(b"Reporting-MTA: dns; mx.example.org\n", fields.encode())


@pytest.mark.parametrize(
    ("kind", "word", "reason"),
    [
        ("abuse", "complaint", Reason.COMPLAINT), ("Fraud", "complaint", Reason.COMPLAINT),
        ("opt-out", "opt-out", Reason.UNSUBSCRIBE), ("not-spam", "not-spam", None),
        ("auth-failure", "auth-failure", None), ("", "unreadable", None),
    ],
)  # fmt: skip
def test_complaints(kind: str, word: str, reason: Reason | None) -> None:
    """A complaint or an opt-out suppresses the message's address; no status changes."""
    found = events(arf(kind))
    told = [(each.word, each.status) for each in found if isinstance(each, StatusReport)]
    assert told == [(word, None)]
    changes = [each for each in found if isinstance(each, ConsentChange)]
    assert [each.reason for each in changes] == ([reason] if reason else [])
    assert all((each.address, each.message_id) == (None, ID) for each in changes)


def test_a_complaint_whose_copy_has_no_brackets() -> None:
    """Some leave out the <> around the Message-ID of the mail that they complain of."""
    found, change = events(arf("abuse", original=f"Message-ID: {OURS}\n"))
    assert isinstance(found, StatusReport)
    assert isinstance(change, ConsentChange)
    assert (ID, ID) == (found.message_id, change.message_id)
    assert isinstance(events(arf("abuse", original="Message-ID: none\n"))[0], Unknown)


def test_a_failure_in_other_words() -> None:
    """A server that says `failure` has failed, and tells why in place of a status."""
    block = "Final-Recipient: rfc822; bob@example.org\nAction: failure\nStatus: 553 Too large\n"
    for each in (block, block.replace("Action: failure\n", "")):
        found = report(dsn(each))
        assert (Status.FAILED, None) == (found.status, found.error_code)
        assert "(553 Too large)" in str(found.error_message)


def test_a_complaint_about_nothing() -> None:
    """A complaint that names no message is kept."""
    [found] = events(arf("abuse", original=""))
    assert isinstance(found, Unknown)
    assert (found.word, found.detail["recipient"]) == ("complaint", "bob@example.org")


@pytest.mark.parametrize(
    ("sender", "subject", "original", "kind"),
    [
        ("staff@hotmail.com", "complaint about message from 192.0.2.1", OURS, ConsentChange),
        ("staff@hotmail.com", "complaint about message from 192.0.2.1", None, Inbound),
        ("flagstaff@hotmail.com", "complaint about message from your agent", OURS, Inbound),
        (
            '"staff@hotmail.com" <eve@evil.example>',
            "complaint about message from 192.0.2.1",
            OURS,
            Inbound,
        ),
        ("staff@hotmail.com", "About your account", OURS, Inbound),
        ("bob@hotmail.com", "complaint about message from 192.0.2.1", OURS, Inbound),
    ],
)
def test_complaints_as_microsoft_writes_them(
    sender: str, subject: str, original: str | None, kind: type[WebhookEvent]
) -> None:
    """Outlook.com's feedback loop sends the mail itself, in its own frame and no report; what
    brings none of ours, or has its address for a name, is a letter."""
    named = f"Message-ID: <{original}>\n" if original else ""
    raw = (
        f"From: {sender}\nTo: <abuse@example.com>\nSubject: {subject}\nMessage-ID: <c@h>\n"
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
        "--b\nContent-Type: message/rfc822\nContent-Disposition: inline\n\n"
        f"X-HmXmrOriginalRecipient: bob@hotmail.com\n{named}Subject: Hi\n\nHello\n--b--\n"
    )
    found = events(raw.encode())
    assert isinstance(found[-1], kind)
    for change in found:
        if isinstance(change, ConsentChange):
            assert (change.reason, change.message_id) == (Reason.COMPLAINT, ID)
