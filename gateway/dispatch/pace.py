"""The times of dispatch: when a worker sends, asks and gives up."""

from __future__ import annotations

import random
from dataclasses import dataclass

import tenacity

# For so many refusals only the provider's Retry-After counts, however short it is.
_AS_ASKED = 3
# Seconds to wait for one of our connections: for each attempt so far, and at most.
_TURN, _LONGEST_TURN = 15.0, 300.0
_backoff = tenacity.wait_exponential_jitter(initial=1, max=3600, exp_base=2, jitter=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Times of dispatch, in seconds, and limits.

    - A send begins within `latest_start` of its claim and takes 15 s at most (connect and answer).
      It is cut off after `longest_send`, whatever it waits for; the `lease` outlasts that. All of
      these are longer for a large mail (`sizes`) and for a mail server (`Provider.more_seconds`).
    - A provider that does not list a message `sure_after` its request began certainly does not have
      it: the request has arrived by then, and the list has caught up. Until then it is asked every
      `ask_every`, or after `twin_wait` while an equal message is being sent.
    - A message fails with the refusal after `most_refusals`, and stays unknown after
      `most_questions`.
    - Storing an outcome is tried again after a defect of ours, `most_defects` times in all, which
      takes six minutes.
    - Files of `most_bytes` may be in memory at once; a message that has no room for its files
      within `longest_wait` goes back into the queue.
    """

    lease: float = 30
    latest_start: float = 5
    longest_send: float = 20
    ask_every: float = 5
    sure_after: float = 25
    twin_wait: float = 3
    most_refusals: int = 18
    most_questions: int = 300
    most_defects: int = 20
    most_bytes: int = 160 * 2**20
    longest_wait: float = 60


def wait_after(refusal: int, retry_after: float | None) -> float:
    """Seconds until the next attempt: at first as the provider says, else 1-2 s, 2-3 s, 4-5 s ...

    The pauses grow also if a provider says "in a second" again and again: all attempts together
    must span hours, not one busy minute.
    """
    state = tenacity.RetryCallState(None, None, (), {})  # type: ignore[arg-type]
    state.attempt_number = refusal
    longer = _backoff(state)
    if retry_after is None:
        return longer
    asked = max(0.0, retry_after) + random.uniform(0, 0.3)  # noqa: S311 - spreads load only
    return asked if refusal <= _AS_ASKED else max(asked, longer)


def wait_for_turn(attempt: int) -> float:
    """Seconds until a message is tried again after all of our connections were busy."""
    longest = min(_LONGEST_TURN, _TURN * attempt)
    return random.uniform(longest / 2, longest)  # noqa: S311 - spreads load only
