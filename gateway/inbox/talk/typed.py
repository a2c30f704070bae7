"""What was typed into the composer, and how it becomes a request of /v1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from aiohttp.web import FileField
from multidict import MultiMapping

from gateway.inbox.clock import zone_of
from gateway.inbox.forms import variable
from gateway.problems import FieldError, invalid

_VARIABLE, _OFFERED = "variables.", "offered."
# How old a `send_at` may be: a browser's time has no seconds, and filling in a form takes a while.
_THIS_MINUTE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was chosen."""

    name: str
    kind: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Typed:
    """The fields of the form as they were sent; `send_at` is a local time, as browsers write it.

    `zone` is the time zone that the form showed beside it: the viewer's may have changed. `offered`
    has the values that the form suggested, `version` is that of the template's text.
    """

    channel: str = ""
    from_: str = ""
    to: str = ""
    template: str = ""
    version: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    subject: str = ""
    body: str = ""
    send_at: str = ""
    zone: ZoneInfo | None = None
    key: str = ""
    do: str = ""
    files: Sequence[Upload] = ()
    offered: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Mapping[str, Any] | MultiMapping[Any]) -> Typed:
        """The fields of a form or query; others are ignored."""

        def text(name: str) -> str:
            value = given.get(name)
            return value.replace("\x00", "") if isinstance(value, str) else ""

        return cls(
            channel=text("channel"),
            from_=text("from").strip(),
            to=text("to").strip(),
            template=text("template"),
            version=text("version"),
            variables=_group(given, _VARIABLE),
            subject=text("subject").strip(),
            body=text("body").replace("\r\n", "\n"),
            send_at=text("send_at").strip(),
            zone=zone_of(text("zone")),
            key=_uuid(text("key")),
            do=text("do"),
            files=_files(given),
            offered=_group(given, _OFFERED),
        )

    @property
    def chosen(self) -> Typed:
        """Without fields that were left as offered: something else may be offered now."""

        def own(name: str, value: str) -> str:
            return "" if value == self.offered.get(name) else value

        to, from_ = own("to", self.to), own("from", self.from_)
        return replace(self, to=to, from_=from_, subject=own("subject", self.subject))

    def as_json(self, zone: tzinfo) -> dict[str, Any]:
        """The request, without its files; raises `Problem` 422 for a wrong `send_at`.

        `zone` is the viewer's, for a form that names none.
        """
        said: dict[str, Any] = {
            "channel": self.channel or None,
            "from": self.from_ or None,
            "to": self.to or None,
            "send_at": self._moment(zone),
        }
        if self.template:
            # An empty field counts as a missing variable.
            filled = {
                name: variable(value) for name, value in self.variables.items() if value.strip()
            }
            said |= {"template": self.template, "variables": filled}
        else:
            said["body"] = self.body if self.body.strip() else None
            said["subject"] = self.subject if self.subject and self.channel == "email" else None
        return {name: value for name, value in said.items() if value is not None}

    def must_be_to_come(self, zone: tzinfo) -> None:
        """Raise `Problem` 422 if `send_at` has passed: a mistyped year must not send at once."""
        said = self._moment(zone)
        if said and datetime.fromisoformat(said) < datetime.now(UTC) - _THIS_MINUTE:
            raise invalid([FieldError("send_at", "has passed already")])

    def _moment(self, zone: tzinfo) -> str | None:
        if not self.send_at:
            return None
        try:
            local = datetime.fromisoformat(self.send_at)
            here = local.replace(tzinfo=self.zone or zone) if local.tzinfo is None else local
            at = here.astimezone(UTC)
        except (ValueError, OverflowError):
            raise invalid([FieldError("send_at", "is not a valid time")]) from None
        return at.isoformat().replace("+00:00", "Z")


def _group(given: Mapping[str, Any] | MultiMapping[Any], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value
        for name, value in given.items()
        if name.startswith(prefix) and isinstance(value, str)
    }


def _files(given: Mapping[str, Any] | MultiMapping[Any]) -> list[Upload]:
    chosen = [
        value
        for name, value in given.items()
        if name == "attachments" and isinstance(value, FileField) and value.filename
    ]
    return [
        Upload(file.filename, file.content_type or "application/octet-stream", file.file.read())
        for file in chosen
    ]


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        return ""
