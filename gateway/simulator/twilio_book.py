"""Lists of resources as Twilio pages through them, newest first.

https://www.twilio.com/docs/usage/twilios-response#pagination
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from operator import attrgetter
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote, urlencode

from gateway.simulator.twilio_errors import ApiError
from gateway.simulator.twilio_rules import spell

API_VERSION = "2010-04-01"
DEFAULT_PAGE = 50
MAX_PAGE = 1000


class Listed(Protocol):
    """An entry of a list; `serial` grows with each entry of the book."""

    serial: int
    sid: str
    account_sid: str
    to: str
    from_: str | None
    status: str
    deleted: bool

    @property
    def moment(self) -> datetime | None:
        """The time by which lists are filtered."""
        ...

    def resource(self) -> dict[str, object]:
        """The resource in Twilio's JSON."""
        ...


T = TypeVar("T", bound=Listed)

_SERIAL = attrgetter("serial")


class Book(Generic[T]):
    """All resources of a kind, indexed by sid and by recipient."""

    def __init__(self, collection: str, dated: str, *others: str) -> None:
        """Start empty; `collection` is as in paths (`Messages`), `dated` the filter by time.

        `others` are further filters besides To and From; there is only `Status`.
        """
        self._collection = collection
        self._dated = dated
        self._filters = ("To", "From", *others, dated, f"{dated}<", f"{dated}>")
        self._serial = 0
        self._by_sid: dict[str, T] = {}
        self._by_account: dict[str, list[T]] = {}
        self._by_to: dict[tuple[str, str], list[T]] = {}

    def next_serial(self) -> int:
        """A number higher than all before."""
        self._serial += 1
        return self._serial

    def add(self, item: T) -> None:
        """Keep a resource."""
        self._by_sid[item.sid] = item
        self._by_account.setdefault(item.account_sid, []).append(item)
        self._by_to.setdefault((item.account_sid, item.to), []).append(item)

    def get(self, account_sid: str, sid: str, path: str) -> T:
        """A resource of the account; raises `ApiError` 20404 if there is none."""
        item = self._by_sid.get(sid)
        if item is None or item.account_sid != account_sid:
            raise ApiError(20404, {"path": path})
        return item

    def remove(self, item: T) -> None:
        """Drop a resource, with the record of its callbacks."""
        item.deleted = True
        del self._by_sid[item.sid]

    def clear(self) -> None:
        """Drop all; serials continue."""
        self._by_sid.clear()
        self._by_account.clear()
        self._by_to.clear()

    def __iter__(self) -> Iterator[T]:
        """All resources, oldest first."""
        return iter(self._by_sid.values())

    def page(self, account_sid: str, query: Mapping[str, str]) -> dict[str, object]:
        """One page of the list, newest first, with links to the next and previous page.

        Raises `ApiError` 20001 for a malformed date, page size or page token.
        """
        size = _page_size(query.get("PageSize"))
        number = _number(query.get("Page"), 0)
        fits = self._filter(query)
        found = (
            self._by_to.get((account_sid, spell(query["To"])), [])
            if query.get("To")
            else self._by_account.get(account_sid, [])
        )
        token = query.get("PageToken", "")
        some = self._slice(found, token, fits, size, 0 if token else number * size)
        page, more, newer = some
        base = f"/{API_VERSION}/Accounts/{account_sid}/{self._collection}.json"
        kept = [(name, query[name]) for name in self._filters if query.get(name)]

        def link(at: int, token: str = "") -> str:
            pairs = [*kept, ("PageSize", str(size)), ("Page", str(at))]
            pairs += [("PageToken", token)] if token else []
            # The operator is part of the name: `DateSent%3E=2008-01-02`.
            return f"{base}?{urlencode(pairs, quote_via=quote, safe='')}"

        start = number * size
        return {
            "end": start + max(len(page) - 1, 0),
            "first_page_uri": link(0),
            "next_page_uri": link(number + 1, f"PA{page[-1].sid}") if more else None,
            "page": number,
            "page_size": size,
            "previous_page_uri": (
                link(max(number - 1, 0), f"PB{page[0].sid}") if newer and page else None
            ),
            self._collection.lower(): [item.resource() for item in page],
            "start": start,
            "uri": link(number, token),
        }

    def _slice(
        self,
        found: list[T],
        token: str,
        fits: Callable[[T], bool],
        size: int,
        skip: int,
    ) -> tuple[list[T], bool, bool]:
        """A page out of `found` (oldest first), and whether there are older and newer entries."""
        kind, anchor = token[:2], self._by_sid.get(token[2:])
        if token and (kind not in {"PA", "PB"} or anchor is None):
            raise ApiError(20001)
        if anchor is not None and kind == "PB":
            here = bisect_right(found, anchor.serial, key=_SERIAL)
            newer = [m for m in found[here:] if not m.deleted and fits(m)]
            return newer[:size][::-1], True, len(newer) > size
        end = len(found) if anchor is None else bisect_left(found, anchor.serial, key=_SERIAL)
        page: list[T] = []
        for index in range(end - 1, -1, -1):
            item = found[index]
            if item.deleted or not fits(item):
                continue
            if skip:
                skip -= 1
            elif len(page) == size:
                return page, True, anchor is not None
            else:
                page.append(item)
        return page, False, anchor is not None

    def _filter(self, query: Mapping[str, str]) -> Callable[[T], bool]:
        """The conditions of a list request, as one predicate."""
        dated = self._dated
        sender = spell(query["From"]) if query.get("From") else None
        status = query.get("Status") if "Status" in self._filters else None
        is_dated = any(query.get(name) for name in (dated, f"{dated}<", f"{dated}>"))
        low, high = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        if query.get(dated):
            low, high = _span(query[dated])
        if query.get(f"{dated}>"):
            low = max(low, _span(query[f"{dated}>"])[0])
        if query.get(f"{dated}<"):
            high = min(high, _span(query[f"{dated}<"])[1])

        def fits(item: T) -> bool:
            if (sender and item.from_ != sender) or (status and item.status != status):
                return False
            # A queued message has no such time, so no filter by time finds it: a client that wants
            # to know whether it was taken must not use one
            # (https://github.com/twilio/twilio-java/issues/442).
            return not is_dated or (item.moment is not None and low <= item.moment < high)

        return fits


def _number(text: str | None, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise ApiError(20001)
    return int(text[:18])


def _page_size(text: str | None) -> int:
    size = _number(text, DEFAULT_PAGE)
    if size < 1:
        raise ApiError(20001)
    return min(size, MAX_PAGE)


def _span(text: str) -> tuple[datetime, datetime]:
    """The day, or the second, that a filter names; GMT if it names no zone."""
    try:
        start = _moment(text)
        start = start.replace(microsecond=0, tzinfo=start.tzinfo or UTC)
        # Midnight means the whole day: Twilio's own libraries write a date as its midnight.
        whole_day = start.timetz().replace(tzinfo=None) == time()
        return start, start + (timedelta(days=1) if whole_day else timedelta(seconds=1))
    except (ValueError, OverflowError):
        raise ApiError(20001) from None


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return parsedate_to_datetime(text)
