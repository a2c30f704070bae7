"""Times as JSON has them, ISO 8601 (RFC 3339)."""

from __future__ import annotations

from datetime import datetime


def iso_time(value: object) -> datetime | None:
    """A time with its zone, fractions of any length cut to microseconds; None for anything else."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at and at.tzinfo else None
