"""Whatever a row and its events hold, it is explained: nothing that strangers tell stops a page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from channels.model import Channel, Direction, Status
from gateway.registry import PROVIDERS
from gateway.why import File, Story, explain, failure
from tests.why.told import message, queued
from webhooks.model import Reason

texts = st.text(max_size=30)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)
times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
names = st.sampled_from(
    ["error_code", "error_message", "attempt", "next_attempt_after", "duration", "answered_by",
     "digits", "price", "price_unit", "recording_duration", "test"]
)  # fmt: skip
details = st.dictionaries(st.one_of(names, texts), values, max_size=5)
words = st.one_of(
    st.sampled_from(
        ["accepted", "attempt", "sent", "failed", "refused_for_now", "answer_lost", "delivered",
         "open", "completed", "answered_by", "cost", "digits", "deferred", "received"]
    ),
    texts,
)  # fmt: skip
statuses = st.one_of(st.none(), st.sampled_from([*Status]))
sources = st.one_of(st.sampled_from(["api", "worker", *PROVIDERS]), texts)
events = st.fixed_dictionaries(
    {
        "type": words, "status": statuses, "occurred_at": times, "recorded_at": times,
        "source": sources, "detail": details,
    }
)  # fmt: skip
rows = st.builds(
    message,
    st.sampled_from([*Channel]),
    direction=st.sampled_from([*Direction]),
    status=st.one_of(statuses, texts),
    to_address=texts,
    from_address=texts,
    error_code=st.one_of(st.none(), texts),
    error_message=st.one_of(st.none(), texts),
    metadata=st.one_of(values, details.map(lambda told: {"provider": told, "reply_to": told})),
    failed_at=st.one_of(st.none(), times),
    sent_at=st.one_of(st.none(), times),
    send_at=st.one_of(st.none(), times),
)
stories = st.builds(
    Story,
    message=rows,
    now=times,
    events=st.lists(events, max_size=4),
    provider=st.one_of(st.none(), st.sampled_from([*PROVIDERS]), texts),
    contact=st.one_of(st.none(), texts),
    queued=st.one_of(
        st.none(),
        st.builds(
            queued,
            phase=st.sampled_from(["send", "ask"]),
            run_at=times,
            attempts=st.integers(0, 9),
            refusals=st.integers(0, 9),
            is_held=st.booleans(),
            was_held=st.booleans(),
        ),
    ),
    suppressions=st.lists(st.one_of(st.sampled_from([*Reason]), texts), max_size=2),
    files=st.lists(
        st.builds(
            File,
            filename=st.one_of(st.none(), texts),
            state=st.sampled_from(["waiting", "stored", "failed"]),
            reason=st.one_of(st.none(), texts),
        ),
        max_size=2,
    ),
)


codes = st.from_regex(r"[245](\.[0-9]{1,3}){2}|[0-9]{1,6}|http-[0-9]{3}", fullmatch=True)


@settings(deadline=None)
@given(stories)
def test_any_story(story: Story) -> None:
    """It has a summary, and every step a sentence, on one line and fit to be shown."""
    found = explain(story)

    said = [found.summary, *(step.text for step in found.timeline)]
    said += [text for step in found.timeline for text in step.detail.values() if text]
    said += [found.advice] if found.advice is not None else []
    assert all(text.strip() for text in said[: 1 + len(found.timeline)])
    assert all(text.isprintable() for text in said), said


@settings(deadline=None)
@given(
    st.one_of(st.sampled_from([*Channel]), texts),
    st.one_of(st.none(), st.sampled_from([*PROVIDERS]), texts),
    st.one_of(
        st.none(), texts, st.from_regex(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}|[0-9]{1,6}|http-[0-9]{3}")
    ),
    st.one_of(st.none(), texts),
)
def test_any_failure(
    channel: str, provider: str | None, code: str | None, said: str | None
) -> None:
    """Whatever the columns hold, there is a reason and advice."""
    found = failure(channel, provider, code, said)

    assert found.text.strip()
    assert found.advice.strip()
    assert found.text.isprintable()
