"""gateway/ids.py: identifiers that grow with time, and those that follow from what they name."""

from __future__ import annotations

import time
from uuid import RFC_4122, UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from gateway.ids import derived_id, new_id


def test_new_ids_are_version_7() -> None:
    """A new id is a UUID of version 7 whose first 48 bits are the milliseconds of now."""
    before = time.time_ns() // 1_000_000
    made = new_id()
    after = time.time_ns() // 1_000_000

    assert (7, RFC_4122) == (made.version, made.variant)
    assert before <= made.int >> 80 <= after


def test_new_ids_differ_and_grow() -> None:
    """Thousands at once are all different, and what is made a moment later is greater."""
    made = []
    for _ in range(5000):
        made.append(new_id())
        end = time.perf_counter_ns() + 500
        while time.perf_counter_ns() < end:
            pass

    assert 5000 == len(set(made))
    assert sorted(made) == made


@given(parts=st.lists(st.text(max_size=5), min_size=1, max_size=4))
def test_derived_ids_follow_from_their_parts(parts: list[str]) -> None:
    """The same parts give the same UUID, of version 8."""
    made = derived_id(*parts)

    assert made == derived_id(*parts)
    assert (8, RFC_4122) == (made.version, made.variant)


def test_derived_ids_know_where_a_part_ends() -> None:
    """Parts are not run together, and their order counts."""
    made = [
        derived_id("ab", "c"),
        derived_id("a", "bc"),
        derived_id("abc"),
        derived_id("c", "ab"),
        derived_id("ab", "c", ""),
    ]

    assert len(made) == len(set(made))


def test_derived_ids_take_what_has_a_text() -> None:
    """A UUID and its text are the same part: a row's value derives what the model's did."""
    known = uuid4()

    assert (
        derived_id(known, "x")
        == derived_id(str(known), "x")
        == derived_id(UUID(int=known.int), "x")
    )
