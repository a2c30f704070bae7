"""`gateway why`: what happened to a message, and what to do, in plain words."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from rich.console import Console

from gateway.cli.connecting import connected
from gateway.cli.output import Json, out, show
from gateway.store.values import Row

if TYPE_CHECKING:
    from gateway.why import Explanation, Step

_WIDEST, _NARROWEST = 100, 40
_INDENT = " " * 10
# The technical details that people look up elsewhere; --json has all of them.
_SHOWN = ("error_code", "external_id", "message_id")
_OWN = ("api", "worker", "gateway")

Line = tuple[str, str]


class NothingFoundError(Exception):
    """No message was found by the reference."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """The messages found by the reference, latest first, and the explanation of the latest."""

    rows: Sequence[Row]
    explanation: Explanation


def why(
    ref: Annotated[
        str, typer.Argument(help="A message's id, the provider's id of it, or somebody's address.")
    ],
    organization_id: Annotated[
        UUID | None, typer.Option("--org", help="Look only in this organization.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Explain what became of a message and what to do; for an address, of its latest message."""
    found = asyncio.run(_find(organization_id, ref))
    if as_json:
        message, *others = found.rows
        show({"message": message, **asdict(found.explanation), "others": others}, as_json=True)
        return
    for text, style in _lines(found, width(out)):
        out.print(text, style=style, markup=False, emoji=False)


async def _find(organization_id: UUID | None, ref: str) -> _Found:
    from gateway.store import why as stored
    from gateway.why import explain

    async with connected() as (_, database), database.as_service() as db:
        rows = await stored.find(db, organization_id, ref)
        latest = rows[0] if rows else None
        story = latest and await stored.story(db, latest["organization_id"], latest["id"])
        reasons = () if story else await stored.suppressed(db, organization_id, ref)
        owners = () if story else await stored.own(db, organization_id, ref)
    if not story:
        raise NothingFoundError(_nothing(reasons, owners))
    return _Found(rows=rows, explanation=explain(story))


def _nothing(reasons: Sequence[Row], owners: Sequence[Row]) -> str:
    """The error if no message is found; sends refused for a suppression are not stored."""
    from gateway.consent.standing import REASONS

    about = (
        "and nobody at this address was written to or has written; write numbers as +15551230001"
    )
    if owners:
        whose = ", ".join(
            f"organization {row['organization_id']} sends from it ({', '.join(row['channels'])})"
            for row in owners
        )
        about = f"and the address is our own: {whose}; name a message's id, or somebody's address"
    text = f"no message has this id, here or at a provider, {about}"
    for row in reasons:
        text += (
            f". Nothing is sent to it by {row['channel']}: it {REASONS[row['reason']]}, "
            f"{row['created_at'].astimezone(UTC):%Y-%m-%d} (told by: {row['source']}; organization "
            f"{row['organization_id']}; see /v1/suppressions)"
        )
    return text


def width(console: Console) -> int:
    """The width of lines: that of the terminal, within readable limits."""
    return max(_NARROWEST, min(_WIDEST, console.width))


def _lines(found: _Found, columns: int) -> Iterator[Line]:
    """The lines to print: (text, style)."""
    latest = found.rows[0]
    if len(found.rows) > 1:
        yield f"{len(found.rows)} messages, the latest first (times are UTC):", "bold"
        for row in found.rows:
            yield _listed(row), ""
        yield "", ""
    yield from _wrapped(_head(latest), columns, style="dim")
    yield "", ""
    yield from _wrapped(found.explanation.summary, columns, style="bold")
    if found.explanation.advice:
        yield "", ""
        yield from _wrapped(f"What to do: {found.explanation.advice}", columns)
    yield "", ""
    yield from _timeline(found.explanation.timeline, columns)


def _head(row: Row) -> str:
    return (
        f"{row['channel']} {row['direction']} · {row['status'] or 'pending'} · {row['id']} · "
        f"organization {row['organization_id']}"
    )


def _listed(row: Row) -> str:
    at = row["created_at"]  # None if another program has stored the row without it
    when = f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" if at else "without a time"
    way = "in" if row["direction"] == "inbound" else "out"
    status = row["status"] or "pending"
    return f"{when:<16} {row['channel']:<8} {way:<3} {status:<9} {row['id']}"


def _timeline(steps: Sequence[Step], columns: int) -> Iterator[Line]:
    day = ""
    for step in steps:
        at = step.at.astimezone(UTC)
        if day != (day := f"{at:%Y-%m-%d} (UTC)"):
            yield day, "dim"
        lines = textwrap.wrap(step.text, columns - len(_INDENT))
        yield f"{at:%H:%M:%S}  {lines[0]}", ""
        for line in lines[1:]:
            yield _INDENT + line, ""
        if technical := _technical(step):
            yield from _wrapped(technical, columns, indent=_INDENT, style="dim")


def _technical(step: Step) -> str:
    """The provider's own term and codes, for looking them up there."""
    word = [] if step.source in _OWN else [f"{step.source}: {step.detail.get('type', '')}"]
    named = [f"{name} {step.detail[name]}" for name in _SHOWN if name in step.detail]
    said = step.detail.get("error_message", "")
    quoted = [f'"{said}"'] if said and said not in step.text else []
    return ", ".join([*word, *named, *quoted])


def _wrapped(text: str, columns: int, *, indent: str = "", style: str = "") -> Iterator[Line]:
    for line in textwrap.wrap(text, columns, initial_indent=indent, subsequent_indent=indent):
        yield line, style


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(why)
