"""Who must not be written to: the list, adding to it, and lifting after confirmation."""

from __future__ import annotations

from aiohttp import web

from channels.model import Channel
from gateway.inbox import forms
from gateway.inbox.forms import Fields, Findings
from gateway.inbox.visit import Visit
from gateway.inbox.words import CHANNELS, REASONS, SOURCES
from gateway.manage import suppressions
from gateway.problems import Problem
from gateway.shapes.suppressions import ReasonIn, SuppressionIn
from webhooks.model import Reason

_LIMIT = 50
_FIELDS = ("channel", "address", "reason", "note")
_DONE = {"added": "The address is on the list.", "lifted": "The suppression is lifted."}


async def show(visit: Visit) -> web.StreamResponse:
    """One page of the list, filtered."""
    query = visit.request.query
    channel, reason = query.get("channel", ""), query.get("reason", "")
    page = await suppressions.search(
        visit.services,
        visit.staff,
        channel=Channel(channel) if channel in CHANNELS else None,
        address=query.get("address", "").strip()[:1000].replace("\x00", "") or None,
        reason=reason if reason in REASONS else None,
        cursor=visit.cursor,
        limit=_LIMIT,
    )
    return visit.page(
        "admin/suppressions.html",
        rows=page.rows,
        next_cursor=page.next_cursor,
        channels=list(CHANNELS.items()),
        reasons=[(each.value, REASONS[each]) for each in Reason],
        reason_words=REASONS,
        done=_DONE.get(query.get("done", "")),
    )


async def new(visit: Visit) -> web.StreamResponse:
    """An empty form."""
    return _form(visit, {"channel": "email", "reason": ReasonIn.MANUAL.value})


async def add(visit: Visit) -> web.StreamResponse:
    """Put an address on the list."""
    form = await visit.form()
    try:
        wanted = forms.read(
            SuppressionIn,
            {
                "channel": form.get("channel", ""),
                "address": form.get("address", "").strip(),
                "reason": form.get("reason", ""),
                "note": forms.text(form, "note"),
            },
        )
        await suppressions.add(visit.services, visit.staff, wanted)
    except Problem as problem:
        if problem.status != 422:
            raise
        return _form(visit, form, Findings.of(problem.errors, _FIELDS))
    return visit.redirect("/suppressions", done="added")


async def one(visit: Visit) -> web.StreamResponse:
    """One suppression, with its evidence."""
    return await _one(visit)


async def lift(visit: Visit) -> web.StreamResponse:
    """Lift it, if the box is ticked."""
    form = await visit.form()
    if not forms.is_set(form, "sure"):
        return await _one(visit, {"sure": "Tick the box if you are sure."})
    await suppressions.lift(visit.services, visit.staff, visit.id)
    return visit.redirect("/suppressions", done="lifted")


async def _one(visit: Visit, errors: dict[str, str] | None = None) -> web.Response:
    row = await suppressions.get(visit.services, visit.staff, visit.id)
    return visit.page(
        "admin/suppression.html",
        status=422 if errors else 200,
        row=row,
        reason_words=REASONS,
        channel_words=CHANNELS,
        source=SOURCES.get(row["source"], row["source"]),
        evidence={
            name: value
            for name, value in sorted((row["evidence"] or {}).items())
            if name not in ("note", "staff", "occurred_at")
        },
        is_their_word=suppressions.is_their_word(row["reason"]),
        errors=Findings(errors or {}),
    )


def _form(
    visit: Visit, typed: Fields | dict[str, str], errors: Findings | None = None
) -> web.Response:
    return visit.page(
        "admin/suppression_new.html",
        status=422 if errors else 200,
        typed=typed,
        channels=list(CHANNELS.items()),
        reasons=[(each.value, REASONS[each]) for each in ReasonIn],
        errors=errors or Findings(),
    )
