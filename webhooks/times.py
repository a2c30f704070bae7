"""Times in JSON, as ISO 8601 (RFC 3339)."""

from __future__ import annotations

from datetime import datetime

from channels.http import in_calendar


def iso_time(value: object) -> datetime | None:
    """A time with a zone, with fractions cut to microseconds; None for anything else."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return in_calendar(at) if at and at.tzinfo else None
