"""Why a message failed and what to do about it, by its code alone."""

from __future__ import annotations

from gateway.why import mail_reasons, own_reasons
from gateway.why.meta_reasons import META
from gateway.why.model import Reason
from gateway.why.postmark_reasons import POSTMARK
from gateway.why.twilio_reasons import CALLS, TWILIO
from gateway.why.words import clean, name_of, opening, sentence

_TABLES = {"twilio": TWILIO, "meta": META, "postmark": POSTMARK}


def failure(
    channel: str, provider: str | None, error_code: str | None, error_message: str | None
) -> Reason:
    """Why a message failed, from the columns of its row; never empty.

    `provider` helps if two providers use the same code; it may be None. For an unknown code the
    provider's own text is quoted.
    """
    code = (error_code or "").strip()
    said = clean(error_message or "")
    return (
        own_reasons.find(code, said)
        or _known(channel, provider, code, said)
        or own_reasons.of_http(code, name_of(provider))
        or _unknown(provider, code, said)
    )


def _known(channel: str, provider: str | None, code: str, said: str) -> Reason | None:
    if provider in _TABLES and (found := _TABLES[provider].get(code)):
        return found
    if channel == "call":
        return CALLS.get(code) or TWILIO.get(code)
    if channel == "email":
        return mail_reasons.of_words(code, said) or mail_reasons.find(code)
    if provider is None:
        # Any provider of this channel will do: their numbers do not overlap.
        return TWILIO.get(code) or (META.get(code) if channel == "whatsapp" else None)
    return None


def _unknown(provider: str | None, code: str, said: str) -> Reason:
    who = opening(name_of(provider))
    named = f" (code {clean(code, 64)})" if code else ""
    if said:
        text = f"{who} gave a reason that the gateway has no words for{named}: {sentence(said)}"
    else:
        text = f"{who} gave no reason{named}." if named else "Nobody gave a reason."
    return Reason(
        text=text,
        advice="Try once more, or reach the person another way. If it happens again, show an "
        f"administrator this page{': the code says more to them' if code else ''}.",
    )
