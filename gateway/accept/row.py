"""The row of a message that is about to be stored: of a request, or of a step that is due.

The worker makes rows of steps, and should not have to import what reads requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from channels.model import Channel
from gateway.accept.draft import Links
from gateway.accept.repeating import OF_A_TEST
from gateway.consent import standing
from gateway.store.conversations import Place
from gateway.store.media import NewMedia
from gateway.store.reports import event_id_of, report_id
from gateway.store.values import Row

_ACCEPTED = report_id("accepted")


def new_row(
    message_id: UUID,
    common: Row,
    owners: Links,
    *,
    source: str,
    priority: int,
    is_test: bool,
    metadata: Mapping[str, Any],
    reference: str | None,
    expires_at: datetime | None,
    steps: Sequence[Row],
    send_at: datetime | None = None,
    attachments: Sequence[Row] = (),
    media: Sequence[NewMedia] = (),
    conversation_id: UUID | None = None,
) -> Row:
    """The row of a message to the `owners` of its address; `common` is what a step has, too
    (`draft.common_columns`)."""
    lead_id, client_id = owners
    from_address, to_address = common["from_address"], common["to_address"]
    return {
        **common,
        "id": message_id,
        "attachments": attachments,
        "metadata": {**metadata, **OF_A_TEST} if is_test else metadata,
        "reference": reference,
        "send_at": send_at,
        "expires_at": expires_at,
        "retry_of": None,
        "priority": priority,
        "is_test": is_test,
        "event_id": event_id_of(message_id, _ACCEPTED),
        "source": source,
        "place": Place(
            seed=message_id,
            addresses=[to_address],
            lead_id=lead_id,
            client_id=client_id,
            conversation_id=conversation_id,
        ),
        "media": media,
        "written": standing.written(message_id, from_address, to_address, common["subject"])
        if common["channel"] == Channel.EMAIL
        else None,
        "steps": steps,
    }
