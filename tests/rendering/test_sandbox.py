"""The rules themselves: what counts as cheap, what is refused, and what the child replies."""

import gc
import io
from typing import Any

import pytest

from channels.rendering.child import Worker, read_frame, write_frame
from channels.rendering.sandbox import environment, prepare


@pytest.mark.parametrize(
    "source",
    [
        "Hi {{ name }}",
        "{{ a.b['c'][0] }}{{ a|upper|trim|truncate(20) }}",
        "{% if a > 1 and not b or c in d %}x{% elif e is defined %}y{% else %}z{% endif %}",
        "{{ 'a' if b else c|default(d, true) }}",
        "{{ a|round(2) }}{{ a|round(2, 'common') }}{{ a|e }}{{ a is number }}",
        "{# note #}{% raw %}{{ x }}{% endraw %}",
    ],
)
def test_cheap_templates(source: str) -> None:
    """Names, attributes, conditions and filters that only shorten may run here."""
    assert prepare(source, environment(html=False)).nodes > 0


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in b %}{% endfor %}",
        "{% set a = b %}",
        "{% macro m() %}{% endmacro %}",
        "{% filter upper %}x{% endfilter %}",
        "{{ a() }}",
        "{{ a.b() }}",
        "{{ a + b }}{{ a * 9 }}",
        "{{ a ~ a }}",
        "{{ a[b] }}",
        "{{ a[1:] }}",
        "{{ [a, a] }}",
        "{{ a|join }}",
        "{{ a|replace('a', b) }}",
        "{{ a|center(9) }}",
        "{{ a|round(1000000000) }}",
        "{{ a|round(2, 'ceil') }}{{ a|round(method='floor') }}",
        "{{ a is divisibleby 3 }}{{ a is even }}",
        "{{ a|round(b) }}",
        "{{ a|truncate(1000000) }}",
        "{{ a|truncate(*b) }}",
        "{{ a|e|title|e }}",
        "{{ a is sameas b }}",
        "{{ a is gt (b + 1) }}",
        "{{ a|default(b * 9) }}",
        "x" * 17_000 + "{{ a }}",
        "{{ a }}" * 300,
    ],
)
def test_templates_that_may_be_dear(source: str) -> None:
    """Loops, calls, arithmetic, and whatever multiplies or is long, go to the child."""
    assert prepare(source, environment(html=False)).nodes == 0


