"""Whose rows claims wait for is found in few trials; where it may be everybody's, nobody's is."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest

from gateway.dispatch.whose import whose
from gateway.store.errors import DatabaseAwayError, HeldError, SlowError

ALL = [UUID(int=n) for n in range(100)]


class Trials:
    """Claims for groups in which some wait, are refused, or have nothing to claim."""

    def __init__(self, **how: Sequence[int]) -> None:
        self.how = {name: {UUID(int=n) for n in them} for name, them in how.items()}
        self.waited = 0

    async def __call__(self, group: Sequence[UUID]) -> bool:
        for name, error in (("held", HeldError), ("slow", SlowError)):
            if self.how.get(name, set()).intersection(group):
                self.waited += 1
                raise error
        if self.how.get("refused", set()).intersection(group):
            raise ValueError
        return not self.how.get("idle", set()).issuperset(group)


async def test_those_for_whom_a_claim_waits() -> None:
    """One of a hundred is found in seven trials that wait; several are found, too."""
    trials = Trials(held=[41], refused=[3])
    assert [UUID(int=41)] == await whose(ALL, trials)
    assert trials.waited <= 7
    found = await whose(ALL, Trials(held=[41], slow=[7, 8, 99]))
    assert {7, 8, 41, 99} == {each.int for each in found or ()}


async def test_nobody_is_found_where_it_may_be_everybody() -> None:
    """Where nothing can be claimed for anybody, it may be the database; where nobody waits any
    more, it is over."""
    assert None is await whose(ALL[:4], Trials(slow=range(4)))
    assert None is await whose(ALL[:4], Trials(slow=[0], idle=[1, 2, 3]))
    assert None is await whose(ALL[:1], Trials(slow=[0]))
    assert None is await whose([], Trials())
    assert [] == await whose(ALL[:4], Trials())


async def test_a_database_that_is_away() -> None:
    """That ends the search."""

    async def tried(group: Sequence[UUID]) -> bool:
        raise DatabaseAwayError(len(group))

    with pytest.raises(DatabaseAwayError):
        await whose(ALL, tried)
