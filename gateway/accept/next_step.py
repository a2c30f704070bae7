"""The next step of a fallback, as values: the message that it becomes, and what is noted of the
message before it."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from channels.model import Channel, Status
from gateway.accept.repeating import OF_A_TEST, callers_own
from gateway.consent import standing
from gateway.store.conversations import Place
from gateway.store.fallbacks import Due
from gateway.store.reports import Event, event_id, event_id_of, report_id
from gateway.store.values import Row

_ACCEPTED = report_id("accepted")
# With this the next steps are over: it got as far as it should, or somebody wanted none of it.
_OVER = {
    "delivered": {Status.DELIVERED, Status.READ, Status.CANCELED},
    "read": {Status.READ, Status.CANCELED},
}


def is_over(due: Due, status: str) -> bool:
    """Whether nothing has to follow a message that has this status."""
    return status in _OVER[due.steps[0]["until"]]


def row_of(due: Due) -> Row:
    """The next step as a message that is about to be stored."""
    step, *rest = due.steps
    step_id = UUID(step["id"])
    lead_id, client_id = map(_uuid, step["owners"])
    of_mail = (step_id, step["from_address"], step["to_address"], step["subject"])
    return {
        "id": step_id,
        "channel": step["channel"],
        "from_address": step["from_address"],
        "to_address": step["to_address"],
        "lead_id": _uuid(step["lead_id"]),
        "client_id": _uuid(step["client_id"]),
        "subject": step["subject"],
        "body": step["body"],
        "html_body": step["html_body"],
        "attachments": [],
        "metadata": {
            **callers_own(due.metadata),
            "fallback_of": str(due.message_id),
            **(OF_A_TEST if due.is_test else {}),
        },
        "template_id": _uuid(step["template_id"]),
        "reference": due.reference,
        "send_at": None,
        "expires_at": due.expires_at,
        "retry_of": None,
        "parts": step["parts"],
        "sender_id": step["sender_id"],
        "provider": step["provider"],
        "priority": step["priority"],
        "is_test": due.is_test,
        "event_id": event_id_of(step_id, _ACCEPTED),
        "source": "worker",
        "place": Place(
            seed=step_id, addresses=[step["to_address"]], lead_id=lead_id, client_id=client_id
        ),
        "media": [],
        "written": standing.written(*of_mail) if step["channel"] == Channel.EMAIL else None,
        "steps": rest,
    }


def without_the_deleted(row: Row, there: frozenset[UUID]) -> Row:
    """Leads, clients and templates may have been deleted since the first message was accepted."""
    place: Place = row["place"]
    gone = [name for name in ("lead_id", "client_id", "template_id") if row[name] not in there]
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
    """It leaves no more, so that it does not arrive behind what is sent instead."""
    return _event(due, "canceled", "canceled", Status.CANCELED, {"reason": "fallback"})
