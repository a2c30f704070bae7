"""The addresses to send from: the list with the accounts, adding, changing, deleting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from channels.model import Channel
from gateway.inbox import forms
from gateway.inbox.forms import Fields, Findings
from gateway.inbox.visit import Visit
from gateway.inbox.words import CHANNELS
from gateway.manage import senders
from gateway.problems import Problem
from gateway.shapes.accounts import SenderIn, SenderPatch

_LIMIT = 50
_ACCOUNTS = 200
_NEW = ("account_id", "channel", "address", "is_default", "rate")
_CHANGE = ("is_default", "is_active", "rate")
_DONE = {
    "added": "The sender is added.",
    "saved": "The changes are saved.",
    "deleted": "The sender is deleted.",
}


async def show(visit: Visit) -> web.StreamResponse:
    """One page of senders, and the accounts that they belong to, without credentials."""
    query = visit.request.query
    channel = query.get("channel", "")
    page = await senders.search(
        visit.services,
        visit.staff,
        Channel(channel) if channel in CHANNELS else None,
        visit.cursor,
        _LIMIT,
    )
    accounts = await senders.search_accounts(visit.services, visit.staff, None, _ACCOUNTS)
    return visit.page(
        "admin/senders.html",
        rows=page.rows,
        next_cursor=page.next_cursor,
        accounts=accounts.rows,
        account_names=_names(accounts.rows),
        channels=list(CHANNELS.items()),
        channel_words=CHANNELS,
        done=_DONE.get(query.get("done", "")),
    )


async def new(visit: Visit) -> web.StreamResponse:
    """An empty form."""
    return await _new(visit, {"channel": "email"})


async def add(visit: Visit) -> web.StreamResponse:
    """Add a sender."""
    form = await visit.form()
    try:
        wanted = forms.read(
            SenderIn,
            {
                "account_id": form.get("account_id", ""),
                "channel": form.get("channel", ""),
                "address": form.get("address", "").strip(),
                "is_default": forms.is_set(form, "is_default"),
                "rate": forms.number(form, "rate"),
            },
        )
        await senders.create(visit.services, visit.staff, wanted)
    except Problem as problem:
        return await _new(visit, form, _findings(problem, _NEW))
    return visit.redirect("/senders", done="added")


async def one(visit: Visit) -> web.StreamResponse:
    """The form for changing a sender."""
    row = await senders.get(visit.services, visit.staff, visit.id)
    return await _one(visit, row, row)


async def change(visit: Visit) -> web.StreamResponse:
    """Change whether it is the default, whether it is in use, and its rate."""
    form = await visit.form()
    row = await senders.get(visit.services, visit.staff, visit.id)
    typed = {
        "is_default": forms.is_set(form, "is_default"),
        "is_active": forms.is_set(form, "is_active"),
        "rate": forms.number(form, "rate"),
    }
    try:
        wanted = forms.read(SenderPatch, typed)
        await senders.change(visit.services, visit.staff, visit.id, wanted)
    except Problem as problem:
        return await _one(visit, row, typed, _findings(problem, _CHANGE))
    return visit.redirect("/senders", done="saved")


async def ask_delete(visit: Visit) -> web.StreamResponse:
    """Ask whether to delete it."""
    row = await senders.get(visit.services, visit.staff, visit.id)
    return visit.page("admin/sender_delete.html", row=row, channel_words=CHANNELS)


async def delete(visit: Visit) -> web.StreamResponse:
    """Delete a sender."""
    await senders.delete(visit.services, visit.staff, visit.id)
    return visit.redirect("/senders", done="deleted")


async def _new(
    visit: Visit, typed: Fields | Mapping[str, Any], errors: Findings | None = None
) -> web.Response:
    accounts = await senders.search_accounts(visit.services, visit.staff, None, _ACCOUNTS)
    return visit.page(
        "admin/sender_new.html",
        status=422 if errors else 200,
        typed=typed,
        accounts=[(str(row["id"]), _name(row)) for row in accounts.rows],
        channels=list(CHANNELS.items()),
        errors=errors or Findings(),
    )


async def _one(
    visit: Visit, row: Mapping[str, Any], typed: Mapping[str, Any], errors: Findings | None = None
) -> web.Response:
    accounts = await senders.search_accounts(visit.services, visit.staff, None, _ACCOUNTS)
    return visit.page(
        "admin/sender.html",
        status=422 if errors else 200,
        row=row,
        typed=typed,
        account=_names(accounts.rows).get(row["account_id"], ""),
        channel_words=CHANNELS,
        errors=errors or Findings(),
    )


def _findings(problem: Problem, fields: tuple[str, ...]) -> Findings:
    if problem.status == 409:
        return Findings({"address": problem.detail})
    if problem.status != 422:
        raise problem
    return Findings.of(problem.errors, fields)


def _names(rows: list[dict[str, Any]]) -> dict[Any, str]:
    return {row["id"]: _name(row) for row in rows}


def _name(row: Mapping[str, Any]) -> str:
    name, provider = row["name"] or row["provider"], row["provider"]
    return name if name == provider else f"{name} ({provider})"
