"""Plans: what the simulator does with which messages, their outcomes and faults.

A plan is found by its `match`; if several match, the newest wins. Faults of the *answer* (`429`,
`500`, `502`, `503`, `504`, `reset`, `reset_after_accept`, `timeout_after_accept`) apply only to the
first attempts at each message, so that retries succeed: all the faults in the given order, `times`
times over (default once; -1: every attempt). Faults of the *callbacks* (`duplicate`, `reorder`,
`drop`, `batch`, `before_response`) apply to every message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from enum import StrEnum
from random import Random
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

T = TypeVar("T")


class Fault(StrEnum):
    """One thing that goes wrong on purpose."""

    DUPLICATE = "duplicate"
    REORDER = "reorder"
    DROP = "drop"
    BEFORE_RESPONSE = "before_response"
    BATCH = "batch"
    TIMEOUT_AFTER_ACCEPT = "timeout_after_accept"
    RESET_AFTER_ACCEPT = "reset_after_accept"
    RESET = "reset"
    TOO_MANY = "429"
    BROKEN = "500"
    BAD_GATEWAY = "502"
    UNAVAILABLE = "503"
    GATEWAY_TIMEOUT = "504"


REFUSED_BY_STATUS = frozenset(
    {
        Fault.TOO_MANY,
        Fault.BROKEN,
        Fault.BAD_GATEWAY,
        Fault.UNAVAILABLE,
        Fault.GATEWAY_TIMEOUT,
    }
)
ANSWER_FAULTS = REFUSED_BY_STATUS | {
    Fault.RESET,
    Fault.RESET_AFTER_ACCEPT,
    Fault.TIMEOUT_AFTER_ACCEPT,
}

Outcome = Literal[
    "queued",
    "sending",
    "sent",
    "delivered",
    "partially_delivered",
    "read",
    "failed",
    "undelivered",
    "canceled",
    "refused",
    "bounced",
    "blocked",
    "deferred",
    "dropped",
    "complained",
    "unsubscribed",
    "completed",
    "busy",
    "no-answer",
]
# The nearest outcome, for providers that do not have one.
_NEAREST = {
    "queued": "sent",
    "sending": "sent",
    "partially_delivered": "delivered",
    "read": "delivered",
    "undelivered": "failed",
    "bounced": "failed",
    "blocked": "failed",
    "deferred": "sent",
    "dropped": "failed",
    "complained": "delivered",
    "unsubscribed": "delivered",
    "completed": "delivered",
    "busy": "failed",
    "no-answer": "failed",
    "canceled": "failed",
}


def _word(value: object) -> object:
    """Accept the number 429 for "429": people write both in JSON."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _times(value: int | None) -> int | None:
    if value is not None and value != -1 and value < 1:
        message = "must be at least 1, or -1 for every attempt"
        raise ValueError(message)
    return value


def null_is_absent(body: object) -> object:
    """Treat fields that are null in JSON as left out, so that they get their defaults."""
    if not isinstance(body, dict):
        return body
    return {name: value for name, value in body.items() if value is not None}


def bare(address: str) -> str:
    """An address without channel prefix, and a number without punctuation."""
    number = address.rpartition(":")[2].strip()
    return number.translate(_PUNCTUATION) if number[:1] in "+(0123456789" else number


_PUNCTUATION = str.maketrans("", "", " ().-/")


class Match(BaseModel):
    """Which messages a plan is for: all given fields must match; `body` may be part of the text."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    to: str | None = None
    from_: str | None = Field(default=None, alias="from")
    body: str | None = None
    channel: str | None = None


class PlanBody(BaseModel):
    """The body of `POST /_sim/plan`.

    `times`: see the module; `steps`: the provider's own statuses to report instead of those of
    `outcome`; `answer_delay_ms`: how long the answer is held back after a message was accepted;
    `enforce_window`: WhatsApp's free texts fail outside the 24 hours. For calls: `digits` (which
    the person presses when asked), `answered_by` (the result of detection), `duration` (seconds).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: Match | None = None
    outcome: Outcome = "delivered"
    error_code: int | str | None = None
    delay_ms: int = Field(default=20, ge=0, le=3_600_000)
    answer_delay_ms: int = Field(default=0, ge=0, le=3_600_000)
    faults: tuple[Annotated[Fault, BeforeValidator(_word)], ...] = ()
    times: Annotated[int | None, AfterValidator(_times)] = None
    steps: tuple[str, ...] | None = None
    enforce_window: bool | None = None
    digits: str | None = Field(default=None, pattern=r"^[0-9*#]{1,32}$")
    answered_by: str | None = None
    duration: int | None = Field(default=None, ge=0, le=86_400)

    _null_is_absent = model_validator(mode="before")(null_is_absent)


