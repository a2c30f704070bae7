"""Leads and clients: finding them, and the addresses at which staff can reach them."""

from __future__ import annotations

from uuid import UUID

from channels import phone
from gateway import addresses
from gateway.inbox.visit import Visit
from gateway.problems import Problem
from gateway.store import contacts, conversations, desk
from gateway.store.contacts import Kind
from gateway.store.database import Connection
from gateway.store.values import Row

KINDS: tuple[Kind, ...] = ("lead", "client")


def is_meant(visit: Visit) -> bool:
    """Whether the path names a lead or client, not a conversation."""
    return "kind" in visit.request.match_info


async def known(visit: Visit, db: Connection) -> Row:
    """The lead or client in the path, like a row of a conversation that has not begun (`id` None).

    `elsewhere` has their addresses that are in other conversations, with the ids of these;
    `addresses` are the rest. Raises `Problem` 404.
    """
    kind = next((each for each in KINDS if each == visit.request.match_info["kind"]), None)
    organization_id = visit.staff.organization_id
    found = await contacts.get(db, kind, organization_id, visit.id) if kind else None
    if kind is None or found is None:
        raise Problem(404, "There is no such lead or client, or it is another organization's.")
    ids = {f"{each}_id": visit.id if each == kind else None for each in KINDS}
    own = await conversations.of_contact(
        db, organization_id, lead_id=ids["lead_id"], client_id=ids["client_id"]
    )
    theirs = await _reached(db, organization_id, lead_id=ids["lead_id"], client_id=ids["client_id"])
    where = await desk.belonging(db, organization_id, theirs)
    elsewhere = {address: held for address, held in where.items() if held != own}
    return {
        "id": None,
        **ids,
        "kind": kind,
        "conversation_id": own,
        # The schema stores "Unknown" if there is no name.
        "name": None if found["name"] == "Unknown" else (found["name"] or "")[:1000] or None,
        "addresses": [address for address in theirs if address not in elsewhere],
        "elsewhere": elsewhere,
    }


def path_of(visit: Visit, row: Row) -> str:
    """The path of a conversation, or of a lead or client without one."""
    return f"/c/{row['id']}" if row["id"] else f"/to/{row['kind']}/{visit.id}"


async def further(db: Connection, organization_id: UUID, row: Row) -> list[str]:
    """Addresses of a conversation's lead and client that are in no conversation yet.

    The first message to such an address adds it to this conversation.
    """
    if row["id"] is None or not (row["lead_id"] or row["client_id"]):
        return []
    theirs = await _reached(db, organization_id, lead_id=row["lead_id"], client_id=row["client_id"])
    had = {addresses.identity(each) for each in row["addresses"]}
    new = [each for each in theirs if addresses.identity(each) not in had]
    where = await desk.belonging(db, organization_id, new) if new else {}
    return [each for each in new if each not in where]


async def search(visit: Visit, db: Connection, q: str) -> list[Row]:
    """Leads and clients found by the beginning of a name or e-mail address, or a whole number."""
    if not q:
        return []
    tail = phone.tail(q) if "@" not in q else ""
    return await desk.people(
        db, visit.staff.organization_id, q, tail if len(tail) >= phone.TAIL_DIGITS else ""
    )


def asked(visit: Visit) -> str:
    """What somebody searches for."""
    return visit.request.query.get("person", "").strip()[:100].replace("\x00", "")


async def _reached(
    db: Connection, organization_id: UUID, *, lead_id: UUID | None, client_id: UUID | None
) -> list[str]:
    rows = await desk.reached(db, organization_id, lead_id=lead_id, client_id=client_id)
    found: dict[str, str] = {}
    for row in rows:
        for each in addresses.all_of(row, row["country"]):
            found.setdefault(addresses.identity(each), each)
    return list(found.values())
