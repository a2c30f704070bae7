"""Suppressions: addresses that must not be written to."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import Field

from channels.model import Channel
from gateway.shapes.base import Answer, Line, PageQuery, Shape, Short
from webhooks.model import Reason


class ReasonIn(StrEnum):
    """The reasons that somebody can give by hand; the others are what people and providers said."""

    MANUAL = Reason.MANUAL
    STOP = Reason.STOP
    UNSUBSCRIBE = Reason.UNSUBSCRIBE
    COMPLAINT = Reason.COMPLAINT
    HARD_BOUNCE = Reason.HARD_BOUNCE


class SuppressionIn(Shape):
    """An address that must not be written to on a channel; `note` says why, for colleagues."""

    channel: Channel
    address: Line
    reason: ReasonIn = Field(ReasonIn.MANUAL, description="as it was told to you")
    note: Short | None = None


class Suppression(Answer):
    """One suppressed address, with a reason and its evidence."""

    id: UUID
    organization_id: UUID
    channel: Channel
    address: str
    reason: Reason
    source: str
    evidence: dict[str, Any]
    created_at: datetime


class SuppressionQuery(PageQuery):
    """Filters."""

    channel: Channel | None = None
    address: Line | None = None
    reason: Reason | None = None