class Plan:
    """A plan in force, with its count of attempts at each message."""

    def __init__(self, body: PlanBody, serial: int) -> None:
        """Do what `body` says; a higher `serial` is a newer plan."""
        self.body = body
        self.serial = serial
        self.faults = frozenset(body.faults)
        self._answers = [fault for fault in body.faults if fault in ANSWER_FAULTS]
        self._attempts: Counter[Hashable] = Counter()

    def fits(self, *, from_: str, body: str, channel: str) -> bool:
        """Whether the message matches; the book has already compared the recipient."""
        match = self.body.match
        return match is None or (
            (match.from_ is None or bare(match.from_) == from_)
            and (match.body is None or match.body in body)
            and (match.channel is None or match.channel == channel)
        )

    def next_fault(self, message: Hashable) -> Fault | None:
        """The fault of the answer to this attempt; `message` is the same key for each attempt."""
        if not self._answers:
            return None
        attempt = self._attempts[message]
        self._attempts[message] += 1
        times = 1 if self.body.times is None else self.body.times
        if times != -1 and attempt >= times * len(self._answers):
            return None
        return self._answers[attempt % len(self._answers)]


class PlanBook:
    """All plans, by recipient, so that plans for other numbers do not slow a message down."""

    def __init__(self) -> None:
        """Start with only the default: everything is delivered, without faults."""
        self._serial = 0
        self._default = Plan(PlanBody(), 0)
        self._by_to: dict[str, list[Plan]] = {}
        self._for_any: list[Plan] = []

    def add(self, body: PlanBody) -> Plan:
        """Put a plan before all earlier ones."""
        self._serial += 1
        plan = Plan(body, self._serial)
        match = body.match
        if match is None or match == Match():
            # It matches everything, so older plans would never be found again.
            self.clear()
            self._for_any = [plan]
        elif match.to is None:
            self._for_any.append(plan)
        else:
            self._by_to.setdefault(bare(match.to), []).append(plan)
        return plan

    def find(self, *, to: str, from_: str, body: str, channel: str) -> Plan:
        """The newest plan that matches the message."""
        to, from_ = bare(to), bare(from_)
        best = self._default
        for plans in (self._by_to.get(to, ()), self._for_any):
            for plan in reversed(plans):
                if plan.serial < best.serial:
                    break
                if plan.fits(from_=from_, body=body, channel=channel):
                    best = plan
                    break
        return best

    def bodies(self) -> list[PlanBody]:
        """The plans in force, newest first."""
        plans = [*self._for_any, *(plan for some in self._by_to.values() for plan in some)]
        return [plan.body for plan in sorted(plans, key=lambda plan: -plan.serial)]

    def clear(self) -> None:
        """Forget every plan."""
        self._by_to.clear()
        self._for_any.clear()


def steps_of(plan: Plan, ways: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The steps of a message under a plan; `ways` are the provider's steps for each outcome."""
    if plan.body.steps is not None:
        return plan.body.steps
    outcome: str = plan.body.outcome
    while outcome not in ways:
        outcome = _NEAREST[outcome]
    return ways[outcome]


def error_code(given: int | str | None, default: int) -> int | str:
    """The error code of a plan, as a number if it consists of digits."""
    if given is None:
        return default
    return int(given) if str(given).isascii() and str(given).isdigit() else given


def arrange(items: Sequence[T], faults: frozenset[Fault], random: Random) -> list[T]:
    """The callbacks as the faults want them: doubled, shuffled, or none at all."""
    if Fault.DROP in faults:
        return []
    copies = 2 if Fault.DUPLICATE in faults else 1
    arranged = [item for item in items for _ in range(copies)]
    if Fault.REORDER in faults:
        straight = list(arranged)
        random.shuffle(arranged)
        if arranged == straight:
            # If the order did not change, a test could pass by luck.
            arranged.reverse()
    return arranged
