"""The explanation of a message in plain words."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from gateway.shapes.base import Answer


class Step(Answer):
    """One thing that happened."""

    at: datetime
    text: str = Field(description="a plain sentence")
    source: str = Field(description="who told it: a provider, `api`, `worker`, `gateway`")
    detail: dict[str, str] = Field(
        description="the technical part: the event's `type`, codes, the provider's own words; or "
        "the `message_id` of another message that belongs to this one"
    )


class Explanation(Answer):
    """For readers without technical knowledge; times in sentences are in UTC."""

    summary: str = Field(description="what the state is")
    advice: str | None = Field(description="what to do next, if anything")
    timeline: list[Step] = Field(description="what happened, oldest first")
