"""Accepted: what is to be stored for a request, with the answer under its Idempotency-Key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from gateway.accept.allowance import bytes_of
from gateway.accept.keeping import Alone, Result
from gateway.problems import Problem
from gateway.store.database import Caller
from gateway.store.values import Row

# An organization and an idempotency key of it.
Claim = tuple[UUID, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Idempotency:
    """An Idempotency-Key, the digest of its request, and how the results become the answer.

    `before` is the answer that the key has already, if only messages without a result are tried.
    """

    key: str
    digest: bytes
    answer: Callable[[Sequence[Result]], bytes]
    before: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """One request, with a row to be stored or a problem for each of its messages.

    Errors of `alone` fail a single message, all other errors the whole request.
    """

    caller: Caller
    results: Sequence[Result]
    idempotency: Idempotency | None
    alone: Alone

    @cached_property
    def rows(self) -> list[Row]:
        """The rows that are to be stored."""
        return [result for result in self.results if not isinstance(result, Problem)]

    @cached_property
    def bytes(self) -> int:
        """The bytes of text in its rows."""
        return sum(map(bytes_of, self.rows))

    @property
    def is_new(self) -> bool:
        """Whether there is anything to store: rows, or a new answer for its key."""
        key = self.idempotency
        if self.rows or key is None or key.before is None:
            return bool(self.rows)
        return key.answer(self.results) != key.before

    @property
    def claim(self) -> Claim | None:
        """Its Idempotency-Key, which no other request of the organization may use."""
        return (self.caller.organization_id, self.idempotency.key) if self.idempotency else None
