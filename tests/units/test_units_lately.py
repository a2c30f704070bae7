"""What is remembered for some seconds."""

from __future__ import annotations

import time

import pytest

from gateway.lately import Lately


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that goes when it is told to."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_each_for_its_own_seconds(clock: list[float]) -> None:
    """Each is remembered for as long as was said of it last, and then not even kept."""
    lately: Lately[str] = Lately()
    lately.add("short", 1)
    lately.add("long", 60)
    lately.add("both", 60)
    lately.add("both", 1)
    assert (list(lately), len(lately)) == (["short", "long", "both"], 3)
    clock[0] += 2
    assert "short" not in lately
    assert "both" not in lately
    assert "long" in lately
    assert list(lately) == ["long"]


def test_what_is_over(clock: list[float]) -> None:
    """What is removed is not remembered, known or not; unless something else is said, 30 s are."""
    lately: Lately[str] = Lately()
    lately.add("one")
    lately.add("other")
    lately.remove("one")
    lately.remove("stranger")
    clock[0] += 29
    assert list(lately) == ["other"]
    clock[0] += 2
    assert not lately
