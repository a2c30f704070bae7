"""What templates give, and what is said of those that give nothing."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels.rendering.pool import ChildPool
from channels.rendering.renderer import (
    MissingVariables,
    Renderer,
    RenderError,
    TemplateError,
    TooExpensive,
)

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,10}x", fullmatch=True)


@pytest.mark.parametrize(
    ("source", "variables", "text"),
    [
        ("", {}, ""),
        ("Hello", {}, "Hello"),
        ("a { b } %} }}", {}, "a { b } %} }}"),
        ("Hi {{ name }}!", {"name": "O'Neil & <Söhne>"}, "Hi O'Neil & <Söhne>!"),
        ("{{ a.b.c }} {{ a['b'].c }} {{ a.d[1] }}", {"a": {"b": {"c": 1}, "d": [1, 2]}}, "1 1 2"),
        ("{{ name|title|trim }}", {"name": "ann lee "}, "Ann Lee"),
        ("{{ name|default('you') }}", {}, "you"),
        ("{{ name|default(other) }}", {"other": "me"}, "me"),
        ("{% if name is defined %}{{ name }}{% else %}you{% endif %}", {}, "you"),
        ("{{ 'yes' if n > 3 and not m else 'no' }}", {"n": 4, "m": False}, "yes"),
        (
            "{% for i in items %}{{ loop.index }}{{ i.n }} {% endfor %}",
            {"items": [{"n": 5}]},
            "15 ",
        ),
        ("{% set total = a + b %}{{ total }}", {"a": 1, "b": 2}, "3"),
        ("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(1) }}{{ m('a') }}", {}, "[1][a]"),
        ("{{ items|join(', ') }} {{ items }}", {"items": ["a", "b"]}, "a, b ['a', 'b']"),
        ("{{ n|round(2) }} {{ n|int }} {{ ok }}", {"n": 2.716, "ok": True}, "2.72 2 True"),
        ("{# a note #}{% raw %}{{ x }}{% endraw %}\n", {}, "{{ x }}\n"),
        ("{{ '%.2f'|format(price) }}", {"price": 12.5}, "12.50"),
    ],
)
async def test_templates_give_texts(
    renderer: Renderer, source: str, variables: dict[str, Any], text: str
) -> None:
    """A template gives the same text in the child (the first time) and here (from then on)."""
    assert await renderer.render(source, variables) == text
    assert await renderer.render(source, variables) == text


async def test_html_escapes_what_variables_bring(renderer: Renderer) -> None:
    """In HTML the template's own markup stays and a variable's does not, in the child and here."""
    for source in ("<b>{{ name }}</b>", "<b>{% for n in [name] %}{{ n }}{% endfor %}</b>"):
        for _ in range(2):
            text = await renderer.render(source, {"name": "<i>O'Neil</i>"}, html=True)
            assert text == "<b>&lt;i&gt;O&#39;Neil&lt;/i&gt;</b>"
            assert await renderer.render(source, {"name": "<"}) == "<b><</b>"


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("{{ b }} {{ a }} {{ a }}", ("a", "b")),
        ("{{ a.b.c }}", ("a",)),
        ("{{ order.id }} {{ order.items_left.n }}", ("order.id", "order.items_left")),
        ("{% for i in rows %}{{ i }}{% endfor %}{{ x }}", ("rows", "x")),
        ("{% if flag %}{{ x }}{% endif %}{{ y|upper }}", ("flag", "y")),
        ("{{ a + 1 }} {{ b() }} {{ c[0] }} {{ -d }} {{ e < 1 }}", ("a", "b", "c", "d", "e")),
        ("{{ a|default('x') }}{% if b is defined %}{{ b }}{% endif %}{{ c }}", ("c",)),
        ("{{ a|length }}{{ b == 1 }}{{ c != 1 }}{{ {d: 1}|length }}", ("a", "b", "c", "d")),
    ],
)
async def test_missing_variables_are_named_at_once(
    renderer: Renderer, source: str, names: tuple[str, ...]
) -> None:
    """All that is missing is named, with its path, and nothing that the template guards."""
    for _ in range(2):
        with pytest.raises(MissingVariables) as raised:
            await renderer.render(source, {"order": {"n": 1}})
        assert raised.value.names == names
        assert all(name in raised.value.message for name in names)


async def test_a_path_that_is_missing_here_is_missing_twice(renderer: Renderer) -> None:
    """A template that worked before still says what is missing the next time."""
    assert await renderer.render("{{ a }}{{ b }}", {"a": 1, "b": 2}) == "12"
    with pytest.raises(MissingVariables, match=r"uses b, which is not among"):
        await renderer.render("{{ a }}{{ b }}", {"a": 1})


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        ("a\n{{ name", 2, "unexpected end of template"),
        ("{% nothing %}", 1, "unknown tag 'nothing'"),
        ("a\n\n{{ a|nothing }}", 3, "there is no filter named 'nothing'"),
        ("{% if a %}{{ a|nothing }}{% endif %}", 1, "there is no filter named 'nothing'"),
        ("{{ a is nothing }}", 1, "there is no test named 'nothing'"),
        ("\n{{ a._b }}", 2, "the attribute '_b' is not accessible"),
        ("{% include 'x' %}", 1, "cannot include, import or extend"),
        ("{% for i in x %}", 1, "Unexpected end of template"),
        ("{% break %}", 1, "unknown tag 'break'"),
        ("{% block a %}{% endblock %}{% block a %}{% endblock %}", 1, "block 'a' defined twice"),
        ("a\0b", None, "NUL"),
        ("a\ud800b", None, "surrogate"),
        ("x" * 600_000, None, "more than"),
    ],
)
async def test_bad_templates_are_refused_with_line_and_reason(
    renderer: Renderer, source: str, line: int | None, reason: str
) -> None:
    """A template that cannot work is refused when it is looked at, again and again."""
    for _ in range(2):
        with pytest.raises(TemplateError, match=reason) as raised:
            await renderer.analyse(source)
        assert raised.value.line == line
        assert raised.value.message.endswith(".")
    with pytest.raises(TemplateError):
        await renderer.render(source, {})


@pytest.mark.parametrize(
    ("source", "variables", "reason"),
    [
        ("a\n{{ 1 / n }}", {"n": 0}, "failed on line 2: division by zero"),
        ("{{ n + 'a' }}", {"n": 1}, "failed on line 1: unsupported operand"),
        ("{{ n|round }}", {"n": "a"}, "failed on line 1"),
        ("{{ n }}", {"n": None}, "the value to print is null"),
        ("{{ n|upper|first|last|abs }}", {"n": ""}, "failed on line 1"),
        ("{{ n(1) }}", {"n": 1}, "failed on line 1: 'int' object is not callable"),
        ("{{ [1]|map('upper') }}", {}, "a generator cannot be printed"),
        ("{{ '\\x00' }}", {}, "NUL"),
        ("{{ '\\ud800' }}", {}, "surrogate"),
        ("{{ n }}", {"n": "a\0"}, "NUL"),
        ("{{ n }}", {"n": "a\ud800"}, "cannot be written as JSON"),
        ("{{ n }}", {"n": object()}, "cannot be written as JSON"),
        ("{{ n }}", {"n": 2**70}, "cannot be written as JSON"),
        ("{{ n }}", {1: "n"}, "cannot be written as JSON"),
    ],
)
async def test_renderings_that_fail_say_why(
    renderer: Renderer, source: str, variables: dict[str, Any], reason: str
) -> None:
    """What goes wrong while rendering is a sentence about the template, not a crash."""
    for _ in range(2):
        with pytest.raises(RenderError, match=reason) as raised:
            await renderer.render(source, variables)
        assert type(raised.value) is RenderError


async def test_big_variables_are_refused(renderer: Renderer) -> None:
    """More than a mebibyte of variables is refused; less goes through, if need be in the child."""
    with pytest.raises(TooExpensive, match="larger than 1024 KiB"):
        await renderer.render("{{ a }}", {"a": "x" * 2**20})
    for size in (10, 500_000, 1_000_000):
        assert await renderer.render("{{ a }}", {"a": "x" * size}) == "x" * size


async def test_long_texts_are_refused(renderer: Renderer) -> None:
    """The limit of the text's length holds in the child and here."""
    source = "{{ a }}" * 200
    assert len(await renderer.render(source, {"a": "x"})) == 200
    with pytest.raises(TooExpensive, match="more than 1 MiB of text"):
        await renderer.render(source, {"a": "x" * 10_000})


