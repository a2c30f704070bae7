"""Why a message failed, by its code: plain words and advice for every code that there is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import webhooks.mailgun
import webhooks.postmark
import webhooks.resend
import webhooks.sendgrid
import webhooks.ses
import webhooks.twilio.calls
from channels import smtp_replies
from channels.model import Status
from channels.providers import postmark, resend, ses
from channels.providers.meta import reasons as meta
from channels.providers.twilio import reasons as twilio
from gateway.registry import PROVIDERS
from gateway.why import Reason, failure, own_reasons
from gateway.why.twilio_reasons import CALLS, TWILIO
from webhooks.mail import codes

ROOT = Path(__file__).resolve().parents[2]
# What `webhooks.postmark.STATUSES` calls failed, by its number.
# https://postmarkapp.com/developer/api/bounce-api#bounce-types
POSTMARK_TYPES = {
    "HardBounce": "1", "SoftBounce": "4096", "VirusNotification": "8192",
    "BadEmailAddress": "100000", "ManuallyDeactivated": "100002", "Unconfirmed": "100003",
    "Blocked": "100006", "SMTPApiError": "100007", "DMARCPolicy": "100009",
    "TemplateRenderingFailed": "100010",
}  # fmt: skip
UNKNOWN = ("gave a reason that the gateway has no words for", "gave no reason (code")


def failing(statuses: object) -> Iterator[str]:
    """The words of a provider that mean a failure."""
    assert isinstance(statuses, dict)
    return (word for word, status in statuses.items() if status is Status.FAILED)


KNOWN: list[tuple[str, str, set[str]]] = [
    *(
        (channel, "twilio", {*twilio.REASONS, *twilio.RETRYABLE, *twilio.OPT_OUTS} - CALLS.keys())
        for channel in ("sms", "whatsapp", "call")
    ),
    ("call", "twilio", {*failing(webhooks.twilio.calls.STATUSES), *CALLS}),
    ("whatsapp", "meta", {*meta.REASONS, *meta.RETRYABLE, meta.OPTED_OUT, "200", "299"}),
    ("email", "postmark", {*postmark.REASONS, *postmark.RETRYABLE}),
    (
        "email",
        "postmark",
        {POSTMARK_TYPES[word] for word in failing(webhooks.postmark.STATUSES)},
    ),
    (
        "email",
        "ses",
        {*ses.REASONS, *ses.RETRYABLE, *failing(webhooks.ses.STATUSES), *webhooks.ses.BOUNCES,
         *webhooks.ses.SUPPRESSED, "Bounce"},
    ),
    ("email", "resend", {*resend.REASONS, *failing(webhooks.resend.STATUSES)}),
    (
        "email",
        "sendgrid",
        {*webhooks.sendgrid.WORDS, *webhooks.sendgrid.DROPPED,
         *failing(webhooks.sendgrid.STATUSES)},
    ),
    (
        "email",
        "mailgun",
        {*webhooks.mailgun.FAILED, *webhooks.mailgun.WORDS, *failing(webhooks.mailgun.STATUSES)},
    ),
    (
        "email",
        "smtp",
        {*smtp_replies.REASONS, *codes.REASONS, *codes.BAD_ADDRESS,
         *codes.UNSPECIFIC},
    ),
    ("email", "smtp", {code.replace("5.", "4.", 1) for code in codes.REASONS}),
]  # fmt: skip


def known_codes() -> Iterator[tuple[str, str, str]]:
    """(channel, provider, code) of all that channels/* and webhooks/* know by its code."""
    return (
        (channel, provider, code) for channel, provider, codes in KNOWN for code in sorted(codes)
    )


def own_codes() -> Iterator[str]:
    """Every code that this code itself gives a failure, as its source says."""
    kinds = {"Refused", "RefusedForNow", "AnswerLost"}
    for package in ("channels", "gateway"):
        for path in (ROOT / package).rglob("*.py"):
            if "simulator" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", None) in kinds:
                    for given in node.keywords:
                        if given.arg == "code" and isinstance(given.value, ast.Constant):
                            yield str(given.value.value)


def is_complete(reason: Reason) -> bool:
    """Whether both parts are sentences, and no generic ones."""
    return all(
        len(text) > 10 and text[0].isupper() and text.endswith((".", "!", "…"))
        for text in (reason.text, reason.advice)
    ) and not any(words in reason.text for words in UNKNOWN)


def test_every_known_code_has_words_and_advice() -> None:
    """No code that channels/* or webhooks/* know falls to an empty or a generic text."""
    codes = list(known_codes())

    assert len(codes) > 300
    assert [] == [code for code in codes if not is_complete(failure(*code, None))]


def test_twilios_codes_have_words_in_the_row() -> None:
    """A row says in words, too, what is known of any code of Twilio's: advice alone is added."""
    explained = TWILIO.keys()

    assert {"30009", "30010", "63008", "63020", "63030"} <= explained
    assert set() == {code for code in explained if twilio.explain(code) is None}


def test_every_code_of_our_own_has_words_and_advice() -> None:
    """What the gateway itself calls a failure, wherever in its source, is explained."""
    codes = set(own_codes())

    assert {"expired", "suppressed", "no_sender", "window_closed", "attachment"} <= codes
    assert set() == codes - own_reasons.CODES
    for code in codes:
        assert is_complete(failure("email", "smtp", code, "A file: it is too large")), code


def test_no_text_says_two_things() -> None:
    """A text is one or two sentences, fit to stand beside a message."""
    for channel, provider, code in known_codes():
        reason = failure(channel, provider, code, None)
        assert len(reason.text) < 140, reason
        assert len(reason.advice) < 260, reason


@pytest.mark.parametrize(
    ("channel", "provider", "code", "words", "advice"),
    [
        ("sms", "twilio", "21211", "number is not valid", "Check the number"),
        ("sms", "twilio", "21608", "trial account", "administrator"),
        ("sms", "twilio", "21610", "replied STOP", "START"),
        ("sms", "twilio", "21408", "country", "Geo Permissions"),
        ("sms", "twilio", "30003", "switched off", "few hours"),
        ("sms", "twilio", "30004", "blocks", "another way"),
        ("sms", "twilio", "30005", "no longer in use", "another way"),
        ("sms", "twilio", "30006", "landline", "another way"),
        ("sms", "twilio", "30007", "filtered", "Write it differently"),
        ("sms", "twilio", "30008", "no reason", "once more"),
        ("whatsapp", "twilio", "63016", "24 hours", "template"),
        ("whatsapp", "twilio", "63024", "not valid for WhatsApp", "on WhatsApp"),
        ("whatsapp", "meta", "131047", "24 hours", "template"),
        ("whatsapp", "meta", "131026", "not on WhatsApp", "another way"),
        ("whatsapp", "meta", "131049", "advertising", "within a day"),
        ("whatsapp", "meta", "131050", "stopped marketing", "nothing more on WhatsApp until"),
        ("whatsapp", "meta", "131050", "stopped marketing", "an owner or admin"),
        ("whatsapp", "meta", "131051", "type of message", "plain text"),
        ("whatsapp", "meta", "132000", "as many values", "template"),
        ("whatsapp", "meta", "132001", "has not approved", "template"),
        ("whatsapp", "meta", "130429", "messages a second", "pace"),
        ("whatsapp", "meta", "131056", "short time", "minutes"),
        ("whatsapp", "meta", "2494100", "maintenance", "later"),
        ("whatsapp", "meta", "250", "permission", "access token"),
        ("email", "smtp", "550", "takes no mail from us", "typing mistake"),
        ("email", "smtp", "552", "full", "another way"),
        ("email", "smtp", "421", "wait", "later"),
        ("email", "smtp", "499", "wait", "later"),
        ("email", "smtp", "599", "refused", "once more"),
        ("email", "smtp", "4.4.1", "did not answer", "tomorrow"),
        ("email", "smtp", "5.7.99", "rules", "differently"),
        ("email", "sendgrid", "5.1.1", "does not exist", "typing mistake"),
        ("email", "sendgrid", "bounced address", "earlier mail", "list"),
        ("email", "sendgrid", "blocked", "may be good", "reputation"),
        ("email", "sendgrid", "spam reporting address", "spam", "Respect it"),
        ("email", "postmark", "406", "no more to this recipient", "another way"),
        ("email", "mailgun", "605", "earlier mail", "list"),
        ("email", "mailgun", "rejected", "rejected the mail", "its own addresses"),
        ("email", "mailgun", "http-404", "Mailgun does not know the account", "typing mistake"),
        ("email", "ses", "OnAccountSuppressionList", "earlier mail", "list"),
        ("email", "ses", "OnTenantSuppressionList", "earlier mail", "list"),
        ("email", "resend", "MailboxFull", "full", "some days"),
        ("call", "twilio", "busy", "busy", "minutes"),
        ("call", "twilio", "no-answer", "Nobody answered", "another time"),
        ("call", "twilio", "failed", "not be connected", "Check the number"),
        ("call", "twilio", "486", "busy", "minutes"),
        ("call", "twilio", "404", "does not exist", "Check the number"),
        ("call", "twilio", "603", "rejected", "may be called"),
        ("call", "twilio", "503", "telephone network", "later"),
        ("call", None, "21215", "country", "Geo Permissions"),
        ("sms", None, "30003", "switched off", "few hours"),
        ("whatsapp", None, "63016", "24 hours", "template"),
        ("whatsapp", None, "131026", "not on WhatsApp", "another way"),
        ("sms", "twilio", "expired", "not sent in time", "still matters"),
        ("sms", "twilio", "no_sender", "turned off", "administrator"),
        ("sms", "twilio", "no_files", "carries no files", "without the file"),
        ("sms", "twilio", "timeout", "connection to the provider", "Send it again"),
        ("sms", "twilio", "unreadable", "could not be understood", "Send it again"),
        ("email", "sendgrid", "http-401", "access to SendGrid", "credentials"),
        ("email", "sendgrid", "http-402", "credit", "plan"),
        ("email", "sendgrid", "http-413", "too large", "smaller"),
        ("email", "mailgun", "http-429", "Mailgun was asked too often", "pace"),
        ("email", "smtp", "http-503", "The mail server had a disturbance", "later"),
        ("email", None, "http-400", "did not accept", "technical details"),
    ],
)
def test_words(channel: str, provider: str | None, code: str, words: str, advice: str) -> None:
    """What is said of the codes that matter most, and what to do."""
    found = failure(channel, provider, code, None)

    assert words in found.text, found
    assert advice in found.advice, found


def test_our_own_words_say_more() -> None:
    """Where the row's own message names the file or the reason, that is what is said."""
    found = failure("email", "smtp", "attachment", "plan.pdf: it is larger than 20 MiB")

    assert "plan.pdf: it is larger than 20 MiB." == found.text
    assert (
        "The recipient has unsubscribed."
        == failure("sms", "twilio", "suppressed", "The recipient has unsubscribed.").text
    )
    assert "The gateway did not send it." == failure("sms", None, "suppressed", None).text


def test_unknown_codes_are_honest() -> None:
    """Of a code without words of ours the provider's own text stands, and is said to be its."""
    found = failure("sms", "twilio", "99999", "Something new")

    assert (
        "Twilio gave a reason that the gateway has no words for (code 99999): Something new."
        == found.text
    )
    assert "administrator" in found.advice
    assert "The provider gave no reason (code 99999)." == failure("sms", None, "99999", None).text
    assert "Nobody gave a reason." == failure("fax", "nobody", None, "").text
    assert "Meta gave no reason (code 30003)." == failure("whatsapp", "meta", "30003", "").text


def test_every_provider_has_a_name() -> None:
    """Sentences name whom they are about."""
    assert [] == [name for name, row in PROVIDERS.items() if row.title == "the provider"]


def test_strangers_texts_are_harmless() -> None:
    """A provider's text is one line without control characters and marks of direction, and ends."""
    found = failure("sms", "twilio", "99999", "a\x1b[31m\r\nb\u202ec" + "x" * 5000)

    assert "a [31m b c" in found.text
    assert len(found.text) < 400
    assert found.text.isprintable()
