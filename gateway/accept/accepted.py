"""Accepted: what a request wants stored, and what becomes of its Idempotency-Key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from gateway.accept.keeping import Alone, Result
from gateway.accept.together import bytes_of
from gateway.problems import Problem
from gateway.store.database import Caller
from gateway.store.values import Row

# An organization and an idempotency key of it.
Claim = tuple[UUID, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Idempotency:
    """An Idempotency-Key, the digest of its request, and how the results become the answer.

    `before` is the answer that it has, where the results are those of the messages that lack one.
    """

    key: str
    digest: bytes
    answer: Callable[[Sequence[Result]], bytes]
    before: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """One request: what became of each of its messages, rows that are to be stored or problems.

    Errors of `alone` fail one of its messages, others all of them.
    """

    caller: Caller
    results: Sequence[Result]
    idempotency: Idempotency | None
    alone: Alone

    @cached_property
    def rows(self) -> list[Row]:
        """Those that are to be stored."""
        return [result for result in self.results if not isinstance(result, Problem)]

    @cached_property
    def bytes(self) -> int:
        """What the texts of its rows come to."""
        return sum(map(bytes_of, self.rows))

    @property
    def is_new(self) -> bool:
        """Whether there is anything to store: rows, or another answer than its key has."""
        key = self.idempotency
        if self.rows or key is None or key.before is None:
            return bool(self.rows)
        return key.answer(self.results) != key.before

    @property
    def claim(self) -> Claim | None:
        """What it claims with its key: the answer to it is its own."""
        return (self.caller.organization_id, self.idempotency.key) if self.idempotency else None
