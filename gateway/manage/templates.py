"""Message templates: stored only if their source compiles, with the variables that it uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from channels import email
from channels.model import Channel
from channels.rendering import sandbox
from channels.rendering.renderer import Renderer, RendererBusy, RenderError
from channels.text import is_control
from gateway.accept.compose import ComposeError, compose_template, template_of
from gateway.accept.drafting import RENDERING_SECONDS
from gateway.accept.preview import rendered
from gateway.again import in_steps
from gateway.ids import new_id
from gateway.problems import FieldError, Problem, found, invalid, not_found, not_now
from gateway.shapes import options
from gateway.shapes.templates import TemplateIn, TemplatePatch
from gateway.store import templates
from gateway.store.database import Caller
from gateway.store.errors import ConflictError
from gateway.store.paging import Cursor, Page
from gateway.store.values import Row
from gateway.web.services import Services

# How often a change is tried if others change the same template at the same time.
_TRIES = 5
# From how many messages the reference to a template is removed in one transaction, which locks
# them; and how many may be left to the statement that deletes it.
_AT_ONCE, _FEW = 500, 2000
# How many characters of a subject an error quotes, to show a place in it.
_SHOWN = 30


async def search(
    services: Services,
    caller: Caller,
    *,
    type_: str | None,
    name: str | None,
    is_active: bool | None,
    cursor: Cursor | None,
    limit: int,
) -> Page:
    """One page of templates."""
    async with services.database.as_caller(caller) as db:
        page = await templates.search(
            db,
            caller.organization_id,
            type_=type_,
            name=name,
            is_active=is_active,
            cursor=cursor,
            limit=limit,
        )
    return Page([_shown(row) for row in page.rows], page.next_cursor)


async def create(services: Services, caller: Caller, wanted: TemplateIn) -> Row:
    """Store a template whose source compiles; its variables are read from it."""
    columns = wanted.model_dump(mode="json")
    columns["variables"] = await variables(services, caller, wanted.type, columns)
    template_id = new_id()
    try:
        async with services.database.as_caller(caller) as db:
            await templates.insert(db, caller.organization_id, template_id, columns)
            row = await templates.get(db, caller.organization_id, template_id)
    except ConflictError:
        raise _taken(wanted.name, wanted.type) from None
    return _found(row)


async def get(services: Services, caller: Caller, template_id: UUID) -> Row:
    """One template."""
    async with services.database.as_caller(caller) as db:
        return _found(await templates.get(db, caller.organization_id, template_id))


async def change(
    services: Services,
    caller: Caller,
    template_id: UUID,
    wanted: TemplatePatch,
    *,
    seen: Row | None = None,
) -> Row:
    """Change a template; its variables are those of its source, even if others change it, too.

    Raises `ChangedError` if the template is no longer as it was `seen`.
    """
    columns = wanted.model_dump(mode="json", exclude_unset=True)
    for _ in range(_TRIES):
        old = await get(services, caller, template_id)
        if seen is not None and any(old[name] != seen[name] for name in TemplatePatch.model_fields):
            break
        new = old | columns
        # No connection is held while the source is analysed, so the template may change meanwhile.
        # Counting a use of it looks like a change, too.
        used = await variables(
            services,
            caller,
            Channel(new["type"]),
            new,
            has_new_subject="subject" in columns,
        )
        try:
            async with services.database.as_caller(caller) as db:
                is_changed = await templates.update(
                    db,
                    caller.organization_id,
                    template_id,
                    columns | {"variables": used},
                    old["updated_at"],
                )
                row = await templates.get(db, caller.organization_id, template_id)
        except ConflictError:
            raise _taken(new["name"], new["type"]) from None
        if is_changed:
            return _found(row)
    raise ChangedError


async def delete(
    services: Services,
    caller: Caller,
    template_id: UUID,
    *,
    seconds: float = 15.0,
    few: int = _FEW,
) -> None:
    """Delete a template; messages that were made from it stay.

    Raises `Problem` 503 if there are too many to remove their references to it in so many seconds;
    those that were removed by then stay removed.
    """
    await get(services, caller, template_id)

    # The statement that deletes the template removes the last few references: all of them, or none
    # if it is refused. It has time for some ten thousand: each message is written to ten indexes.
    async def let_go() -> bool | None:
        async with services.database.as_caller(caller) as db:
            if not await templates.made(db, caller.organization_id, template_id, few):
                return True
        async with services.database.as_service(on_behalf=caller) as db:
            gone = await templates.let_go(db, caller.organization_id, template_id, _AT_ONCE)
        return None if gone else True

    if await in_steps(let_go, seconds) is None:
        raise not_now("More messages were made from it than can be changed at once: try again.")
    async with services.database.as_caller(caller) as db:
        if not await templates.delete(db, caller.organization_id, template_id):
            raise not_found("template")


async def render(
    services: Services, caller: Caller, row: Mapping[str, Any], values: Mapping[str, Any]
) -> Row:
    """The parts of a template rendered with these variables, and for SMS their segments."""
    template = template_of(Channel(row["type"]), row)
    if errors := options.check(template.channel, template.options):
        raise invalid(errors)  # another program may have stored wrong options
    try:
        content = await compose_template(_renderer(services, caller), template, values)
    except ComposeError as error:
        raise invalid(error.errors) from None
    return rendered(template.channel, content)


async def variables(
    services: Services,
    caller: Caller,
    channel: Channel,
    columns: Mapping[str, Any],
    *,
    has_new_subject: bool = True,
) -> list[str]:
    """The variables that the sources use; raises `Problem` 422 with line and reason.

    A subject that is not changed is not checked: if another program has stored a wrong one, other
    changes are still accepted.
    """
    subject = columns["subject"]
    errors = options.check(channel, columns["options"])
    if subject is not None and channel is not Channel.EMAIL:
        errors.append(FieldError("subject", "belongs to e-mail templates only"))
    is_read = channel is Channel.EMAIL and has_new_subject
    if is_read and (wrong := _no_subject(subject or "")):
        errors.append(FieldError("subject", wrong))
    is_html = channel is Channel.EMAIL and email.looks_like_html(columns["content"])
    sources = [("content", columns["content"], is_html)]
    if subject is not None:
        sources.append(("subject", subject, False))
    sources += [(*source, False) for source in options.sources(channel, columns["options"])]
    used: set[str] = set()
    renderer = _renderer(services, caller)
    for name, source, html in sources:
        try:
            used |= set((await renderer.analyse(source, html=html)).variables)
        except RendererBusy as busy:
            raise not_now(str(busy)) from None
        except RenderError as error:
            errors.append(FieldError(name, str(error)))
    if errors:
        raise invalid(errors)
    return sorted(used)


def _no_subject(source: str) -> str | None:
    """What is wrong with a subject whatever its variables are; None if it may be right."""
    if not source.strip(" "):
        return "is missing: an e-mail has one"
    written = sandbox.certain_text(source)
    at = next((n for n, each in enumerate(written) if is_control(each)), None)
    if at is None:
        return None
    where = f"after “{written[max(at - _SHOWN, 0) : at]}”" if at else "at its beginning"
    return f"has a line break or a control character {where}: it must be one line"


def _renderer(services: Services, caller: Caller) -> Renderer:
    return services.renderer.within(RENDERING_SECONDS, caller.organization_id)


class ChangedError(Problem):
    """A template is no longer as it was seen."""

    def __init__(self) -> None:
        super().__init__(409, "Others change this template at this moment: try again.")


def _taken(name: str, channel: str) -> Problem:
    return Problem(409, f"There is a {channel} template with the name {name!r} already.")


def _found(row: Row | None) -> Row:
    return _shown(found("template", row))


def _shown(row: Row) -> Row:
    return {
        **row,
        "variables": row["variables"] or [],
        "tags": row["tags"] or [],
        "is_active": bool(row["is_active"]),  # templates with NULL cannot be used
        "usage_count": row["usage_count"] or 0,
    }
