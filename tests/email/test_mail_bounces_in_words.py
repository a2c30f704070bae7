"""Bounces that a mail server writes in plain words are reports; letters about them are not."""

import pytest

from channels.model import Status
from tests.email.notices import ID, OURS, events, report
from webhooks.model import ConsentChange, Inbound, StatusReport, Unknown, WebhookEvent

DAEMON = "From: Mailer-Daemon@mx.example.org\n"
QMAIL = (
    "Hi. This is the qmail-send program at example.org.\n"
    "I'm afraid I wasn't able to deliver your message.\n\n<bob@example.org>:\n"
    "Sorry, no mailbox here by that name. User unknown. (#5.1.1)\n\n"
    "--- Below this line is a copy of the message.\n\n"
    f"Return-Path: <shop@example.com>\nMessage-ID: <{OURS}>\nSubject: Hi 5.2.2\n\nHello\n"
)


def test_bounces_in_words() -> None:
    """qmail's bounces have no parts; their words and the copy below are enough."""
    head = "From: MAILER-DAEMON@example.org\nSubject: failure notice\n\n"
    report, change = events((head + QMAIL).encode())
    assert isinstance(report, StatusReport)
    assert (report.external_id, report.status, report.error_code) == (OURS, Status.FAILED, "5.1.1")
    assert report.detail["recipient"] == "bob@example.org"
    assert isinstance(change, ConsentChange)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("From: x@example.org\nReturn-Path: <>\n\n" + QMAIL, StatusReport),
        ("From: x@example.org\n\n" + QMAIL, Inbound),
        ("From: mailer-daemon@x.example\nSubject: Undeliverable: Hi\n\nSorry.", Unknown),
        ("From: mailer-daemon@x.example\nSubject: Your quota\n\nIs low.", Inbound),
        ("From: bob@x.example\nSubject: Undeliverable: Hi\n\nWhat is this?", Inbound),
        ('From: "mailer-daemon@x" <bob@x.example>\nSubject: Undeliverable\n\n' + QMAIL, Inbound),
        ("From: bob@x.example\nReturn-Path: <>\nSubject: Out of office\n\nBack soon.", Inbound),
    ],
)
def test_what_counts_as_a_bounce(raw: str, kind: type[WebhookEvent]) -> None:
    """Only known phrases of a mail server make one; a person's words and absences do not."""
    assert isinstance(events(raw.encode())[0], kind)


JAPANESE = (
    "From: MAILER-DAEMON@mx.example.jp\nSubject: =?utf-8?b?6YWN5L+h44Ko44Op44O8?=\n"
    "Content-Type: text/plain; charset=utf-8\n\n"
    "次のメールは配信できませんでした。\n\n<bob@example.jp>:\n550 5.1.1 unknown user\n\n"
    "---\nMessage-ID: <{0}>\nSubject: Hi\n"
)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (JAPANESE.format(OURS), StatusReport),
        (JAPANESE.format(OURS).replace("5.1.1", "4.2.0"), Inbound),
        (JAPANESE.format("someone@example.com"), Inbound),
        (JAPANESE.format(OURS).replace("MAILER-DAEMON", "bob"), Inbound),
        (f"In-Reply-To: <{OURS}>\n" + JAPANESE.format("someone@example.com"), Inbound),
    ],
)
def test_bounces_in_other_languages(raw: str, kind: type[WebhookEvent]) -> None:
    """A mail server that names one of our mails and a code for good has refused it, whatever its
    words."""
    found = events(raw.encode())
    assert isinstance(found[0], kind)
    if isinstance(found[0], StatusReport):
        assert (found[0].message_id, found[0].status) == (ID, Status.FAILED)


