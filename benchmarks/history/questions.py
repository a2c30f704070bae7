"""The queries of staff, made through the store as the API and the inbox make them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.store import conversations, messages, searching
from gateway.store.conversations import ConversationFilter
from gateway.store.database import Connection, Database, Staff
from gateway.store.messages import MessageFilter
from gateway.store.paging import MOST_BYTES, Cursor, Page

Ask = Callable[[Connection], Awaitable[int]]
Make = Callable[[Staff], Ask]

_PAGE = 50
_FIRST, _OTHER = "md5('org 0')::uuid", "md5('org 7')::uuid"


@dataclass(frozen=True, kw_only=True)
class Question:
    """A query, its caller, its limit (p99 in milliseconds), and how many rows it should find."""

    name: str
    caller: Staff
    ask: Ask
    limit: float
    finds: Callable[[int], bool]


async def questions(database: Database) -> Sequence[Question]:
    """All questions, with values from this database."""
    async with database.as_service() as db:
        first, other = [await _staff(db, which) for which in (_FIRST, _OTHER)]
        largest, typical = [await _conversation(db, first, order) for order in ("DESC", "ASC")]
        small = await _conversation(db, other, "DESC")
        # A whole name: a prefix would find more people in a larger history.
        person = await db.fetchval(
            "SELECT lower(name) FROM leads WHERE organization_id = $1 ORDER BY id LIMIT 1",
            first.organization_id,
        )
        amid = await _amid(
            db,
            "SELECT created_at, id FROM messages WHERE organization_id = $1"
            " AND conversation_id = $2 ORDER BY 1 DESC, 2 DESC",
            first,
            largest,
        )
        deep = await _amid(
            db,
            "SELECT created_at, id FROM messages WHERE organization_id = $1"
            " ORDER BY 1 DESC, 2 DESC",
            first,
        )
        listed = await _amid(
            db,
            "SELECT last_message_at, id FROM gateway.conversations WHERE organization_id = $1"
            " ORDER BY 1 DESC, 2 DESC",
            first,
        )

    def read(wanted: MessageFilter, cursor: Cursor | None = None) -> Make:
        return lambda who: (
            lambda db: _count(
                messages.search(
                    db, who.organization_id, wanted, cursor, _PAGE, most_bytes=MOST_BYTES
                )
            )
        )

    def said(conversation: UUID, cursor: Cursor | None = None) -> Make:
        return read(MessageFilter(conversation_id=conversation), cursor)

    def inbox(cursor: Cursor | None = None, *, unread: bool | None = None) -> Make:
        return lambda who: (
            lambda db: _count(
                conversations.search(
                    db,
                    who.organization_id,
                    ConversationFilter(unread=unread),
                    cursor,
                    _PAGE,
                    most_bytes=None,
                )
            )
        )

    def found(cursor: Cursor | None = None, *, q: str | None = None) -> Make:
        return read(MessageFilter(q=q), cursor)

    def found_conversations(q: str) -> Make:
        async def ask(who: Staff, db: Connection) -> int:
            anything = ConversationFilter()
            among = await searching.conversations_matching(db, q, anything, None)
            return await _count(
                conversations.search(
                    db,
                    who.organization_id,
                    anything,
                    None,
                    _PAGE,
                    among=among,
                    most_bytes=MOST_BYTES,
                )
            )

        return lambda who: lambda db: ask(who, db)

    full = lambda count: count == _PAGE  # noqa: E731
    some = lambda count: count > 0  # noqa: E731
    table: list[tuple[str, Staff, Make, float, Callable[[int], bool]]] = [
        ("largest conversation, first page", first, said(largest), 20, full),
        ("largest conversation, page amid", first, said(largest, amid), 20, full),
        ("typical conversation, first page", first, said(typical), 20, some),
        ("small organization's conversation", other, said(small), 20, some),
        ("conversations, first page", first, inbox(), 20, full),
        ("conversations, page amid", first, inbox(listed), 20, full),
        ("conversations, unread", first, inbox(unread=True), 20, full),
        ("conversations, small organization", other, inbox(), 20, some),
        ("messages, first page", first, found(), 20, full),
        ("messages, page amid", first, found(deep), 20, full),
        ("search, rare word", first, found(q="xylophone"), 100, lambda count: count in (2, 5)),
        ("search, frequent word", first, found(q="parcel"), 100, full),
        ("search, frequent word, page amid", first, found(deep, q="parcel"), 100, full),
        ("search, absent word", first, found(q="zither"), 100, lambda count: count == 0),
        ("search, two words", first, found(q="parcel word3"), 100, full),
        ("search, beginning of a word", first, found(q="xylo*"), 100, some),
        ("search, contact by name", first, found(q=person), 100, some),
        ("search, contact by number", first, found(q="(555) 100-0001"), 100, full),
        (
            "search, rare word, small organization",
            other,
            found(q="xylophone"),
            100,
            lambda count: count == 0,
        ),
        ("search, frequent word, small organization", other, found(q="parcel"), 100, some),
        ("conversations with a rare word", first, found_conversations("xylophone"), 100, some),
        ("conversations with a frequent word", first, found_conversations("parcel"), 100, full),
    ]
    return [
        Question(name=name, caller=who, ask=make(who), limit=limit, finds=finds)
        for name, who, make, limit, finds in table
    ]


async def _count(asked: Awaitable[Page]) -> int:
    return len((await asked).rows)


async def _staff(db: Connection, organization: str) -> Staff:
    row = await db.fetchrow(
        "SELECT id, auth_id, organization_id, role FROM auth_users"
        f" WHERE organization_id = {organization}"
    )
    return Staff(**dict(row or {}))


async def _conversation(db: Connection, who: Staff, order: str) -> UUID:
    """With DESC the conversation with the most messages; with ASC one of median length."""
    rows = await db.fetch(
        "SELECT conversation_id FROM messages WHERE organization_id = $1"
        f" GROUP BY conversation_id ORDER BY count(*) {order}, conversation_id",
        who.organization_id,
    )
    found: UUID = rows[0 if order == "DESC" else len(rows) // 2]["conversation_id"]
    return found


async def _amid(db: Connection, query: str, who: Staff, *values: object) -> Cursor:
    """The cursor in the middle of a list."""
    count = await db.fetchval(f"SELECT count(*) FROM ({query}) q", who.organization_id, *values)
    row = await db.fetchrow(f"{query} OFFSET {count // 2} LIMIT 1", who.organization_id, *values)
    return Cursor(*(row or ()))
