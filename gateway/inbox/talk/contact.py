"""Whom a conversation is with: names, addresses, suppressions, and how staff change them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from aiohttp import web

from channels.model import Channel
from gateway import addresses, placing
from gateway.inbox import forms
from gateway.inbox.talk import listing, person, thread
from gateway.inbox.visit import Visit
from gateway.inbox.words import CHANNELS, REASONS
from gateway.manage import suppressions as managed
from gateway.problems import Problem
from gateway.shapes.suppressions import ReasonIn, SuppressionIn
from gateway.store import contacts, conversations, desk, suppressions
from gateway.store.contacts import Kind
from gateway.store.database import Connection
from gateway.store.errors import ConflictError
from gateway.store.values import Row, storable

_FIELDS = {
    "lead": (
        ("status", "Status"),
        ("source", "Source"),
        ("tags", "Tags"),
        ("last_contacted_at", "Last contacted"),
        ("notes", "Notes"),
    ),
    "client": (
        ("membership_status", "Membership"),
        ("membership_end_date", "Until"),
        ("notes", "Notes"),
    ),
}
_LONGEST = 600


async def context(visit: Visit, db: Connection, row: Row, further: Sequence[str]) -> dict[str, Any]:
    """What the contact's pane shows; `further` are addresses in no conversation yet."""
    theirs = [*row["addresses"], *further]
    organization_id = visit.staff.organization_id
    others = []
    if row["name"]:
        others = await desk.same_name(db, organization_id, row["id"], row["name"])
    # The only address stays, unless a merge has moved some of its messages elsewhere already.
    may_unlink = len(row["addresses"]) > 1 or bool(
        await conversations.merging_into(db, organization_id, row["id"])
    )
    return {
        "may_unlink": may_unlink,
        "cards": await cards(db, organization_id, row),
        **await stops(visit, db, theirs),
        "others": others,
        "colleagues": await desk.staff(db, organization_id),
    }


async def cards(db: Connection, organization_id: UUID, row: Row) -> list[dict[str, Any]]:
    """What is shown of the conversation's lead and client."""
    found = [await _card(db, kind, organization_id, row[f"{kind}_id"]) for kind in person.KINDS]
    return [card for card in found if card]


async def stops(visit: Visit, db: Connection, theirs: Sequence[str]) -> dict[str, Any]:
    """The person's suppressions, and the choices of the form that adds one."""
    return {
        "suppressed": await suppressed(visit, db, theirs),
        "ways": _ways(theirs),
        "reasons": [(each.value, REASONS[each]) for each in ReasonIn],
    }


async def suppressed(visit: Visit, db: Connection, theirs: Sequence[str]) -> list[dict[str, Any]]:
    """The suppressions of these addresses."""
    keys = sorted({key for address in theirs for key in _keys(address)})
    held = await suppressions.search(
        db,
        visit.staff.organization_id,
        channel=None,
        addresses=keys,
        reason=None,
        cursor=None,
        limit=50,
    )
    return [_suppression(visit, each) for each in held.rows]


async def ask_link(visit: Visit) -> web.StreamResponse:
    """Search for the lead or client that a conversation is with."""
    q = person.asked(visit)
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await thread.known(visit, db)
        found = await person.search(visit, db, q)
    return visit.page(
        "talk/link.html",
        row=row,
        name=listing.name_of(row),
        q=q,
        found=found,
        wanted=listing.Wanted.of(visit.request.query),
    )


async def link(visit: Visit) -> web.StreamResponse:
    """Link a conversation to a lead or client, or remove that link."""
    form = await visit.form()
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await thread.known(visit, db)
    kind = form.get("kind", "")
    if kind not in person.KINDS:
        raise Problem(400, "The form does not say whether it is a lead or a client.")
    wanted = _uuid(form["person_id"]) if form.get("person_id") else None
    try:
        async with visit.services.database.as_service(on_behalf=visit.staff) as db:
            await conversations.link(
                db, visit.staff.organization_id, row["id"], {f"{kind}_id": wanted}
            )
    except ConflictError as conflict:
        if "fkey" in conflict.constraint:
            raise Problem(404, f"This {kind} no longer exists.") from None
        return await _merge_instead(visit, row, kind, wanted)
    return listing.back(visit, f"/c/{row['id']}", done="saved")


async def unlink(visit: Visit) -> web.StreamResponse:
    """Move an address that is somebody else's into a conversation of its own."""
    form = await visit.form()
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await thread.known(visit, db)
    # Not only addresses of this conversation: the address may have left it before its messages did.
    new = await placing.set_apart(
        visit.services.database, visit.staff, row["id"], storable(form.get("address", ""))
    )
    if new is None:
        raise Problem(409, "This address is no longer in this conversation.")
    return listing.back(visit, f"/c/{new}", done="apart")