def test_a_letter_from_a_postmaster() -> None:
    """A person may write as postmaster, send our mail back, and name what looks like a code."""
    sent_back = (
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n{0}\n--b\n"
        f"Content-Type: message/rfc822\n\nMessage-ID: <{OURS}>\nSubject: Offer\n\nHi\n--b--\n"
    )
    person = "From: Jane (IT) <postmaster@corp.example>\nSubject: FW: Offer\n"
    robot = person + "Auto-Submitted: auto-replied\n"
    version = "We run Exchange 5.5.0 here, and the attached mail shows no pictures."
    refused = "We got it. Earlier ones were refused with 550 5.1.1 user unknown."
    for head, said in (
        (person, "See section 5.2.1 of the attached offer: is that price right?"),
        (person, version),
        (f"{person}In-Reply-To: <{OURS}>\n", refused),
        (person, refused),
        (robot + "Return-Path: <>\n", version),
        (robot, version),
        (DAEMON + "Subject: x\n", version),
        (person + "Auto-Submitted: no\n", refused),
    ):
        [found] = events((head + sent_back.format(said)).encode())
        assert isinstance(found, Inbound), said
    for head in (robot, person + "Return-Path: <>\n", DAEMON + "Subject: x\n"):
        for said in (f"{version}\n\n{refused}", "5.5.0\n\n<bob@corp.example>:\nNein. (#5.1.1)\n"):
            found, _ = events((head + sent_back.format(said)).encode())
            assert isinstance(found, StatusReport)
            assert (found.status, found.error_code) == (Status.FAILED, "5.1.1")
    [found, _] = events((person + sent_back.format(refused)).encode(), sender="")
    assert isinstance(found, StatusReport)


@pytest.mark.parametrize(
    ("author", "subject", "said"),
    [
        ("postmaster@kunde.example", "Re: Your order", "The parcel could not be delivered."),
        ("postmaster@kunde.example", "Your order", "The parcel could not be delivered."),
        ("postmaster@kunde.example", "AW: Mail delivery failed", "Is it there by now?"),
        ("thepostmaster@kunde.example", "Undelivered parcels", "Where are they?"),
        ("dear-mailer-daemon@kunde.example", "Undelivered parcels", "Where are they?"),
    ],
)
def test_the_words_of_a_person_who_is_the_postmaster(author: str, subject: str, said: str) -> None:
    """What a mail server says in a bounce, a person may say in a letter."""
    raw = f"From: {author}\nSubject: {subject}\nIn-Reply-To: <{OURS}>\n\n{said}\n"
    [found] = events(raw.encode())
    assert isinstance(found, Inbound)


def test_a_bounce_that_answers() -> None:
    """A robot's words count whatever its subject is, and a postmaster's with a bounce's subject."""
    for head in (
        DAEMON + "Subject: Re: Your order\n",
        "From: postmaster@x.example\nAuto-Submitted: auto-replied\nSubject: Re: Your order\n",
        "From: postmaster@x.example\nSubject: Undeliverable: Re: Your order\n",
    ):
        raw = f"{head}In-Reply-To: <{OURS}>\n\nIt could not be delivered: 550 5.1.1 unknown.\n"
        assert Status.FAILED is report(raw.encode()).status


def test_a_delay_in_words() -> None:
    """A warning that a server still tries changes nothing."""
    raw = (
        "From: postmaster@x.example\nSubject: Delivery Status Notification (Delay)\n\n"
        f"It will be retried.\n\nMessage-ID: <{OURS}>\n"
    )
    found = report(raw.encode())
    assert (found.word, found.status) == ("delayed", None)


LATE = f"Message-ID: <{OURS}>\nSubject: Your train is delayed\n\nIt is delayed.\n"
EXCHANGE = f"From: Outlook <MicrosoftExchange{'0a' * 16}@corp.example>\nReturn-Path: <>\n"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (
            DAEMON + "Subject: failure notice",
            (
                "Hi. This is the qmail-send program.\n\n<bob@example.org>:\nNo such user.\n\n"
                "--- Below this line is a copy of the message.\n\n"
            ),
        ),
        (
            DAEMON + "Subject: Mail delivery failed: returning message to sender",
            (
                "This is a permanent error. These address(es) failed:\n\n  bob@example.org\n\n"
                "------ This is a copy of the message, including all the headers. ------\n\n"
            ),
        ),
        (
            DAEMON + "Subject: Delivery Status Notification (Failure)",
            (
                "Delivery to the following recipient failed permanently:\n\n  bob@example.org\n\n"
                "----- Original message -----\n\n"
            ),
        ),
        (
            EXCHANGE + "Subject: Undeliverable: Your train is delayed, sorry",
            (
                "Delivery has failed to these recipients or groups:\n\nbob@example.org\n"
                "Subject: Your train is delayed\n\n#550 5.1.1 RecipNotFound; not found ##\n\n"
                "Original message headers:\n\n"
            ),
        ),
        (
            DAEMON + "Subject: Returned mail: see transcript for details",
            (
                "   ----- The following addresses had permanent fatal errors -----\n"
                "<bob@example.org>\n\n   ----- Transcript of session follows -----\n"
                "<<< 550 5.1.1 <bob@example.org>... User unknown\n\n"
                "   ----- Original message follows -----\n\n"
            ),
        ),
        (
            DAEMON + "Subject: Undeliverable: Your train is delayed",
            "It was delayed, and is refused: 550 5.1.1 unknown.\n\n",
        ),
    ],
)
def test_a_bounce_of_a_mail_about_a_delay(head: str, said: str) -> None:
    """What the mail itself says in its copy or subject does not make a failure a delay."""
    found = report(f"{head}\n\n{said}{LATE}".encode())
    assert (found.word, found.status, found.external_id) == ("bounced", Status.FAILED, OURS)
    assert found.error_code == ("5.1.1" if "5.1.1" in said else None)


