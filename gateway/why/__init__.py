"""Why: what became of a message and what to do, in plain words. Pure: values in, values out.

    explain(story)  the state of one message, advice, and its timeline
    failure(...)    why it failed, by its code alone
    reference(text) what somebody may mean by a text: ids and addresses

Nothing here is HTML or safe in it: whoever shows a text escapes it. Texts of strangers (addresses,
providers' words) have been put on one line, without control characters, and cut.
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
    """What became of a message; the times in its sentences are those of `zone`."""
    is_inbound = story.message["direction"] == "inbound"
    summary, advice = (inbound if is_inbound else outbound).explain(story, zone)
    return Explanation(summary=summary, advice=advice, timeline=timeline(story, zone))
