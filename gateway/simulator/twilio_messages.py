"""The Message resource and its list.

https://www.twilio.com/docs/messaging/api/message-resource
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from operator import attrgetter
from urllib.parse import quote, urlencode

from gateway.simulator.callbacks import Delivery
from gateway.simulator.twilio_errors import ApiError
from gateway.simulator.twilio_rules import channel_of, spell

API_VERSION = "2010-04-01"
DEFAULT_PAGE = 50
MAX_PAGE = 1000
_PRICE = 0.0079

# Texts as the resource and the callbacks give them: https://www.twilio.com/docs/api/errors
MESSAGE_ERRORS = {
    30001: "Queue overflow",
    30002: "Account suspended",
    30003: "Unreachable destination handset",
    30004: "Message blocked",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
    30007: "Carrier violation",
    30008: "Unknown error",
    21610: "Attempt to send to unsubscribed recipient",
    63016: "Failed to send freeform message because you are outside the allowed window.",
}


@dataclass(kw_only=True, slots=True)
class Message:
    """One message of an account, in or out; `serial` grows with every message of the book."""

    serial: int
    sid: str
    account_sid: str
    to: str
    from_: str | None
    body: str
    status: str
    direction: str
    created: datetime
    updated: datetime
    num_segments: int
    service: str | None = None
    media: tuple[str, ...] = ()
    sent: datetime | None = None
    send_at: datetime | None = None
    status_callback: str | None = None
    error_code: int | str | None = None
    callbacks: list[Delivery] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    deleted: bool = False

    @property
    def channel(self) -> str:
        """`sms` or `whatsapp`."""
        return channel_of(self.to)

    @property
    def error_message(self) -> str | None:
        """Twilio's text for the error code, where it has one."""
        code = self.error_code
        return MESSAGE_ERRORS.get(code) if isinstance(code, int) else None

    def advance(self, status: str, now: datetime) -> None:
        """Move on to `status`; the first step beyond the queue is when it was sent."""
        self.status = status
        self.updated = now
        if self.sent is None and status not in {"queued", "accepted", "scheduled", "canceled"}:
            self.sent = now

    def resource(self) -> dict[str, object]:
        """The resource, with strings where Twilio has strings and RFC 2822 dates."""
        uri = f"/{API_VERSION}/Accounts/{self.account_sid}/Messages/{self.sid}"
        priced = self.sent is not None and self.channel == "sms"
        return {
            "account_sid": self.account_sid,
            "api_version": API_VERSION,
            "body": self.body,
            "date_created": format_datetime(self.created),
            "date_sent": None if self.sent is None else format_datetime(self.sent),
            "date_updated": format_datetime(self.updated),
            "direction": self.direction,
            "error_code": self.error_code,
            "error_message": self.error_message,
            "from": self.from_,
            "messaging_service_sid": self.service,
            "num_media": str(len(self.media)),
            "num_segments": str(self.num_segments),
            "price": f"-{_PRICE * self.num_segments:.5f}" if priced else None,
            "price_unit": "USD" if priced else None,
            "sid": self.sid,
            "status": self.status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": self.to,
            "uri": f"{uri}.json",
        }


_SERIAL = attrgetter("serial")


