"""The tables as SQLAlchemy reads them: only what the naive programs touch."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from twilio.rest import Client

SENDER = "+15551230001"


class Base(DeclarativeBase):
    """The base class of the tables."""


class ApiKey(Base):
    """A caller's key."""

    __tablename__ = "api_keys"
    __table_args__ = ({"schema": "gateway"},)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[uuid.UUID]
    hash: Mapped[bytes]


class Template(Base):
    """A text with variables."""

    __tablename__ = "message_templates"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[uuid.UUID]
    name: Mapped[str]
    content: Mapped[str]
    is_active: Mapped[bool]


class Message(Base):
    """A message."""

    __tablename__ = "messages"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    organization_id: Mapped[uuid.UUID]
    channel: Mapped[str]
    direction: Mapped[str] = mapped_column(default="outbound")
    from_address: Mapped[str]
    to_address: Mapped[str]
    body: Mapped[str]
    status: Mapped[str]
    external_id: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]


class Event(Base):
    """Something that happened to a message."""

    __tablename__ = "message_events"
    __table_args__ = ({"schema": "gateway"},)
    organization_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    message_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("messages.id"), primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    type: Mapped[str]
    status: Mapped[str | None]
    occurred_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
    source: Mapped[str]


engine = create_engine(
    "postgresql+psycopg:" + os.environ["DATABASE_URL"].partition(":")[2],
    pool_size=20,
    max_overflow=20,
)
Session = sessionmaker(engine)


def twilio_client() -> Client:
    """Twilio's own client, directed to the fake provider."""
    from twilio.http.http_client import TwilioHttpClient  # noqa: PLC0415 - beside its only use

    base = os.environ["TWILIO_API_URL"]

    class Here(TwilioHttpClient):  # type: ignore[misc] # twilio has no types
        """Twilio's HTTP client, for another host."""

        def request(self, method: str, url: str, *words: Any, **more: Any) -> Any:  # noqa: ANN401
            """Send a request to the fake provider instead of Twilio."""
            return super().request(
                method, url.replace("https://api.twilio.com", base), *words, **more
            )

    return Client("AC" + "0" * 32, os.environ["TWILIO_TOKEN"], http_client=Here())
