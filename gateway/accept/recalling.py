"""Recalling: a repeated Idempotency-Key gets the answer of the first request again.

The first request claims the key in the transaction that stores its messages, with its answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway.accept.accepted import Accepted, Claim, Idempotency
from gateway.accept.keeping import Result
from gateway.batching import Batching
from gateway.problems import Problem
from gateway.store import messages
from gateway.store.database import Caller, Connection, Database
from gateway.store.messages import Remembered


class OthersError(Exception):
    """Other requests claimed these keys first: without them the batch can be stored."""

    def __init__(self, claims: set[Claim]) -> None:
        super().__init__("another request was first")
        self.claims = claims


@dataclass(frozen=True, slots=True)
class Replayed:
    """The answer that was given under this idempotency key before."""

    answer: bytes


class Recalling:
    """Looks up first answers, for concurrent requests in one round trip."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batching = Batching(self._find, owner=lambda wanted: wanted[0])

    async def recall(self, caller: Caller, idempotency: Idempotency) -> Replayed | None:
        """The first answer under this key; raises `Problem` 409 when that was another request."""
        kept = await self._batching((caller.organization_id, idempotency.key))
        if kept is None:
            return None
        if kept.request_hash != idempotency.digest:
            raise Problem(
                409,
                "This Idempotency-Key was used with another request: "
                "use a new key for a new request.",
            )
        return Replayed(kept.answer)

    async def _find(self, wanted: Sequence[tuple[UUID, str]]) -> list[Remembered | None]:
        async with self._database.as_service() as db:
            kept = await messages.recall(db, wanted)
        return [kept.get(each) for each in wanted]


async def firsts_of(
    db: Connection, batch: Sequence[Accepted], others: set[Claim]
) -> list[Accepted]:
    """The requests to store: all without an Idempotency-Key, and the first with each new key.

    A request that changes an earlier answer has a known key; whether that answer is still the same
    turns out when it is changed (`keep_answers`).
    """
    new = {
        accepted.claim
        for accepted in batch
        if accepted.idempotency and accepted.claim and accepted.idempotency.before is None
    }
    claimed = {*others, *await messages.recall(db, list(new - others))}
    firsts = []
    for accepted in batch:
        if accepted.claim is None:
            firsts.append(accepted)
        elif accepted.claim not in claimed:
            claimed.add(accepted.claim)
            firsts.append(accepted)
    return firsts


async def keep_answers(
    db: Connection, firsts: Sequence[Accepted], answers: Mapping[int, Sequence[Result]]
) -> None:
    """Keep the answers under their keys; last, because only then are they complete.

    If another request has claimed a key meanwhile, this waits for it and raises `OthersError`.
    """
    new, changed = [], []
    for accepted in firsts:
        if accepted.idempotency and accepted.claim:
            answer = accepted.idempotency.answer(answers[id(accepted)])
            if accepted.idempotency.before is None:
                new.append((*accepted.claim, accepted.idempotency.digest, answer))
            else:
                changed.append((*accepted.claim, accepted.idempotency.before, answer))
    own = await messages.keep_answers(db, new) | await messages.change_answers(db, changed)
    if others := {(organization, key) for organization, key, *_ in (*new, *changed)} - own:
        raise OthersError(others)


def digest_of(caller: Caller, kind: str, body: object) -> bytes:
    """The digest of a request: the same for two bodies that are equal as parsed JSON.

    It says whether a test key called: a test key's answer must never stand in for a live one.
    """
    text = json.dumps([kind, caller.is_test, _canonical(body)], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def _canonical(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """JSON has one kind of number: 7.0 and 7 are the same."""
    if isinstance(value, float) and value.is_integer():
        return int(value) if abs(value) < 2**53 else value
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value
