"""A template that two people have open: nobody takes back what the other has saved."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.inbox.conftest import Inbox
from tests.inbox.fields import field, typed
from tests.service.conftest import Ask

CALL = {
    "type": "call", "name": "plan", "content": "Old\r\ntext", "options.repeat": "2",
    "is_active": "true",
}  # fmt: skip


async def one(ask: Ask) -> dict[str, Any]:
    """The template as /v1 has it."""
    (row,) = (await ask("GET", "/v1/templates")).body["data"]
    found: dict[str, Any] = row
    return found


async def test_each_saves_another_field(inbox: Inbox, ask: Ask) -> None:
    """Both changes are there, also boxes and numbers, and after a try in between."""
    first, second = await inbox.signed_in(), await inbox.signed_in()
    await first.post("/templates/new", CALL)
    path = f"/templates/{(await one(ask))['id']}"
    theirs, ours = typed(await first.get(path)), typed(await second.get(path))
    theirs |= {"content": "Agreed\r\nwith {{ name }}", "options.repeat": "3"}
    theirs |= {"options.detect_machine": "true"}
    theirs.pop("is_active")
    ours |= {"description": "For the summer", "tags": "a, b"}

    saved = [await first.post(path, theirs)]
    tried = await second.post(path, ours | {"do": "try", "variables.name": "Ann"})
    saved.append(await second.post(path, typed(tried) | {"do": "save"}))

    assert [303, 303] == [each.status for each in saved]
    row = await one(ask)
    assert ("Agreed\nwith {{ name }}", "For the summer", ["a", "b"], False) == tuple(
        row[name] for name in ("content", "description", "tags", "is_active")
    )
    assert {"repeat": 3, "detect_machine": True} == row["options"]


async def test_both_change_one_field(inbox: Inbox, ask: Ask) -> None:
    """The second is told what stands there now, and saves theirs only if they mean to; a field that
    they did not touch has what the first saved."""
    first, second = await inbox.signed_in(), await inbox.signed_in()
    await first.post("/templates/new", CALL)
    path = f"/templates/{(await one(ask))['id']}"
    theirs, ours = typed(await first.get(path)), typed(await second.get(path))
    await first.post(path, theirs | {"content": "Theirs", "category": "intake"})

    told = await second.post(path, ours | {"content": "Ours"})
    stored = await one(ask)
    again = await second.post(path, typed(told))

    assert 422 == told.status
    assert "Somebody else has saved “Theirs” here meanwhile" in field(told, "content")
    assert ("Ours", "intake") == (typed(told)["content"], typed(told)["category"])
    assert "Theirs" == stored["content"]
    assert 303 == again.status
    row = await one(ask)
    assert ("Ours", "intake") == (row["content"], row["category"])


@pytest.mark.parametrize("seen", ["", "x", "[1]", '{"content": 1, "x": null}', "[" * 5000])
async def test_a_form_that_does_not_say_what_it_showed(inbox: Inbox, ask: Ask, seen: str) -> None:
    """It is saved as it is, or refused; nothing breaks."""
    browser = await inbox.signed_in()
    await browser.post("/templates/new", CALL)
    path = f"/templates/{(await one(ask))['id']}"
    shown = await browser.post(path, CALL | {"content": "New", "seen": seen})
    assert (303 if "content" not in seen else 422) == shown.status


async def test_they_save_at_the_same_moment(inbox: Inbox, ask: Ask) -> None:
    """One is the first, and what it saved stays; the others are told."""
    browser = await inbox.signed_in()
    await browser.post("/templates/new", CALL)
    path = f"/templates/{(await one(ask))['id']}"
    shown = typed(await browser.get(path))
    texts = ("One", "Two", "Three")
    answers = await asyncio.gather(
        *(browser.post(path, shown | {"content": text}) for text in texts)
    )
    saved = [text for text, each in zip(texts, answers, strict=True) if each.status == 303]
    assert [303, 422, 422] == sorted(each.status for each in answers)
    assert saved == [(await one(ask))["content"]]
    late = [each for each in answers if each.status == 422]
    assert ["", ""] == [field(each, "name") for each in late]
