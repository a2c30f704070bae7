"""Times in the viewer's time zone, each with its machine-readable form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from markupsafe import Markup

COOKIE = "gateway_zone"
_LONGEST = 64
_UTC = re.compile(r"\b(\d{4}-\d\d-\d\d \d\d:\d\d) UTC\b", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """A time zone and the time of the page; `is_theirs`: the viewer's browser named the zone."""

    zone: tzinfo
    name: str
    is_theirs: bool
    now: datetime

    def moment(self, at: datetime) -> Markup:
        """Day and time, as a `<time>`: only 14:05 if it is today, otherwise with the day."""
        local = self._local(at)
        text = f"{local:%H:%M}" if self._days_ago(local) == 0 else f"{self.day(at)}, {local:%H:%M}"
        return self._time(at, local, text)

    def short(self, at: datetime) -> Markup:
        """A short `<time>` for lists: 14:05 for today, 26 Nov for this year, else 26 Nov 2025."""
        local = self._local(at)
        if self._days_ago(local) == 0:
            return self._time(at, local, f"{local:%H:%M}")
        year = "" if local.year == self.now.astimezone(self.zone).year else f" {local.year}"
        return self._time(at, local, f"{local.day} {local:%b}{year}")

    def time(self, at: datetime) -> Markup:
        """Only the time of day, as a `<time>`: for messages below the heading of their day."""
        local = self._local(at)
        return self._time(at, local, f"{local:%H:%M}")

    def in_text(self, text: str) -> str:
        """A text from /v1 with its times (2026-11-26 14:05 UTC) written as `moment` writes them."""

        def local(said: re.Match[str]) -> str:
            try:
                at = datetime.strptime(said[1], "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
            except ValueError:
                return said[0]
            return self.moment(at).striptags()

        return _UTC.sub(local, text)

    def date(self, at: datetime) -> str:
        """The day in machine-readable form: 2026-11-26."""
        return self._local(at).date().isoformat()

    def day(self, at: datetime) -> str:
        """Today, Yesterday, or the weekday and date; with the year if it is not this year."""
        local = self._local(at)
        ago = self._days_ago(local)
        if ago in (0, 1):
            return ("Today", "Yesterday")[ago]
        year = "" if local.year == self.now.astimezone(self.zone).year else f" {local.year}"
        return f"{local:%A} {local.day} {local:%B}{year}"

    def _local(self, at: datetime) -> datetime:
        try:
            return at.astimezone(self.zone)
        except OverflowError:  # at the very beginning or end of the calendar
            return at.astimezone(UTC)

    def _days_ago(self, local: datetime) -> int:
        return (self.now.astimezone(self.zone).date() - local.date()).days

    def _time(self, at: datetime, local: datetime, text: str) -> Markup:
        exact = at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        whole = f"{local:%A} {local.day} {local:%B %Y, %H:%M:%S} ({self.name})"
        return Markup('<time datetime="{}" title="{}">{}</time>').format(exact, whole, text)


def clock(theirs: str | None, of_organization: str | None, now: datetime) -> Clock:
    """The clock of a page: the zone is the viewer's (cookie), else the organization's, else UTC."""
    for name, is_theirs in ((theirs, True), (of_organization, False)):
        zone = zone_of(name)
        if zone is not None and name is not None:
            return Clock(zone=zone, name=name, is_theirs=is_theirs, now=now)
    return Clock(zone=UTC, name="UTC", is_theirs=False, now=now)


def zone_of(name: str | None) -> ZoneInfo | None:
    """The zone with this name; None if there is none."""
    if not name or len(name) > _LONGEST:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # a path, a folder, or an unknown zone
        return None
