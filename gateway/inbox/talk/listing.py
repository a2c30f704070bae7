"""The list of conversations: its filters, from the query, and its rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from aiohttp import web

from gateway.inbox.talk import view
from gateway.inbox.visit import Visit
from gateway.inbox.words import CHANNELS, in_order
from gateway.store import conversations, desk, live, searching
from gateway.store.conversations import ConversationFilter
from gateway.store.paging import Cursor
from gateway.store.searching import SearchError
from gateway.store.values import Row

_LIMIT = 40
_LONGEST = 200
_NUMBER = re.compile(r"(?:\W*\d){7,}\W*")
STATUSES = {"open": "Open", "closed": "Closed", "all": "All"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """The filters that somebody chose; an unknown choice counts as none."""

    q: str
    channel: str
    status: str
    is_mine: bool
    is_unread: bool

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        """The filters of a query."""
        channel, status = query.get("channel", ""), query.get("status", "open")
        return cls(
            q=query.get("q", "").replace("\x00", "")[:_LONGEST].strip(),
            channel=channel if channel in CHANNELS else "",
            status=status if status in STATUSES else "open",
            is_mine=query.get("who") == "me",
            is_unread=query.get("unread") == "1",
        )

    @property
    def is_narrow(self) -> bool:
        """Whether anything but the status narrows the list."""
        return bool(self.q or self.channel or self.is_mine or self.is_unread)

    @property
    def chosen(self) -> dict[str, str]:
        """The same filters as a query, without those that have their default."""
        chosen = {
            "q": self.q,
            "channel": self.channel,
            "status": "" if self.status == "open" else self.status,
            "who": "me" if self.is_mine else "",
            "unread": "1" if self.is_unread else "",
        }
        return {name: value for name, value in chosen.items() if value}

    @property
    def query(self) -> str:
        """The same filters for a link: empty, or beginning with a question mark."""
        return self.query_with()

    def query_with(self, **more: object) -> str:
        """The same with further parameters."""
        chosen = {**self.chosen, **more}
        return f"?{urlencode(chosen)}" if chosen else ""

    @property
    def wider(self) -> Wanted | None:
        """The same words in all conversations; None if these filters are that wide already."""
        everywhere = Wanted(q=self.q, channel="", status="all", is_mine=False, is_unread=False)
        return everywhere if everywhere != self else None

    @property
    def begun(self) -> Wanted | None:
        """The same with the last word as a prefix (`*`); None if it cannot be one."""
        last = self.q.rpartition(" ")[2].lower()
        if not last[-1:].isalnum() or last.startswith("-") or last == "or":
            return None
        return replace(self, q=f"{self.q[: _LONGEST - 1]}*")

    def filter(self, staff_id: UUID) -> ConversationFilter:
        """The filters for the store; unread conversations are shown even if they are closed."""
        is_any = self.status == "all" or (self.is_unread and self.status == "open")
        return ConversationFilter(
            channel=self.channel or None,
            assigned_to=staff_id if self.is_mine else None,
            status=None if is_any else self.status,
            unread=True if self.is_unread else None,
        )


async def context(visit: Visit, cursor: Cursor | None = None) -> dict[str, Any]:
    """What the list's templates need: its first page, or the one after a cursor."""
    wanted = Wanted.of(visit.request.query)
    organization_id = visit.staff.organization_id
    async with visit.services.database.as_caller(visit.staff) as db:
        here = await live.here(db)  # read first: the page gets all events from here on
    among, wrong = await _found(visit, wanted, cursor)
    async with visit.services.database.as_caller(visit.staff) as db:
        page = await conversations.search(
            db,
            organization_id,
            wanted.filter(visit.staff.id),
            cursor,
            _LIMIT,
            among=among,
            most_bytes=None,
        )
        unread_total = await desk.unread(db, organization_id)
    return {
        "wanted": wanted,
        "statuses": list(STATUSES.items()),
        "channels": list(CHANNELS.items()),
        "rows": [_row(visit, row) for row in page.rows],
        "is_first": cursor is None,
        "next_cursor": page.next_cursor,
        "unread_total": unread_total,
        "here": str(here),
        "search_error": wrong,
    }


def back(visit: Visit, path: str, **query: str) -> web.Response:
    """Redirect from a form to a page that has the list, with the filters that it had before."""
    return visit.redirect(path, **Wanted.of(visit.sent_from.query).chosen, **query)


def name_of(row: Row) -> str:
    """The name of a conversation: the contact's name, else an address, else that both are unknown.

    Strangers choose their names: one that looks like an address counts only if it is theirs.
    """
    name, theirs = in_order(row["name"] or ""), row["addresses"]
    if _addresses_in(name) - {each.lower() for each in theirs}:
        name = next(iter(theirs), name)
    return name or next(iter(theirs), "") or "Somebody without a number"


def _addresses_in(name: str) -> set[str]:
    """The e-mail addresses in a name; or the whole name if it is a phone number."""
    if _NUMBER.fullmatch(name):
        return {name.strip()}
    words = (word.strip("\"'.,:;[]") for word in re.split(r"[\s<>()]+", name.lower()))
    parts = {word: word.rpartition("@") for word in words}
    return {word for word, (mailbox, _, domain) in parts.items() if mailbox and "." in domain}


def _row(visit: Visit, row: Row) -> dict[str, Any]:
    last = row["last_message"]
    return {
        "id": row["id"],
        "name": name_of(row),
        "channel": last["channel"] if last else next(iter(row["channels"]), ""),
        "is_ours": bool(last) and last["direction"] == "outbound",
        "snippet": view.snippet(last),
        "status": view.status(last, visit.clock.now) if last else None,
        "at": row["last_message_at"],
        "unread_count": row["unread_count"],
        "is_closed": row["status"] == "closed",
    }


async def _found(
    visit: Visit, wanted: Wanted, cursor: Cursor | None
) -> tuple[list[UUID] | None, str]:
    """The conversations that the words find (None: no words), and what is wrong with the words."""
    if not wanted.q:
        return None, ""
    try:
        async with visit.services.database.as_caller(visit.staff) as db:
            chosen = wanted.filter(visit.staff.id)
            return await searching.conversations_matching(db, wanted.q, chosen, cursor), ""
    except SearchError as error:
        return [], f"What you look for {error}."
