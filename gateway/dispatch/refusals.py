"""Why we ourselves do not send a message any more."""

from __future__ import annotations

from channels.errors import Refused
from gateway.consent import standing


def expired() -> Refused:
    """Its time has passed."""
    return Refused("It was not sent before its expires_at.", code="expired")


def suppressed(reason: str) -> Refused:
    """Its recipient must not be written to, for this reason."""
    return Refused(f"The recipient {standing.REASONS[reason]}.", code="suppressed")


def no_sender() -> Refused:
    """There is nothing to send it from."""
    text = "Its sender or provider account was removed or turned off."
    return Refused(text, code="no_sender")
