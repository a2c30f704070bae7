"""An organization that others would wait for is tried again, less and less often."""

from __future__ import annotations

import time
from uuid import UUID

from gateway.dispatch.hindered import Hindered

ONE, OTHER = UUID(int=1), UUID(int=2)


def test_it_is_left_alone_for_longer_each_time() -> None:
    """Twice as long as before, and at most ten minutes; then it is tried."""
    hindered = Hindered()
    waits = [hindered.failed(ONE) for _ in range(6)]
    assert [30, 60, 120, 240, 480, 600] == waits
    now = time.monotonic()
    assert [None, ONE] == [hindered.next(now + seconds) for seconds in (599, 601)]
    assert 30 == hindered.failed(OTHER)
    assert [ONE, OTHER] == list(hindered)
    assert OTHER == hindered.next(now + 601)  # it waits for longer than the other


def test_what_goes_on_has_its_turn_at_once() -> None:
    """One of which something can be claimed goes on; one that has nothing due is asked again in a
    second, and a hindrance that comes back counts anew."""
    hindered = Hindered()
    hindered.add(ONE)
    assert ONE == hindered.next(time.monotonic())
    assert not hindered.is_over(ONE)
    hindered.went_well(ONE, found=False)
    assert None is hindered.next(time.monotonic())
    assert not hindered.is_over(ONE)
    hindered.went_well(ONE, found=True)
    assert ONE == hindered.next(time.monotonic())
    assert hindered.is_over(ONE)
    assert 30 == hindered.failed(ONE)
    assert not hindered.is_over(ONE)


def test_after_a_while_it_is_like_the_others() -> None:
    """Once nothing has hindered it for long enough, it is claimed for with the others."""
    hindered = Hindered(first=0.01, quiet=0.5)
    hindered.failed(ONE)
    hindered.went_well(ONE, found=True)
    assert [ONE] == list(hindered)
    time.sleep(0.51)
    hindered.went_well(ONE, found=True)
    assert [] == list(hindered)
    assert None is hindered.next(time.monotonic())