def test_a_warning_in_words() -> None:
    """Exim's warning is a report, and no letter."""
    said = "A message has not yet been delivered to one or more of its recipients.\n\n"
    head = DAEMON + "Subject: Warning: message 1vOaBc-0001 delayed 24 hours"
    found = report(f"{head}\n\n{said}Message-ID: <{OURS}>\n".encode())
    assert (found.word, found.status) == ("delayed", None)


EXIM = (
    "From: Mail Delivery System <mailer-daemon@mx.example.org>\n"
    "Subject: Mail delivery failed: returning message to sender\n\n"
    "A message that you sent could not be delivered to one or more of its\n"
    "recipients. This is a permanent error. The following address(es) failed:\n\n"
    "  bob@example.org\n    host mx2.example.org [192.0.2.222]\n"
    "    SMTP error from remote mail server after RCPT TO:<bob@example.org>:\n    {0}\n\n"
    "------ This is a copy of the message, including all the headers. ------\n\n"
    f"Message-Id: <{OURS}>\nSubject: Hi\n\nHello\n"
)


def test_an_address_without_brackets() -> None:
    """What the other server answered is told, and counts, where the address has no brackets."""
    found, change = events(EXIM.format("550 No such user here").encode())
    assert isinstance(found, StatusReport)
    assert (Status.FAILED, None) == (found.status, found.error_code)
    assert "(550 No such user here)" in str(found.error_message)
    assert isinstance(change, ConsentChange)


@pytest.mark.parametrize(
    "said",
    [
        "550 5.1.1 <shop@example.com>: Sender address rejected: User unknown",
        "host mx.example.org [192.0.2.222]: 550 5.1.1 <shop@example.com>: Sender address rejected",
        "after MAIL FROM:<shop@example.com>: 550 5.1.1 Sender address rejected: User unknown",
        "host mx.example.org [192.0.2.222]: 550-5.2.1 It is receiving mail at a rate\n    550 that",
    ],
)
def test_whose_fault_it_is_in_words(said: str) -> None:
    """A refusal of our address, or of too much mail, is not one of the recipient's address."""
    (found,) = events(EXIM.format(said).encode())
    assert isinstance(found, StatusReport)
    assert Status.FAILED is found.status


@pytest.mark.parametrize(
    "raw",
    [
        EXIM.format("451 4.7.1 Greylisted, mail delayed, please try later: retry timeout exceeded"),
        "From: MAILER-DAEMON@example.org\nSubject: failure notice\n\n"
        + QMAIL.replace(
            "Sorry, no mailbox here by that name. User unknown. (#5.1.1)",
            "Remote host said: 451 4.3.0 Message delayed by content filter\n"
            "I'm not going to try again; this message has been in the queue too long.",
        ),
    ],
)
def test_who_has_given_up_tries_no_more(raw: str) -> None:
    """A last reply that speaks of a delay does not make the end of it one."""
    assert Status.FAILED is report(raw.encode()).status


ROBOT = "From: MAILER-DAEMON@mx.example.org\nReturn-Path: <>\n"
SENT_BACK = (
    f"\n--- Below this line is a copy of the message.\n\nMessage-ID: <{OURS}>\nSubject: Hi\n"
)


