"""Style sheets that cost more than they look: in a child process, and not for long."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from channels.model import Channel
from channels.rendering.renderer import Renderer
from channels.styles import inline_styles, is_cheap
from gateway.accept.compose import ComposeError, Ingredients, compose_aside
from tests.costs import cpu_seconds
from tests.rendering.measuring import measured


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    """A renderer whose children are gone after the test."""
    async with Renderer() as renderer:
        yield renderer


def page(rules: str, body: str) -> str:
    """A page with a style sheet."""
    return f"<style>{rules}</style>{body}"


FLAT, DEEP = "<b>a</b>", "<b>" * 390 + "</b>" * 390
# Each took the library ten seconds to a minute, in which nobody else in the process ran.
BOMBS = {
    "brothers that are looked for": page(":has(~ x ~ b){x:1}" * 10, FLAT * 2000),
    "the same in other letters": page(r":h\61s(~ x ~ b){x:1}" * 10, FLAT * 2000),
    "the same behind a comment": page(":/**/has(~ x ~ b){x:1}" * 10, FLAT * 2000),
    "brothers in one list": page(":first-child~b," * 100 + "b{x:1}", FLAT * 6000),
    "what is not in something": page(":not(x>b b b){x:1}" * 400, DEEP * 10),
    "what is not in what is not": page(":not(:not(x b b)) b{x:1}" * 5, DEEP * 5),
    "many selectors of one rule": page("b," * 20_000 + "b{x:1}", FLAT * 5000),
    "many declarations": page("b{" + "".join(f"x{n}:1;" for n in range(3000)) + "}", FLAT * 500),
}


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS.keys())
async def test_a_style_sheet_that_costs_too_much(renderer: Renderer, source: str) -> None:
    """It is refused within seconds, in words, and the event loop goes on meanwhile."""
    assert not is_cheap(source)
    await renderer.inline("<style>b{x:1}</style><b>a</b>")  # a child has started
    async with measured() as cost:
        with pytest.raises(ComposeError) as raised:
            await compose_aside(
                renderer, Channel.EMAIL, Ingredients(text="Hi", subject="s", html_body=source)
            )
    (error,) = raised.value.errors
    assert "html_body" == error.field
    assert "The HTML cannot be used: " in error.message
    assert cost.seconds < 6  # a child that gets no processor is waited for
    assert cost.longest_stop < 0.3


@pytest.mark.parametrize("is_html", [False, True])
async def test_a_newsletter(renderer: Renderer, is_html: bool) -> None:  # noqa: FBT001
    """One that is larger than what is surely cheap has its styles worked in all the same."""
    rules = "".join(f".c{n}{{color:red;margin:{n}px}}" for n in range(150))
    source = page(
        rules + "@media(max-width:9px){p{color:blue}}",
        "".join(f'<tr><td class="c{n % 150}"><p>Hello</p></td></tr>' for n in range(1000)),
    )
    assert not is_cheap(source)
    ingredients = (
        Ingredients(text=source, subject="s", is_html=True)
        if is_html
        else Ingredients(text="Hi", subject="s", html_body=source)
    )
    content = await compose_aside(renderer, Channel.EMAIL, ingredients)
    assert inline_styles(source) == content.html_body


CHEAP = {
    "many rules": page("b{x:1}" * 40, FLAT * 80),
    "many declarations": page("b{" + "".join(f"x{n}:1;" for n in range(500)) + "}", FLAT * 38),
    "deep ones": page("b b b b{x:1}" * 8, DEEP),
    "a long list": page("b," * 2000 + "b{x:1}", FLAT),
    "a long attribute": page(f'[title*="{"a" * 6000}b" i]{{x:1}}', f'<p title="{"a" * 24_000}">'),
}


@pytest.mark.parametrize("source", CHEAP.values(), ids=CHEAP.keys())
def test_what_is_surely_cheap(source: str) -> None:
    """The worst of what is worked in at once takes a moment."""
    assert is_cheap(source)
    assert "style=" in inline_styles(source) or "title" in source
    assert cpu_seconds(lambda: inline_styles(source)) < 0.2
