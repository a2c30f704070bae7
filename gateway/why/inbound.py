"""What is known about a message that came in, and what to do about it."""

from __future__ import annotations

from datetime import tzinfo

from gateway.why.model import Answer, File, Story
from gateway.why.steps import last_event
from gateway.why.words import clean, counted, how_long_seconds, noun, sentence, when


def explain(story: Story, zone: tzinfo) -> Answer:
    """When it came, and whom it belongs to; its files; what to do."""
    text = [_came(story, zone), *_call(story), *_files(story)]
    return " ".join(text), " ".join(_advice(story)) or None


def _came(story: Story, zone: tzinfo) -> str:
    event = last_event(story, "received")
    at = when(event["occurred_at"] if event else story.message["created_at"], zone)
    address = clean(story.message["from_address"], 80)
    subject = f"This {noun(story.channel)} from {address} came in on {at}"
    name = clean(story.contact, 80) if story.contact else None
    if story.contact_kind:
        return f"{subject} and belongs to the {story.contact_kind} {name or 'without a name'}."
    called = f" from somebody who calls themselves {name}" if name else ""
    return f"{subject}{called}; no lead or client has this address."


def _call(story: Story) -> list[str]:
    if story.channel != "call":
        return []
    length = how_long_seconds(story.provider_detail.get("recording_duration"))
    if length is None:
        return [] if story.files else ["Nothing was recorded."]
    return [f"The caller left a message of {length}."]


def _files(story: Story) -> list[str]:
    waiting, failed = _of(story, "waiting"), _of(story, "failed")
    said = []
    if waiting:
        is_are = "is" if len(waiting) == 1 else "are"
        said.append(f"{counted(len(waiting), 'file')} {is_are} still being fetched.")
    for file in failed:
        name = clean(file.filename or "A file", 80)
        said.append(f"{name} could not be fetched: {sentence(clean(file.reason or 'unknown'))}")
    return said


def _advice(story: Story) -> list[str]:
    advice = []
    if story.contact_kind is None:
        advice.append("Link the address to a contact if you know whose it is.")
    if _of(story, "waiting"):
        advice.append("Look again in some minutes for the files.")
    if _of(story, "failed"):
        advice.append("Ask the person to send what is missing again.")
    if story.provider_detail.get("auto_submitted"):
        advice.append("It was written by a program, such as an absence notice: no answer is due.")
    if "stop" in story.suppressions:
        advice.append("They asked for no more messages: do not answer on this channel.")
    return advice


def _of(story: Story, state: str) -> list[File]:
    return [file for file in story.files if file.state == state]