class MessageBook:
    """All messages, found by sid at once and by recipient without looking at the others."""

    def __init__(self) -> None:
        """Start empty."""
        self._serial = 0
        self._by_sid: dict[str, Message] = {}
        self._by_account: dict[str, list[Message]] = {}
        self._by_to: dict[tuple[str, str], list[Message]] = {}

    def next_serial(self) -> int:
        """A number higher than that of any message before."""
        self._serial += 1
        return self._serial

    def add(self, message: Message) -> None:
        """Keep a message."""
        self._by_sid[message.sid] = message
        self._by_account.setdefault(message.account_sid, []).append(message)
        self._by_to.setdefault((message.account_sid, message.to), []).append(message)

    def get(self, account_sid: str, sid: str, path: str) -> Message:
        """The account's message; raises `ApiError` 20404 where it has no such."""
        message = self._by_sid.get(sid)
        if message is None or message.account_sid != account_sid:
            raise ApiError(20404, {"path": path})
        return message

    def remove(self, message: Message) -> None:
        """Drop a message; what its callbacks did is dropped with it."""
        message.deleted = True
        del self._by_sid[message.sid]

    def clear(self) -> None:
        """Drop all; serials go on."""
        self._by_sid.clear()
        self._by_account.clear()
        self._by_to.clear()

    def __iter__(self) -> Iterator[Message]:
        """Every message, oldest first."""
        return iter(self._by_sid.values())

    def page(self, account_sid: str, query: Mapping[str, str]) -> dict[str, object]:
        """One page of the list, newest first, with the links that lead on and back.

        Raises `ApiError` 20001 for a date or page size that is none.
        """
        size = _page_size(query.get("PageSize"))
        number = _number(query.get("Page"), 0)
        fits = _filter(query)
        found = (
            self._by_to.get((account_sid, spell(query["To"])), [])
            if query.get("To")
            else self._by_account.get(account_sid, [])
        )
        token = query.get("PageToken", "")
        some = self._slice(found, token, fits, size, 0 if token else number * size)
        page, more, newer = some
        base = f"/{API_VERSION}/Accounts/{account_sid}/Messages.json"
        kept = [(name, query[name]) for name in _FILTERS if query.get(name)]

        def link(at: int, token: str = "") -> str:
            pairs = [*kept, ("PageSize", str(size)), ("Page", str(at))]
            pairs += [("PageToken", token)] if token else []
            # The operators stay in the names: `DateSent%3E=2008-01-02`.
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
            "messages": [message.resource() for message in page],
            "start": start,
            "uri": link(number, token),
        }

    def _slice(
        self,
        found: list[Message],
        token: str,
        fits: Callable[[Message], bool],
        size: int,
        skip: int,
    ) -> tuple[list[Message], bool, bool]:
        """A page out of `found` (oldest first), and whether there are older and newer ones."""
        kind, anchor = token[:2], self._by_sid.get(token[2:])
        if token and (kind not in {"PA", "PB"} or anchor is None):
            raise ApiError(20001)
        if anchor is not None and kind == "PB":
            here = bisect_right(found, anchor.serial, key=_SERIAL)
            newer = [m for m in found[here:] if not m.deleted and fits(m)]
            return newer[:size][::-1], True, len(newer) > size
        end = len(found) if anchor is None else bisect_left(found, anchor.serial, key=_SERIAL)
        page: list[Message] = []
        for index in range(end - 1, -1, -1):
            message = found[index]
            if message.deleted or not fits(message):
                continue
            if skip:
                skip -= 1
            elif len(page) == size:
                return page, True, anchor is not None
            else:
                page.append(message)
        return page, False, anchor is not None


_FILTERS = ("To", "From", "DateSent", "DateSent<", "DateSent>")


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


def _filter(query: Mapping[str, str]) -> Callable[[Message], bool]:
    """The conditions of a list request, as one question."""
    sender = spell(query["From"]) if query.get("From") else None
    dated = any(query.get(name) for name in ("DateSent", "DateSent<", "DateSent>"))
    low, high = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    if query.get("DateSent"):
        low, high = _span(query["DateSent"])
    if query.get("DateSent>"):
        low = max(low, _span(query["DateSent>"])[0])
    if query.get("DateSent<"):
        high = min(high, _span(query["DateSent<"])[1])

    def fits(message: Message) -> bool:
        if sender is not None and message.from_ != sender:
            return False
        # What waits in the queue has no date_sent, so no filter on it finds it; whoever asks "did
        # you take it?" must not use one (https://github.com/twilio/twilio-java/issues/442).
        return not dated or (message.sent is not None and low <= message.sent < high)

    return fits


def _span(text: str) -> tuple[datetime, datetime]:
    """The day, or the second, that a filter names; GMT where it names no zone."""
    try:
        start = _moment(text)
        start = start.replace(microsecond=0, tzinfo=start.tzinfo or UTC)
        # Midnight is the day: Twilio's own libraries write a date as its midnight.
        whole_day = start.timetz().replace(tzinfo=None) == time()
        return start, start + (timedelta(days=1) if whole_day else timedelta(seconds=1))
    except (ValueError, OverflowError):
        raise ApiError(20001) from None


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return parsedate_to_datetime(text)
