"""To whom, and from where: the addresses of a request, read in its context."""

from __future__ import annotations

from uuid import UUID

from channels.model import Channel
from gateway import addresses
from gateway.api.shapes.messages import SendRequest
from gateway.problems import FieldError
from gateway.store.contacts import Context, Row


def recipient(request: SendRequest, context: Context) -> tuple[str | None, list[FieldError]]:
    """The address to send to, from the request or from the contact that it names."""
    errors: list[FieldError] = []
    people: list[tuple[str, Row]] = []
    for name, wanted, rows in (
        ("lead_id", request.lead_id, context.leads),
        ("client_id", request.client_id, context.clients),
    ):
        row = next((row for row in rows if wanted and UUID(row["id"]) == wanted), None)
        if row is not None:
            people.append((name, row))
        elif wanted is not None:
            errors.append(FieldError(name, "there is none of that id in your organization"))
    if request.to is not None:
        address = addresses.read(request.channel, request.to, context.country)
        if address is None:
            errors.append(FieldError("to", addresses.invalid(request.channel, context.country)))
        return address, errors
    for _, row in people:
        address = addresses.of_contact(request.channel, row, context.country)
        if address is not None:
            return address, errors
    what = "e-mail address" if request.channel is Channel.EMAIL else "phone number"
    errors += [
        FieldError(name, f"has no {what} that a message could be sent to") for name, _ in people
    ]
    return None, errors


def sender(request: SendRequest, context: Context) -> tuple[Row | None, list[FieldError]]:
    """The sender that a request names, or its channel's default."""
    senders = [sender for sender in context.senders if sender["channel"] == request.channel]
    if request.from_ is None:
        default = next((sender for sender in senders if sender["is_default"]), None)
        missing = f"is missing, and the channel {request.channel} has no default sender"
        return default, [] if default else [FieldError("from", missing)]
    read = addresses.read(request.channel, request.from_, context.country)
    wanted = {
        addresses.key(request.channel, address) for address in (request.from_, read) if address
    }
    found = next(
        (each for each in senders if addresses.key(request.channel, each["address"]) in wanted),
        None,
    )
    unknown = f"is no active sender of your organization on {request.channel}"
    return found, [] if found else [FieldError("from", unknown)]


def links(
    request: SendRequest, to_address: str | None, context: Context
) -> tuple[UUID | None, UUID | None]:
    """The lead and the client of a message: those it names, else the newest with its address."""
    known: dict[str, UUID] = {}
    for row in context.known if to_address else ():
        if addresses.is_contact(row, to_address or "", context.country):
            known.setdefault(row["kind"], UUID(row["id"]))
    return request.lead_id or known.get("lead"), request.client_id or known.get("client")


def owners(
    request: SendRequest, to_address: str | None, context: Context
) -> tuple[UUID | None, UUID | None]:
    """The lead and the client whose own address it is: those named, else the newest.

    Unlike `links`: a message may be about a lead and go to somebody else.
    """
    found: dict[str, UUID] = {}
    people = [
        *(("lead", row) for row in context.leads if UUID(row["id"]) == request.lead_id),
        *(("client", row) for row in context.clients if UUID(row["id"]) == request.client_id),
        *((row["kind"], row) for row in context.known),
    ]
    for kind, row in people if to_address else ():
        if addresses.is_contact(row, to_address or "", context.country):
            found.setdefault(kind, UUID(row["id"]))
    return found.get("lead"), found.get("client")