async def ask_merge(visit: Visit) -> web.StreamResponse:
    """Ask whether two conversations are really with the same person."""
    other = _uuid(visit.request.query.get("other", ""))
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await thread.known(visit, db)
        merged = await conversations.get(db, visit.staff.organization_id, other)
    if merged is None or merged["id"] == row["id"]:
        raise Problem(404, "There is no such conversation.")
    return visit.page(
        "talk/merge.html",
        row=row,
        name=listing.name_of(row),
        other=merged,
        other_name=listing.name_of(merged),
        wanted=listing.Wanted.of(visit.request.query),
    )


async def merge(visit: Visit) -> web.StreamResponse:
    """Merge another conversation into this one."""
    form = await visit.form()
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await thread.known(visit, db)
        other = _uuid(form.get("other", ""))
        merged = await conversations.get(db, visit.staff.organization_id, other)
    if merged is None:
        raise Problem(404, "There is no such conversation.")
    if not await placing.merge(
        visit.services.database, visit.staff, merged=merged["id"], kept=row["id"]
    ):
        raise Problem(409, "Somebody has merged one of them in the meantime.")
    return listing.back(visit, f"/c/{row['id']}", done="merged", was=str(merged["id"]))


async def suppress(visit: Visit) -> web.StreamResponse:
    """Suppress one of the contact's addresses, with a reason."""
    form = await visit.form()
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await thread.whom(visit, db)
        further = await person.further(db, visit.staff.organization_id, row)
    ways = dict(_ways([*row["addresses"], *further]))
    way = form.get("way", "")
    if way not in ways:
        raise Problem(409, "Choose an address that is still theirs.")
    channel, _, address = way.partition(" ")
    wanted = forms.read(
        SuppressionIn,
        {
            "channel": channel,
            "address": address,
            "reason": form.get("reason", ""),
            "note": forms.text(form, "note"),
        },
    )
    await managed.add(visit.services, visit.staff, wanted)
    return listing.back(visit, person.path_of(visit, row), done="suppressed")


async def lift(visit: Visit) -> web.StreamResponse:
    """Lift one of the contact's suppressions, if this member of staff may."""
    form = await visit.form()
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await thread.whom(visit, db)
    await managed.lift(visit.services, visit.staff, _uuid(form.get("suppression_id", "")))
    return listing.back(visit, person.path_of(visit, row), done="lifted")


async def _merge_instead(
    visit: Visit, row: Row, kind: str, wanted: UUID | None
) -> web.StreamResponse:
    """The person is linked to another conversation already: offer to merge the two."""
    async with visit.services.database.as_caller(visit.staff) as db:
        other = await conversations.of_contact(
            db,
            visit.staff.organization_id,
            lead_id=wanted if kind == "lead" else None,
            client_id=wanted if kind == "client" else None,
        )
    return listing.back(visit, f"/c/{row['id']}/merge", other=str(other))


async def _card(
    db: Connection, kind: Kind, organization_id: UUID, contact_id: UUID | None
) -> dict[str, Any] | None:
    if contact_id is None:
        return None
    row = await contacts.get(db, kind, organization_id, contact_id)
    if row is None:
        return None
    return {
        "kind": kind,
        "id": contact_id,
        "name": _fact(row["name"]),
        "facts": [
            (label, value)
            for name, label in _FIELDS[kind]
            if (value := _fact(row[name])) not in (None, "")
        ],
    }


def _fact(value: Any) -> Any:  # noqa: ANN401 - a column
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST].rstrip()}…"
    return value


def _ways(theirs: Sequence[str]) -> list[tuple[str, str]]:
    """Each channel with an address that it can be used with, as a form's value and in words."""
    return [
        (f"{channel} {address}", f"{CHANNELS[channel]}, {address}")
        for address in theirs
        for channel in Channel
        if addresses.fits(channel, address)
    ]


def _keys(address: str) -> set[str]:
    if "@" in address:
        return {addresses.key(Channel.EMAIL, address)}
    return {address, *addresses.forms(Channel.WHATSAPP, address)}


def _suppression(visit: Visit, row: Row) -> dict[str, Any]:
    theirs = managed.is_their_word(row["reason"])
    return {
        "id": row["id"],
        "channel": row["channel"],
        "address": row["address"],
        "reason": REASONS.get(row["reason"], row["reason"]),
        "at": row["created_at"],
        "note": (row["evidence"] or {}).get("note"),
        "can_lift": not theirs or visit.staff.may_administer,
    }


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Problem(404, "There is nothing with this id.") from None
