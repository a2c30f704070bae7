"""Wording: times, durations, names, and the cleaning of texts from strangers."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from gateway.registry import PROVIDERS

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NOUNS = {"sms": "SMS", "email": "e-mail", "whatsapp": "WhatsApp message", "call": "call"}


def when(at: datetime, zone: tzinfo) -> str:
    """A moment as people write it, to the minute: 26 Nov 2026, 14:02 UTC."""
    try:
        there = at.astimezone(zone)
    except OverflowError:  # at the very beginning or end of the calendar
        there = at
    name = there.tzname() or ""
    return f"{there.day} {_MONTHS[there.month - 1]} {there.year}, {there:%H:%M} {name}".strip()


def how_long(length: timedelta) -> str:
    """A duration in its largest unit: 3 minutes."""
    seconds = max(0, round(length.total_seconds()))
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return counted(seconds // size, unit)
    return counted(seconds, "second")


def how_long_seconds(seconds: object) -> str | None:
    """The duration of a number of seconds as a provider reports it; None if it is not a number."""
    text = str(seconds)
    is_number = text.isdecimal() and len(text) < 10
    return how_long(timedelta(seconds=int(text))) if is_number else None


def counted(number: int, thing: str) -> str:
    """1 file, 2 files."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def noun(channel: str) -> str:
    """The noun for a message of this channel."""
    return _NOUNS.get(channel, "message")


def name_of(provider: str | None) -> str:
    """A provider's name for use within a sentence; "the provider" if it is not known."""
    row = PROVIDERS.get(provider or "")
    return row.title if row else "the provider"


def opening(text: str) -> str:
    """The same text at the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def clean(text: object, most: int = 300) -> str:
    """A stranger's text on one line, cut, without control characters or changes of direction."""
    words = "".join(each if each.isprintable() else " " for each in str(text)[: most * 4])
    line = " ".join(words.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def sentence(text: str) -> str:
    """The text with a full stop, unless it ends with a punctuation mark."""
    return text if text.endswith((".", "!", "?", "…")) else text + "."
