"""The next step of a fallback, as values: the row of its message, and the events of the message
before it."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from channels.model import Status
from gateway.accept.repeating import callers_own
from gateway.accept.row import new_row
from gateway.store.conversations import Place
from gateway.store.fallbacks import Due
from gateway.store.reports import Event, event_id
from gateway.store.values import Row

# Keys of a step that are no columns of its message.
_BESIDE = ("id", "number", "priority", "after", "until", "owners")
# What these refer to may have been deleted by the time that the step is due.
_IDS = ("lead_id", "client_id", "template_id")
# Statuses after which nothing follows: the message got far enough, or was canceled.
_OVER = {
    "delivered": {Status.DELIVERED, Status.READ, Status.CANCELED},
    "read": {Status.READ, Status.CANCELED},
}


def is_over(due: Due, status: str) -> bool:
    """Whether no next step has to follow a message with this status."""
    return status in _OVER[due.steps[0]["until"]]


def row_of(due: Due) -> Row:
    """The next step as a message that is about to be stored."""
    step, *rest = due.steps
    common = {name: value for name, value in step.items() if name not in _BESIDE}
    lead_id, client_id = map(_uuid, step["owners"])
    return new_row(
        UUID(step["id"]),
        common | {name: _uuid(step[name]) for name in _IDS},
        (lead_id, client_id),
        source="worker",
        priority=step["priority"],
        is_test=due.is_test,
        metadata={**callers_own(due.metadata), "fallback_of": str(due.message_id)},
        reference=due.reference,
        expires_at=due.expires_at,
        steps=rest,
    )


def without_the_deleted(row: Row, there: frozenset[UUID]) -> Row:
    """The row without leads, clients and templates that have been deleted since it was drafted."""
    place: Place = row["place"]
    gone = [name for name in _IDS if row[name] not in there]
    return {
        **row,
        **dict.fromkeys(gone),
        "place": replace(
            place,
            lead_id=place.lead_id if place.lead_id in there else None,
            client_id=place.client_id if place.client_id in there else None,
        ),
    }


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text is not None else None


def reason(due: Due) -> str:
    """Why the step is taken: `failed`, `not_delivered` or `not_read`."""
    return "failed" if due.status == Status.FAILED else f"not_{due.steps[0]['until']}"


def _event(due: Due, key: str, kind: str, status: Status | None, detail: Row) -> Event:
    return Event(
        organization_id=due.organization_id,
        message_id=due.message_id,
        id=event_id(due.message_id, key),
        type=kind,
        status=status,
        source="worker",
        detail=detail,
    )


def followed(due: Due, row: Row) -> Event:
    """Names the message that is sent instead."""
    detail = {
        "message_id": str(row["id"]),
        "channel": row["channel"],
        "step": due.steps[0]["number"],
        "reason": reason(due),
    }
    return _event(due, "fallback", "fallback", None, detail)


def expired(due: Due) -> Event:
    """Says that nothing more is sent, because it would come too late."""
    detail = {"step": due.steps[0]["number"], "reason": reason(due)}
    return _event(due, "fallback_expired", "fallback_expired", None, detail)


def canceled(due: Due) -> Event:
    """Says that the message is canceled, so that it cannot arrive after what is sent instead."""
    return _event(due, "canceled", "canceled", Status.CANCELED, {"reason": "fallback"})