def reply(source: str, variables: dict[str, Any] | None, *, html: bool = False) -> dict[str, Any]:
    """What the child replies, without its limits.

    Meanwhile nothing is collected: at the limit of recursion no other test's garbage could be
    finalized.
    """
    gc.disable()
    try:
        return Worker().work({"source": source, "html": html, "variables": variables})
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("source", "variables", "expected"),
    [
        ("{{ a }}", None, {"variables": ("a",), "nodes": 3}),
        ("{{ a }}", {"a": 1}, {"text": "1"}),
        ("{{ a", {}, {"error": "template", "line": 1}),
        ("{{ a|no }}", {}, {"error": "template", "line": 1}),
        ("{{ " + "(" * 5000 + "1", {}, {"error": "template", "line": None}),
        ("{% if a %}" * 150 + "{% endif %}" * 150, {}, {"error": "template"}),
        ("{{ a }}{{ b.c }}", {"b": {}}, {"error": "missing", "names": ["a", "b.c"]}),
        ("{{ 1 / a }}", {"a": 0}, {"error": "failed", "line": 1, "message": "division by zero"}),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", {}, {"error": "failed"}),
        (
            "{% for i in range(50) %}{{ a }}{% endfor %}",
            {"a": "x" * 30_000},
            {"error": "expensive"},
        ),
        ("{{ [a, {'b': a}, none] }}", {"a": 1}, {"text": "[1, {'b': 1}, None]"}),
        ("{{ ''.join }}", {}, {"error": "failed"}),
        ("{{ [''.join] }}", {}, {"error": "failed"}),
        ("{{ none }}", {}, {"error": "failed", "message": "the value to print is null"}),
        ("{{ a }}{{ (1)() }}", {}, {"error": "missing", "names": ["a"]}),
        ("{{ '%.2f'|format(a.b) }}{{ a.c|round }}", {"a": {}}, {"names": ["a.b", "a.c"]}),
    ],
)
def test_replies_of_the_child(
    source: str, variables: dict[str, Any] | None, expected: dict[str, Any]
) -> None:
    """A request gets its text, its analysis, or what kind of thing is wrong and where."""
    found = reply(source, variables)
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    "source",
    [
        "{{ a }}", "{{ a|upper }}", "{{ a|length }}", "{% for x in a %}{% endfor %}",
        "{% if a %}{% endif %}", "{{ a == 1 }}", "{{ a != 1 }}", "{{ a < 1 }}", "{{ a + 1 }}",
        "{{ 1 - a }}", "{{ a.b.c }}", "{{ a['b'] }}", "{{ a(1) }}", "{{ -a }}", "{{ {a: 1} }}",
        "{{ a in 'x' }}", "{{ 'x' in a }}", "{{ a ~ 'x' }}", "{{ a|join }}",
        "{{ a|int }}", "{{ '%.2f'|format(a) }}", "{{ '%d' % a }}", "{{ a|round(2) }}",
        "{{ a|abs }}", "{{ range(a)|list }}", "{{ [a] }}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("html", [False, True])
def test_every_use_of_a_gap_is_noted(source: str, html: bool) -> None:  # noqa: FBT001
    """However a template uses what it was not given, the name is told."""
    found = reply(source + "{{ z }}", {}, html=html)
    assert (found["error"], found["names"]) == ("missing", ["a", "z"])


@pytest.mark.parametrize(
    ("source", "variables", "names"),
    [
        ("{{ day.when }} {{ c['d'].e }}", {"day": {}, "c": {"d": {}}}, ["c.d.e", "day.when"]),
        ("{{ c['d'].e }}", {"c": {}}, ["c.d"]),
        ("{{ c['d'].e }}", {"c": []}, ["c.d"]),
        ("{{ c['d']['e'] }} {{ c['x'] }}", {"c": {"d": "text"}}, ["c.d.e", "c.x"]),
        ("{{ c[0].e }} {{ c.1 }}", {"c": [{}]}, ["c.0.e", "c.1"]),
        ("{{ e }} {{ c.e }} {{ d.e }}", {"c": {}, "d": {"e": 1}}, ["c.e", "e"]),
        (
            "{% for i in items %}{{ i.price }}{% endfor %}",
            {"items": [{"price": 1}, {}]},
            ["items.1.price"],
        ),
        ("{% for i in items %}{{ i.n }}{% endfor %}", {"items": ["a"]}, ["i.n"]),
        ("{% set x = c.d %}{{ x.e }} {{ {}.y }}", {"c": {"d": {}}}, ["c.d.e", "y"]),
        ("{% for i in [{}, {}] %}{{ i.n }}{{ z }}{% endfor %}", {}, ["i.n", "z"]),
    ],
)
def test_a_gap_has_the_path_of_its_place(
    source: str, variables: dict[str, Any], names: list[str]
) -> None:
    """What is missing inside of a variable is named by where it is missing."""
    assert reply(source, variables)["names"] == names


def test_gaps_in_many_places() -> None:
    """Of very many places the first are named, and a path that nobody would read is left out."""
    loop = "{% for i in items %}{{ i.price }}{% endfor %}{{ z }}"
    found = reply(loop, {"items": [{} for _ in range(5_000)]})["names"]
    assert ["items.0.price", "z"] == [found[0], found[-1]]
    assert len(found) == 101
    assert reply("{{ (c.values()|first).e }}", {"c": {"x" * 2**20: {}}})["names"] == ["e"]


def test_the_child_forgets_old_templates() -> None:
    """The child's own cache is bounded, and what it forgot still renders."""
    worker = Worker()
    for number in [*range(200), 0]:
        request = {"source": f"{number}{{{{ a }}}}", "html": False, "variables": {"a": "x"}}
        assert worker.work(request)["text"] == f"{number}x"


def test_frames() -> None:
    """A message comes out as it went in, and the end of the stream is told."""
    stream = io.BytesIO()
    write_frame(stream, {"text": "é\ud800"})
    stream.seek(0)
    assert read_frame(stream) == b'{"text": "\\u00e9\\ud800"}'
    assert read_frame(stream) is None
