"""Recipient and sender of a request, and the contacts that it is linked to."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from channels.model import Channel
from gateway import addresses
from gateway.accept.draft import Links
from gateway.accept.known import Known
from gateway.problems import FieldError
from gateway.shapes.messages import SendRequest
from gateway.store.values import Row


def recipient(request: SendRequest, known: Known) -> tuple[str | None, list[FieldError]]:
    """The address to send to, from the request or from the contact that it names."""
    errors: list[FieldError] = []
    people: list[tuple[str, Row]] = []
    for name, wanted, row in (
        ("lead_id", request.lead_id, known.lead(request.lead_id)),
        ("client_id", request.client_id, known.client(request.client_id)),
    ):
        if row is not None:
            people.append((name, row))
        elif wanted is not None:
            errors.append(FieldError(name, "there is none with that id in your organization"))
    if request.to is not None:
        address = addresses.read(request.channel, request.to, known.country)
        if address is None:
            errors.append(FieldError("to", addresses.invalid(request.channel, known.country)))
        return address, errors
    for _, row in people:
        address = addresses.of_contact(request.channel, row, known.country)
        if address is not None:
            return address, errors
    what = "e-mail address" if request.channel is Channel.EMAIL else "phone number"
    errors += [
        FieldError(name, f"has no {what} that a message could be sent to") for name, _ in people
    ]
    return None, errors


def sender(request: SendRequest, known: Known) -> tuple[Row | None, list[FieldError]]:
    """The sender that a request names, or its channel's default."""
    if request.from_ is None:
        default = known.default_sender(request.channel)
        missing = f"is missing, and the channel {request.channel} has no default sender"
        return default, [] if default else [FieldError("from", missing)]
    found = known.sender(request.channel, request.from_)
    unknown = f"is not an active sender of your organization on {request.channel}"
    return found, [] if found else [FieldError("from", unknown)]


def links(request: SendRequest, to_address: str | None, known: Known) -> Links:
    """The lead and the client of a message: those named, else the newest with the address."""
    people = known.people(to_address) if to_address else ()
    if not people:
        return request.lead_id, request.client_id
    lead, client = _first(people, "lead"), _first(people, "client")
    return request.lead_id or lead, request.client_id or client


def owners(request: SendRequest, to_address: str | None, known: Known) -> Links:
    """The lead and the client to whom the address belongs: those named, else the newest.

    Unlike `links`: a message may be about a lead, and still go to somebody else.
    """
    if to_address is None:
        return None, None
    people = _owning(request, to_address, known)
    return _first(people, "lead"), _first(people, "client")


def elsewhere(request: SendRequest, to_address: str, channel: Channel, known: Known) -> str | None:
    """The address of the same person on another channel; None if none is known."""
    if ("@" in to_address) == (channel is Channel.EMAIL):
        is_fit = addresses.fits(channel, to_address)  # a user id of WhatsApp's is no number
        return addresses.read(channel, to_address, known.country) if is_fit else None
    people = _owning(request, to_address, known)
    for kind in ("lead", "client"):
        of_kind = next((row for row in people if row["kind"] == kind), None)
        if of_kind and (address := addresses.of_contact(channel, of_kind, known.country)):
            return address
    return None


def _owning(request: SendRequest, to_address: str, known: Known) -> Sequence[Row]:
    """The contacts to whom the address belongs: those named, then the newest first."""
    people = known.people(to_address)
    if request.lead_id is None and request.client_id is None:
        return people
    named = [
        {"kind": kind, **row}
        for kind, row in (
            ("lead", known.lead(request.lead_id)),
            ("client", known.client(request.client_id)),
        )
        if row is not None and addresses.is_contact(row, to_address, known.country)
    ]
    return [*named, *people]


def _first(people: Sequence[Row], kind: str) -> UUID | None:
    return next((row["id"] for row in people if row["kind"] == kind), None)
