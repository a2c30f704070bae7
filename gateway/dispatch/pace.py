"""When a worker tries, asks and gives up."""

from __future__ import annotations

import random
from dataclasses import dataclass

import tenacity

# Refusals for which the provider's own wish counts alone, however short it is.
_AS_ASKED = 3
# Seconds, for each attempt and at most, until a message finds room on our connections.
_TURN, _LONGEST_TURN = 15.0, 300.0
_backoff = tenacity.wait_exponential_jitter(initial=1, max=3600, exp_base=2, jitter=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Times of dispatch, in seconds, and limits.

    A send begins within `latest_start` of its claim and takes 15 s at most (connect and answer); it
    is cut off after `longest_send`, whatever it waits for: the lease outlasts that. All of these
    are longer for a large mail (`sizes`), and for a mail server (`more_seconds` of `Provider`).
    `sure_after` it began a provider that does not list the message surely does not have it: by
    then the request has arrived, and its list has caught up. Until then it is asked every
    `ask_every`, `twin_wait` later while an equal message is under way. A message fails with the
    refusal after `most_refusals`, and stays unknown after `most_questions`. An outcome that a
    defect of ours keeps from being stored is tried `most_defects` times, which takes six minutes.
    Files of `most_bytes` are under way at once; what has no room for its own within `longest_wait`
    is another's turn.
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

    A provider that says "in a second" again and again gets longer pauses, too: all attempts
    together have to span hours, not one busy minute.
    """
    state = tenacity.RetryCallState(None, None, (), {})  # type: ignore[arg-type]
    state.attempt_number = refusal
    longer = _backoff(state)
    if retry_after is None:
        return longer
    asked = max(0.0, retry_after) + random.uniform(0, 0.3)  # noqa: S311 - spreads load only
    return asked if refusal <= _AS_ASKED else max(asked, longer)


def wait_for_turn(attempt: int) -> float:
    """Seconds until a message is tried again that found all of our connections busy."""
    longest = min(_LONGEST_TURN, _TURN * attempt)
    return random.uniform(longest / 2, longest)  # noqa: S311 - spreads load only
