"""Why: what happened to a message and what to do, in plain words. Pure functions of their values.

    explain(story)  the state of one message, advice, and its timeline
    failure(...)    why a message failed, by its error code alone
    reference(text) what a text may refer to: ids and addresses

Texts are not escaped for HTML: whoever shows them does that. Texts of strangers (addresses, words
of providers) have been put on one line, without control characters, and cut to a limit.
"""

from __future__ import annotations

from datetime import UTC, tzinfo

from gateway.why import inbound, outbound
from gateway.why.model import Explanation, File, Other, Queued, Reason, Step, Story
from gateway.why.reasons import failure
from gateway.why.references import Reference, reference
from gateway.why.steps import timeline

__all__ = (
    "Explanation", "File", "Other", "Queued", "Reason", "Reference", "Step", "Story", "explain",
    "failure", "reference",
)  # fmt: skip


def explain(story: Story, zone: tzinfo = UTC) -> Explanation:
    """What happened to a message; the times in its sentences are in `zone`."""
    is_inbound = story.message["direction"] == "inbound"
    summary, advice = (inbound if is_inbound else outbound).explain(story, zone)
    return Explanation(summary=summary, advice=advice, timeline=timeline(story, zone))
