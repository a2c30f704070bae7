"""Whose rows claims wait for is found in few trials; where it may be everybody's, nobody's is."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest

from gateway.dispatch.hindered import Found, find_hindered
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
    one = Found([UUID(int=41)], is_any_free=True, is_one=True)
    assert one == await find_hindered(ALL, trials)
    assert trials.waited <= 7
    found = await find_hindered(ALL, Trials(held=[41], slow=[7, 8, 99]))
    assert {7, 8, 41, 99} == {each.int for each in found.organizations}


async def test_where_it_may_be_the_database() -> None:
    """Where nothing can be claimed for anybody, nobody is free; one that nobody can be compared
    with is told apart."""
    everybody = await find_hindered(ALL[:4], Trials(slow=range(4)))
    assert (False, False) == (everybody.is_any_free, everybody.is_one)
    for organizations, trials in (
        (ALL[:4], Trials(slow=[0], idle=[1, 2, 3])),
        (ALL[:1], Trials(slow=[0])),
    ):
        assert Found(ALL[:1], is_any_free=False, is_one=True) == await find_hindered(
            organizations, trials
        )
    assert Found([], is_any_free=True, is_one=False) == await find_hindered(ALL[:4], Trials())
    assert Found([], is_any_free=False, is_one=False) == await find_hindered([], Trials())


async def test_a_database_that_is_away() -> None:
    """That ends the search."""

    async def tried(group: Sequence[UUID]) -> bool:
        raise DatabaseAwayError(len(group))

    with pytest.raises(DatabaseAwayError):
        await find_hindered(ALL, tried)
