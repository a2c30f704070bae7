"""What became of a mail, where a code alone would mislead: put off, complained about, refused."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.why import explain
from gateway.why.reasons import failure
from tests.why.told import ago, event, queued, story


def mail(*events: dict[str, Any], **more: Any) -> tuple[str, str | None]:
    """What is said of a mail that goes through an SMTP server."""
    about = more.pop("about", {}) | {"events": events}
    told = explain(story("email", "smtp", about=about, **more))
    return told.summary, told.advice


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        *((code, "The mail server asks to try again later.") for code in ("4.2.0", "451", "4.4.2")),
        *((code, "The recipient's mailbox is full.") for code in ("4.2.2", "452")),
    ],
)
def test_put_off(code: str, reason: str) -> None:
    """A mail that is tried again was not given up, whatever its code says of one that was."""
    refusal = event("refused_for_now", error_code=code, next_attempt_after=1.0)
    place = queued(refusals=1, attempts=1)
    summary, _ = mail(refusal, about={"queued": place})

    assert f"was not taken for now. {reason} It is tried again at once." in summary


def test_complained_about_before_a_report() -> None:
    """Who complained about a mail has it: nobody is told to look for it among spam."""
    complaint = event("complaint", source="smtp")
    _, advice = mail(event("sent", "sent"), complaint, status="sent", sent_at=ago(minutes=5))

    assert "spam or junk" not in str(advice)
    assert "spam" in str(advice)


@pytest.mark.parametrize("code", ["5.7.3", "5.7.57", "5.7.60", "5.7.139"])
def test_our_own_access(code: str) -> None:
    """What an administrator has to mend is not told as a text that has to be written otherwise."""
    found = failure("email", "smtp", code, "No.")

    assert "administrator" in found.advice
    assert "differently" not in found.advice


@pytest.mark.parametrize(("reasons", "may_be"), [((), True), (("stop",), False)])
def test_suppressed_then(reasons: tuple[str, ...], *, may_be: bool) -> None:
    """Once nothing keeps an address from being written to, that is said."""
    _, advice = mail(status="failed", error_code="suppressed", about={"suppressions": reasons})

    assert may_be == ("They may be written to again by now: send it anew." == advice)


@pytest.mark.parametrize(
    ("code", "said", "text"),
    [
        ("5.1.1", "550 5.1.1 <a@b.c>: Sender address rejected: User unknown", "was sent from"),
        ("5.2.1", "The user you are trying to contact is receiving mail at a rate", "more mail"),
        ("5.7.1", "Sender address rejected: not owned by user shop", "by its rules"),
        ("530", "5.7.0 Sender address rejected: not logged in", "access"),
        ("5.1.1", "Recipient verification failed for <a@b.c>: user unknown", "does not exist"),
        ("5.0.0", "550 Unknown user a@b.c", "does not exist"),
        ("550", "No such user here", "does not exist"),
        ("5.7.1", "550 Unknown user a@b.c", "by its rules"),
        ("550", "SPF: unknown user", "takes no mail from us"),
    ],
)
def test_what_the_code_does_not_say(code: str, said: str, text: str) -> None:
    """Where a server's words say whose fault it is, they count more than its code."""
    assert text in failure("email", "smtp", code, f"It came back. ({said})").text
