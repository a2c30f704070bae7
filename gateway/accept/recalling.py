"""Recalling: a repeated Idempotency-Key gets the answer of the first request again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway.accept.accepted import Idempotency
from gateway.batching import Batching
from gateway.problems import Problem
from gateway.store import messages
from gateway.store.database import Caller, Database
from gateway.store.messages import Remembered


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
