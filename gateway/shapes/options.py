"""`options` of a template or a request: what each channel takes in addition to the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError, model_validator

from channels.json_text import as_object
from channels.model import Channel
from gateway.problems import FieldError
from gateway.shapes.base import Integer, Line, Shape, Text, Url


class NoOptions(Shape):
    """SMS has no options."""


class EmailOptions(Shape):
    """`unsubscribe`: send the headers of RFC 8058; `reply_to`: another address for replies."""

    unsubscribe: bool = True
    reply_to: Line | None = None


class WhatsAppOptions(Shape):
    """The provider's template: Twilio's `content_sid`, or Meta's `name` and `language`.

    `variables` are the values for its body, by the names that it has there, each a template source
    like the text; `parameters` is how many there must be; `components` are Meta's other components,
    whose strings are template sources, too.
    """

    content_sid: Line | None = None
    name: Line | None = None
    language: Line | None = None
    variables: dict[str, Text] = Field(default_factory=dict, max_length=100)
    parameters: Integer | None = Field(None, ge=0, le=100)
    components: list[dict[str, Any]] = Field(default_factory=list, max_length=20)

    @model_validator(mode="after")
    def _names_a_template(self) -> WhatsAppOptions:
        if not self.content_sid and not (self.name and self.language):
            raise ValueError(
                "must name the provider's template: content_sid (Twilio), or name and "
                "language (Meta)"
            )
        return self


class CallOptions(Shape):
    """How a text is spoken: see `channels.model.CallPlan`."""

    voice: Line | None = None
    language: Line | None = None
    play: Url | None = Field(None, description="URL of a recording, played after the text")
    repeat: Integer = Field(1, ge=1, le=5)
    confirm: Annotated[str, StringConstraints(pattern=r"^[0-9*#]$")] | None = Field(
        None, description="the digit that the person is asked to press"
    )
    detect_machine: bool = False
    timeout: Integer | None = Field(None, ge=5, le=600, description="seconds to let it ring")


Options = NoOptions | EmailOptions | WhatsAppOptions | CallOptions

_OF: dict[Channel, type[Options]] = {
    Channel.SMS: NoOptions,
    Channel.EMAIL: EmailOptions,
    Channel.WHATSAPP: WhatsAppOptions,
    Channel.CALL: CallOptions,
}


def check(channel: Channel, given: object) -> list[FieldError]:
    """What is wrong with the options of a channel."""
    if not given:
        return []
    if not isinstance(given, Mapping):  # another program has stored them
        return [FieldError("options", "cannot be read as they are stored: set them anew")]
    try:
        _OF[channel].model_validate(given)
    except ValidationError as error:
        return [
            FieldError(
                ".".join(["options", *(str(part) for part in one["loc"])]),
                "is not an option of this channel"
                if one["type"] == "extra_forbidden"
                else one["msg"].removeprefix("Value error, "),
            )
            for one in error.errors(include_url=False, include_input=False, include_context=False)
        ]
    return []


def without(
    channel: Channel, given: Mapping[str, Any], wrong: Sequence[FieldError]
) -> Mapping[str, Any]:
    """The options without the wrong ones; none on WhatsApp, because they belong together."""
    if channel is Channel.WHATSAPP:
        return {}
    left_out = {error.field.split(".")[1] for error in wrong if "." in error.field}
    return {name: value for name, value in given.items() if name not in left_out}


def played(given: object) -> str | None:
    """The URL of the recording that is played in a call."""
    url = as_object(given).get("play")
    return url if isinstance(url, str) else None


def sources(channel: Channel, given: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """The options that are template sources, each with its name.

    Values of a wrong type are left out: `check` reports them.
    """
    if channel is not Channel.WHATSAPP:
        return []
    of_body = as_object(as_object(given).get("variables"))
    found = [
        (f"options.variables.{name}", source)
        for name, source in of_body.items()
        if isinstance(source, str)
    ]
    return found + _strings("options.components", as_object(given).get("components"))


def _strings(name: str, value: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - any JSON
    if isinstance(value, str):
        return [(name, value)]
    if isinstance(value, Mapping):
        return [each for k, v in value.items() for each in _strings(f"{name}.{k}", v)]
    if isinstance(value, list):
        return [each for n, v in enumerate(value) for each in _strings(f"{name}.{n}", v)]
    return []