@pytest.mark.parametrize(
    ("subject", "said", "word"),
    [
        ("Mail Not Delivered", "It did not reach <bob@example.org>.", "bounced"),
        ("failure delivery", "It did not reach <bob@example.org>.", "bounced"),
        ("Ваше сообщение не доставлено. Mail failure.", "Account is disabled.", "bounced"),
        ("Message delivery has failed", "No further attempts will be made.", "bounced"),
        ("=?utf-8?b?57O757uf6YCA5L+h?=", "550 User not found: bob@example.org", "bounced"),
        ("邮件传输失败！", "<bob@example.org>:", "bounced"),
        ("メールが配信できませんでした", "<bob@example.org>:", "bounced"),
        ("Your mail", "We were unable to deliver it to bob@example.org.", "bounced"),
        ("Your mail", "It was blocked by our filter and has not been delivered.", "bounced"),
        ("Your mail", "It has not been delivered yet.", "delayed"),
        ("Your mail", "It has not been delivered pending your approval.", "delayed"),
        ("Your mail", "We were unable to deliver it for 4 hours, and keep trying.", "delayed"),
        ("Your mail", "It was not delivered so far.", "delayed"),
        ("Your mail", "We were unable to deliver it. Attempts will continue.", "delayed"),
        ("Your mail", "It was not delivered. It will be tried again.", "delayed"),
        ("Your mail", "We were not able to deliver it. Correct it and try again.", "bounced"),
        ("Your mail", "It was not delivered. Others will continue to be refused.", "bounced"),
        ("Warning: message delayed 2 days", "Attempts will continue.", "delayed"),
        ("Warning: message has not yet been delivered", "Attempts will continue.", "delayed"),
    ],
)
def test_what_mail_servers_say(subject: str, said: str, word: str) -> None:
    """The words of Mail.ru, IONOS, NetEase and others are known, also in what only warns."""
    found = report(f"{ROBOT}Subject: {subject}\n\n{said}\n{SENT_BACK}".encode())
    status = Status.FAILED if word == "bounced" else None
    assert (word, status, ID) == (found.word, found.status, found.message_id)


def attached(head: str, said: str, mail_id: str = OURS) -> bytes:
    """A mail that brings another one back as a file."""
    parts = (
        f"--b\n\n{said}\n--b\nContent-Type: message/rfc822\n\nMessage-ID: <{mail_id}>\n\n--b--\n"
    )
    return f"{head}Content-Type: multipart/mixed; boundary=b\n\n{parts}".encode()


def test_robots_of_other_names() -> None:
    """A filter that has no mail server's name sends our own mail back, and its subject says so."""
    filtered = "From: imss@corp.example\nReturn-Path: <>\nSubject: Mail could not be delivered\n"
    said = "Received >>> 550 5.1.1 unknown user.\n"
    found = report(attached(filtered, said))
    assert (Status.FAILED, "5.1.1", ID) == (found.status, found.error_code, found.message_id)
    named = report(f"{filtered}\n{said}{SENT_BACK}".encode())
    assert (Status.FAILED, ID) == (named.status, named.message_id)
    program = "From: MDaemon@corp.example\nSubject: Permanent Delivery Failure\n"
    assert Status.FAILED is report(attached(program, said)).status
    for head, mail_id in (
        (filtered, "x@example.org"),
        (filtered.replace("Return-Path: <>\n", ""), OURS),
        (filtered.replace("Subject: ", "Subject: Re: "), OURS),
        (filtered.replace("Mail could not be delivered", "Out of office"), OURS),
    ):
        assert isinstance(events(attached(head, said, mail_id))[0], Inbound)


@pytest.mark.parametrize("robot", ["Return-Path: <>", "Auto-Submitted: auto-replied"])
@pytest.mark.parametrize(
    "subject", ["Automatic reply: Your delivery report", "[Ticket 4] Undelivered parcel"]
)
def test_automatic_replies_that_bring_our_mail(robot: str, subject: str) -> None:
    """Who is away repeats our subject, whatever it says, and may send our mail back, too."""
    head = f"From: ann@customer.example\n{robot}\nSubject: {subject}\n"
    away = "I am away until Monday."
    for raw in (attached(head, away), f"{head}\n{away}\n{SENT_BACK}".encode()):
        assert isinstance(events(raw)[0], Inbound)


def test_a_bounce_in_html() -> None:
    """Words that come as HTML alone are read as well."""
    head = f"{ROBOT}Subject: Failure Notice\nIn-Reply-To: <{OURS}>\nContent-Type: text/html\n\n"
    said = "<p>Sorry.</p><p>&lt;bob@example.org&gt;:<br>550: 5.1.1 User unknown</p>"
    found, change = events((head + said).encode())
    assert isinstance(found, StatusReport)
    assert (ID, "5.1.1") == (found.message_id, found.error_code)
    assert "bob@example.org" == found.detail["recipient"]
    assert isinstance(change, ConsentChange)
    empty = report((head + "<p></p>").encode())
    assert (ID, None) == (empty.message_id, empty.error_code)
