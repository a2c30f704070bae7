"""Leads and clients."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from gateway.shapes.base import (
    Address,
    Answer,
    Given,
    Integer,
    JsonObject,
    Long,
    Number,
    PageQuery,
    Shape,
    Short,
)


class LeadPatch(Shape):
    """Columns of `leads` that a caller may write."""

    first_name: Short | None = None
    last_name: Short | None = None
    email: Address | None = None
    phone: Address | None = None
    source: Short | None = None
    source_details: JsonObject | None = None
    utm_source: Short | None = None
    utm_medium: Short | None = None
    utm_campaign: Short | None = None
    status: Literal["new", "contacted", "qualified", "converted", "lost"] | None = None
    tags: Annotated[list[Short], Field(max_length=1000)] | None = None
    lead_score: Annotated[Integer, Field(ge=-(2**31), lt=2**31)] | None = None
    ai_score: Number | None = None
    assigned_to: UUID | None = None
    custom_fields: JsonObject | None = None
    notes: Long | None = None


class LeadIn(LeadPatch):
    """A new lead."""


class Lead(Answer):
    """One row of `leads`."""

    id: UUID
    organization_id: UUID
    first_name: str | None
    last_name: str | None
    name: str | None
    email: str | None
    phone: str | None
    source: str | None
    source_details: dict[str, Any] | None
    utm_source: str | None
    utm_medium: str | None
    utm_campaign: str | None
    status: str | None
    tags: list[str] | None
    lead_score: int | None
    ai_score: float | None
    assigned_to: UUID | None
    custom_fields: dict[str, Any] | None
    notes: str | None
    last_contacted_at: datetime | None
    converted_at: datetime | None
    created_at: datetime
    updated_at: datetime


class ClientPatch(Shape):
    """Columns of `clients` that a caller may write."""

    first_name: Short | None = None
    last_name: Short | None = None
    email: Given[Address] = None
    phone: Address | None = None
    is_active: bool | None = None
    date_of_birth: date | None = None
    gender: Short | None = None
    emergency_contact_name: Short | None = None
    emergency_contact_phone: Short | None = None
    membership_status: Short | None = None
    membership_start_date: date | None = None
    membership_end_date: date | None = None
    custom_fields: JsonObject | None = None
    notes: Long | None = None


class ClientIn(ClientPatch):
    """A new client; an e-mail address is required."""

    email: Annotated[Address, Field(min_length=1)]


class Client(Answer):
    """One row of `clients`, without login secrets."""

    id: UUID
    organization_id: UUID
    first_name: str | None
    last_name: str | None
    name: str | None
    email: str
    phone: str | None
    is_active: bool | None
    email_verified: bool | None
    date_of_birth: date | None
    gender: str | None
    emergency_contact_name: str | None
    emergency_contact_phone: str | None
    membership_status: str | None
    membership_start_date: date | None
    membership_end_date: date | None
    invitation_id: UUID | None
    custom_fields: dict[str, Any] | None
    notes: str | None
    last_login_at: datetime | None
    created_at: datetime
    updated_at: datetime


class LeadQuery(PageQuery):
    """Filters."""

    status: Short | None = None
    email: Address | None = None


class ClientQuery(PageQuery):
    """Filters."""

    membership_status: Short | None = None
    email: Address | None = None
