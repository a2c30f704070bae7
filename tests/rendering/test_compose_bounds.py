"""One message has many sources, and a request many messages: what all of them may take."""

from __future__ import annotations

import asyncio

import pytest

from channels.model import Channel
from channels.rendering.renderer import Renderer
from gateway.accept.compose import (
    ComposeError,
    Ingredients,
    Template,
    compose_aside,
    compose_template,
)
from gateway.ids import new_id
from tests.rendering.measuring import measured

NEST = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


def template(*sources: str) -> Template:
    """One that is kept at Meta, with these values in its header."""
    header = {"type": "header", "parameters": [{"type": "text", "text": each} for each in sources]}
    options = {"name": "hello", "language": "en", "components": [header]}
    return Template(id=new_id(), channel=Channel.WHATSAPP, subject=None, source="", options=options)


async def test_one_expensive_source_is_enough(renderer: Renderer) -> None:
    """A message whose sources are all too expensive is refused for the first of them."""
    async with measured() as cost:
        with pytest.raises(ComposeError) as raised:
            await compose_template(renderer, template(*(NEST for _ in range(20))), {})
    (error,) = raised.value.errors
    assert "options.components.0.parameters.0.text" == error.field
    assert cost.seconds < 5


async def test_many_sources_let_others_have_their_turn(renderer: Renderer) -> None:
    """Thousands of cheap sources of one message hold up nobody."""
    many = template(*("{{ name }}" for _ in range(8000)))
    await compose_template(renderer, template("{{ name }}"), {"name": "Ann"})
    composing = asyncio.create_task(compose_template(renderer, many, {"name": "Ann"}))
    turns = 0
    while not composing.done():
        turns += 1
        await asyncio.sleep(0)
    assert composing.result().template is not None
    assert turns > 100


async def test_many_tags_let_others_have_their_turn(renderer: Renderer) -> None:
    """A mail that is short, but all tags, is made into text where it holds up nobody."""
    ingredients = Ingredients(text=None, subject="s", html_body="<table>" + "<tr><td>x" * 3000)
    composing = asyncio.create_task(compose_aside(renderer, Channel.EMAIL, ingredients))
    turns = 0
    while not composing.done():
        turns += 1
        await asyncio.sleep(0)
    assert 3000 == (composing.result().body or "").count("x")
    assert turns > 100


async def test_options_that_grow(renderer: Renderer) -> None:
    """Options that are short until they are rendered are bounded then, too."""
    many = template(*("{{ name }}" for _ in range(100)))
    composed = await compose_template(renderer, many, {"name": "x" * 1300})
    assert composed.template is not None
    with pytest.raises(ComposeError) as raised:
        await compose_template(renderer, many, {"name": "x" * 1400})
    (error,) = raised.value.errors
    assert ("options", "come to more than 128 KiB once they are rendered") == (
        error.field,
        error.message,
    )
