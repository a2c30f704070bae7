"""Message templates: the list, and one form to write, preview and save them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from channels.model import Channel
from gateway.ids import new_id
from gateway.inbox import forms
from gateway.inbox.admin import template_form
from gateway.inbox.forms import Fields, Findings
from gateway.inbox.visit import POLICY, Visit
from gateway.inbox.words import CHANNELS
from gateway.manage import templates
from gateway.problems import Problem
from gateway.shapes.templates import TemplateIn, TemplatePatch
from gateway.store.codecs import UNREADABLE

_LIMIT = 50
_SHOWN = 300  # characters shown of a value that somebody else has saved
_DONE = {"saved": "The template is saved.", "deleted": "The template is deleted."}
# The field at which the form shows an error about the options as a whole.
_OPTIONS = {Channel.WHATSAPP: "options.content_sid"}
# The page's policy also applies to the frame with the mail, and mails have inline styles.
_PREVIEW = f"{POLICY}; style-src 'self' 'unsafe-inline'"


@dataclass
class _Tried:
    """A preview: the variables that the source uses, their values, and the result."""

    variables: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    result: dict[str, Any] | None = None


async def show(visit: Visit) -> web.StreamResponse:
    """One page of templates."""
    query = visit.request.query
    channel, use = query.get("channel", ""), query.get("use", "")
    page = await templates.search(
        visit.services,
        visit.staff,
        type_=channel if channel in CHANNELS else None,
        name=query.get("name", "").strip()[:200].replace("\x00", "") or None,
        is_active={"active": True, "inactive": False}.get(use),
        cursor=visit.cursor,
        limit=_LIMIT,
    )
    return visit.page(
        "admin/templates.html",
        rows=page.rows,
        next_cursor=page.next_cursor,
        channels=list(CHANNELS.items()),
        channel_words=CHANNELS,
        done=_DONE.get(query.get("done", "")),
    )


async def new(visit: Visit) -> web.StreamResponse:
    """An empty form for a channel; without a channel, the choice of one."""
    channel = visit.request.query.get("channel", "")
    if channel not in CHANNELS:
        return visit.page("admin/template_channel.html", channels=list(CHANNELS.items()))
    return _form(visit, Channel(channel), None, template_form.shown(None))


async def create(visit: Visit) -> web.StreamResponse:
    """Save a new template, or preview it."""
    form = await visit.form()
    if form.get("type", "") not in CHANNELS:
        raise Problem(422, "The form names no channel: begin again with 'New template'.")
    channel = Channel(form["type"])

    async def save(columns: dict[str, Any]) -> dict[str, Any]:
        wanted = forms.read(TemplateIn, {**columns, "type": channel})
        return await templates.create(visit.services, visit.staff, wanted)

    return await _save_or_try(visit, form, channel, None, save)


async def one(visit: Visit) -> web.StreamResponse:
    """A template as a form."""
    row = await templates.get(visit.services, visit.staff, visit.id)
    done = _DONE.get(visit.request.query.get("done", ""))
    shown, seen = template_form.shown(row), template_form.seen(row)
    return _form(visit, Channel(row["type"]), row, shown, done=done, seen=seen)


async def change(visit: Visit) -> web.StreamResponse:
    """Save the changes, or preview them."""
    form = await visit.form()
    row = await templates.get(visit.services, visit.staff, visit.id)
    channel = Channel(row["type"])
    if form.get("do") != "try":
        form, both = template_form.merged(form, row)
        if both:
            errors = Findings({name: _meanwhile(value) for name, value in both.items()})
            shown, seen = template_form.typed(form), template_form.seen(row)
            return _form(visit, channel, row, shown, errors=errors, seen=seen)

    async def save(columns: dict[str, Any]) -> dict[str, Any]:
        if columns["options"] is None and row["options"] == UNREADABLE:
            del columns["options"]  # they stay: the form could not show them
        wanted = forms.read(TemplatePatch, columns)
        return await templates.change(visit.services, visit.staff, visit.id, wanted, seen=row)

    return await _save_or_try(visit, form, channel, row, save)


async def ask_delete(visit: Visit) -> web.StreamResponse:
    """Ask whether to delete it."""
    row = await templates.get(visit.services, visit.staff, visit.id)
    return visit.page("admin/template_delete.html", row=row, channel_words=CHANNELS)


async def delete(visit: Visit) -> web.StreamResponse:
    """Delete a template."""
    await templates.delete(visit.services, visit.staff, visit.id)
    return visit.redirect("/templates", done="deleted")


async def _save_or_try(
    visit: Visit,
    form: Fields,
    channel: Channel,
    row: dict[str, Any] | None,
    save: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]],
) -> web.Response:
    tried = _Tried()
    try:
        columns = template_form.columns(form, channel)
        if form.get("do") != "try":
            saved = await save(columns)
            return visit.redirect(f"/templates/{saved['id']}", done="saved")
        await _try(visit, form, channel, columns, tried)
        errors = Findings()
    except Problem as problem:
        errors = _findings(problem, channel)
        for name in tried.variables:
            if f"variables.{name}" not in form:  # the form had no field for it yet
                errors.pop(f"variables.{name}", None)
    shown = template_form.typed(form)
    seen = form.get("seen", "")
    return _form(visit, channel, row, shown, errors=errors, tried=tried, seen=seen)


async def _try(
    visit: Visit, form: Fields, channel: Channel, columns: dict[str, Any], tried: _Tried
) -> None:
    """Render what is in the form, saved or not; raises `Problem` 422."""
    wanted = forms.read(TemplateIn, {**columns, "name": columns["name"] or "-", "type": channel})
    source = wanted.model_dump(mode="json")
    tried.variables = await templates.variables(visit.services, visit.staff, channel, source)
    tried.values = {name: form.get(f"variables.{name}", "") for name in tried.variables}
    values = template_form.values(form)
    tried.result = await templates.render(
        visit.services, visit.staff, {**source, "id": new_id()}, values
    )


def _meanwhile(value: object) -> str:
    """The error for a field that somebody else has changed as well."""
    text = ("off", "on")[value] if isinstance(value, bool) else str(value)
    short = text if len(text) <= _SHOWN else f"{text[:_SHOWN].rstrip()}…"
    return f"somebody else has saved “{short}” here meanwhile; save again to store yours instead"


def _findings(problem: Problem, channel: Channel) -> Findings:
    if problem.status == 409:
        at = "all" if isinstance(problem, templates.ChangedError) else "name"
        return Findings({at: problem.detail})
    if problem.status != 422:
        raise problem
    found = Findings.of(problem.errors, (*template_form.FIELDS, "options", "template"))
    for general, at in (("template", "content"), ("options", _OPTIONS.get(channel, "all"))):
        if general in found:
            found.setdefault(at, found.pop(general))
    return found


def _form(
    visit: Visit,
    channel: Channel,
    row: dict[str, Any] | None,
    typed: dict[str, Any],
    *,
    errors: Findings | None = None,
    tried: _Tried | None = None,
    done: str | None = None,
    seen: str = "",
) -> web.Response:
    tried = tried or _Tried(variables=list(row["variables"]) if row else [])
    has_html = tried.result is not None and tried.result["parts"].get("html_body")
    return visit.page(
        "admin/template.html",
        status=422 if errors else 200,
        policy=_PREVIEW if has_html else None,
        channel=channel,
        channel_words=CHANNELS,
        row=row,
        typed=typed,
        errors=errors or Findings(),
        tried=tried,
        done=done,
        seen=seen,
    )
