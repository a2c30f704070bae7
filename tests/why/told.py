"""Makes stories for the tests: the row of a message, with what happened to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from gateway.why import Queued, Story, explain

NOW = datetime(2026, 11, 26, 14, 0, tzinfo=UTC)
ID = UUID("00000000-0000-7000-8000-000000000001")
OTHER = UUID("00000000-0000-7000-8000-000000000002")
ADDRESSES = {"email": "ada@example.com", "sms": "+447700900123"}


def ago(**length: float) -> datetime:
    """A moment before now."""
    return NOW - timedelta(**length)


def message(channel: str = "sms", **columns: Any) -> dict[str, Any]:
    """A row of `messages`, outbound unless `direction` is inbound."""
    theirs = ADDRESSES.get(channel, "+447700900123")
    ours = "desk@clinic.example" if channel == "email" else "+15551230001"
    is_inbound = columns.get("direction") == "inbound"
    return {
        "id": ID,
        "channel": channel,
        "direction": "outbound",
        "from_address": theirs if is_inbound else ours,
        "to_address": ours if is_inbound else theirs,
        "status": "received" if is_inbound else "pending",
        "created_at": ago(minutes=10),
        "updated_at": ago(minutes=10),
        "metadata": {},
        **dict.fromkeys(
            ("sent_at", "delivered_at", "read_at", "failed_at", "error_code", "error_message",
             "send_at", "expires_at", "retry_of", "external_id")
        ),
    } | columns  # fmt: skip


def event(
    type_: str, status: str | None = None, *, source: str = "worker", at: datetime | None = None,
    **detail: Any,
) -> dict[str, Any]:  # fmt: skip
    """One thing that happened."""
    return {
        "type": type_,
        "status": status,
        "occurred_at": at or ago(minutes=5),
        "recorded_at": at or ago(minutes=5),
        "source": source,
        "detail": detail,
    }


def queued(**more: Any) -> Queued:
    """A place in the queue: due now, without attempts."""
    due: dict[str, Any] = {"phase": "send", "run_at": NOW, "attempts": 0, "refusals": 0}
    return Queued(**due | more)


def story(channel: str = "sms", provider: str | None = "twilio", **more: Any) -> Story:
    """The story of a message with these columns; `about` has its other fields."""
    about = more.pop("about", {})
    return Story(message=message(channel, **more), now=NOW, provider=provider, **about)


def said(*given: Any, **more: Any) -> tuple[str, str | None]:
    """The summary and advice of a story."""
    found = explain(story(*given, **more))
    return found.summary, found.advice