@pytest.mark.parametrize(
    ("source", "variables"),
    [
        ("Hello", ()),
        ("{{ b }}{{ a.c }}{{ a }}", ("a", "b")),
        ("{% for i in rows %}{{ i }}{{ loop.index }}{% endfor %}", ("rows",)),
        ("{% set x = y %}{{ x }}{{ range(3) }}", ("y",)),
        ("{{ a|default(b) }}{% if c is defined %}{% endif %}", ("a", "b", "c")),
    ],
)
async def test_analysis_lists_the_variables(
    renderer: Renderer, source: str, variables: tuple[str, ...]
) -> None:
    """A template's variables are what it takes from outside, sorted, each once."""
    for _ in range(2):
        assert (await renderer.analyse(source)).variables == variables


async def test_many_render_at_once(patient: Renderer) -> None:
    """A batch of a thousand renders through two children, each text to its own caller."""
    source = "{% for i in [n] %}{{ i * 2 }}{% endfor %}"
    texts = await asyncio.gather(*(patient.render(source, {"n": n}) for n in range(1000)))
    assert texts == [str(n * 2) for n in range(1000)]


async def test_many_sources_are_forgotten_in_turn(renderer: Renderer) -> None:
    """The caches are bounded: more sources than they hold still give their own texts."""
    patient = renderer.within(60)
    for round_ in range(2):
        sources = [f"{number} {{{{ n }}}}" for number in range(600)]
        texts = await asyncio.gather(*(patient.render(source, {"n": round_}) for source in sources))
        assert texts == [f"{number} {round_}" for number in range(600)]


Rendering = Callable[..., list[str]]


@pytest.fixture(scope="module")
def in_a_loop() -> Iterator[Rendering]:
    """Renders one after another with a renderer that knows nothing yet; its children stay."""
    pool = ChildPool()

    async def run(jobs: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
        renderer = Renderer(pool)
        return [await renderer.render(source, variables) for source, variables in jobs]

    with asyncio.Runner() as runner:
        yield lambda *jobs: runner.run(run(jobs))
        runner.run(pool.close())


@given(TEXT.map(lambda text: text.replace("{", "").replace("}", "")))
def test_text_without_braces_renders_to_itself(in_a_loop: Rendering, text: str) -> None:
    """What holds no braces comes out as it went in, ends of lines and all."""
    assert in_a_loop((text, {})) == [text]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(NAMES, TEXT, min_size=1, max_size=5))
def test_variables_arrive_exactly(in_a_loop: Rendering, variables: dict[str, str]) -> None:
    """Every text given as a variable stands in the output unchanged, in the child and here."""
    source = "|".join(f"{{{{ {name} }}}}" for name in variables)
    expected = "|".join(variables.values())
    assert in_a_loop((source, variables), (source, variables)) == [expected, expected]
