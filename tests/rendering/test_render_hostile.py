"""What a hostile template costs: less than a second, less than 100 MB, and never the event loop."""

import asyncio
import os
import signal
import sys
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest

from channels.rendering.renderer import Renderer, RenderError, TemplateError, TooExpensive
from tests.rendering.measuring import children, measured

MANY = {"items": ["x" * 100] * 1000, "text": "a" * 50_000, "name": "Ann"}
QUIET = "{% for i in range(100000) %}" * 2 + "{% endfor %}" * 2
NEST = "{% for i in range(100000) %}" * 5 + "x" + "{% endfor %}" * 5

TOO_EXPENSIVE = {
    "a long repetition": "{{ 'x' * 200000000 }}",
    "a long repetition of a variable": "{{ name * 200000000 }}",
    "a folded constant in a condition": "{% if 'x' * 200000000 %}y{% endif %}",
    "a folded constant in a set": "{% set x = 'x' * 200000000 %}",
    "a folded constant as an argument": "{{ 'a'|default('x' * 400000000) }}{{ 'x' * 99999999 }}",
    "a long list": "{{ [1] * 10**9 }}",
    "a power": "{{ 10 ** (10 ** 10) }}",
    "a power of powers": "{{ 9 ** (9 ** 9) % 7 }}",
    "nested loops without output": QUIET,
    "a deep nest of loops": NEST,
    "a loop with output": "{% for i in range(100000) %}{{ text }}{% endfor %}",
    "doubling": "{% set n = namespace(x='xxxxxxxx') %}{% for i in range(60) %}"
    "{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    "doubling by set": "{% set a = text %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}",
    "a wide format": "{{ '%200000000d'|format(1) }}",
    "a wide format by operator": "{{ '%200000000d' % 1 }}",
    "a wide format by method": "{{ '{:200000000}'.format(1) }}",
    "centring": "{{ 'x'|center(10**9) }}",
    "a deep indentation": "{{ text|indent(10**9, true) }}",
    "replacing": "{{ text|replace('a', text)|replace('a', text) }}",
    "sorting": "{% for i in range(100000) %}{{ range(100000)|sort|length }}{% endfor %}",
    "a matching that backtracks": "{% for i in range(100000) %}"
    "{{ (('http://' ~ 'a.' * 20000) ~ '!')|urlize }}{% endfor %}",
    "stripping tags": "{% for i in range(100000) %}{{ ('<' * 50000)|striptags }}{% endfor %}",
    "wrapping words": "{% for i in range(1000) %}{{ text|wordwrap(1) }}{% endfor %}",
}

FORBIDDEN = {
    "a dunder": "{{ name.__class__ }}",
    "a dunder of a constant": "{{ ''.__class__.__mro__ }}",
    "a dunder by subscript": "{{ name['__class__'] }}",
    "an underscore": "{{ name._private }}",
    "the globals of cycler": "{{ cycler.__init__.__globals__ }}",
    "the globals of lipsum": "{{ lipsum.__globals__ }}",
    "the attr filter": "{{ name|attr('__class__') }}",
    "the attr filter with a made name": "{{ name|attr('_' ~ '_class_' ~ '_') }}",
    "map by the attr filter": "{{ [name]|map('attr', '__class__')|list }}",
    "map by attribute": "{{ [name]|map(attribute='__class__')|list }}",
    "a method within a list": "{{ [''.join] }}",
    "a made subscript": "{{ name['__cla' ~ 'ss__'] }}",
    "a format string": "{{ '{0.__class__}'.format(name) }}",
    "a format map": "{{ '{a.__class__}'.format_map({'a': name}) }}",
    "a method as text": "{{ ''.join }}",
    "a macro as text": "{% macro m() %}{% endmacro %}{{ m }}",
    "the template itself": "{{ self }}",
    "a changed list": "{{ items.append(1) }}",
    "an include": "{% include '/etc/passwd' %}",
    "an import": "{% import 'os' as os %}",
    "a from import": "{% from 'os' import system %}",
    "an extends": "{% extends name %}",
    "lipsum": "{{ lipsum(n=1000) }}",
}

BROKEN = {
    "a recursive macro": "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "nested parentheses": "{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}",
    "nested lists": "{{ " + "[" * 20_000 + "]" * 20_000 + " }}",
    "nested conditions": "{% if name %}" * 5_000 + "{% endif %}" * 5_000,
    "a chain of conditions": "{% if name == 1 %}x"
    + "{% elif name == 2 %}x" * 20_000
    + "{% endif %}",
    "a chain of filters": "{{ name" + "|upper" * 50_000 + " }}",
    "a chain of negations": "{{ " + "not " * 50_000 + "name }}",
    "a chain of sums": "{{ 1" + " + 1" * 50_000 + " }}",
    "a long number": "{{ " + "9" * 100_000 + " }}",
    "a huge source": "{{ name }}" * 60_000,
}


async def _costs(renderer: Renderer, source: str, expected: type[RenderError]) -> RenderError:
    assert await renderer.render("{% for i in items %}.{% endfor %}", {"items": [1]}) == "."
    async with measured() as cost:
        with pytest.raises(expected) as raised:
            await renderer.render(source, MANY)
    assert cost.seconds < 1.0
    assert cost.longest_stop < 0.2
    assert cost.grown_mb < 100
    assert await renderer.render("{% for i in items %}.{% endfor %}", {"items": [1]}) == "."
    return raised.value


@pytest.mark.parametrize("source", TOO_EXPENSIVE.values(), ids=TOO_EXPENSIVE.keys())
async def test_expensive_templates_are_refused(renderer: Renderer, source: str) -> None:
    """What multiplies is stopped by time, memory or length, and the next rendering works."""
    error = await _costs(renderer, source, TooExpensive)
    assert error.message.endswith("make its loops and repetitions smaller.")


@pytest.mark.parametrize("source", FORBIDDEN.values(), ids=FORBIDDEN.keys())
async def test_ways_out_of_the_sandbox_are_refused(renderer: Renderer, source: str) -> None:
    """No template gets at Python's insides, at files, or prints what is no data."""
    error = await _costs(renderer, source, RenderError)
    assert error.line == 1
    assert "0x" not in error.message


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN.keys())
async def test_sources_that_break_compilers_are_refused(renderer: Renderer, source: str) -> None:
    """A source too deep or too long for Jinja or Python is refused like any other bad one."""
    await _costs(renderer, source, RenderError)


async def _both_are_there(renderer: Renderer) -> None:
    """Have both children wait for work; the second one starts when two are wanted at once."""
    loop = "{% for i in items %}{{ i }}{% endfor %}"
    await asyncio.gather(*(renderer.render(loop, {"items": []}) for _ in range(2)))
    for _ in range(3000):
        if len(renderer._pool.pids) == 2:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(renderer._pool.pids)


async def test_others_render_while_one_is_costly(patient: Renderer) -> None:
    """An expensive template holds up neither simple ones nor ones that need a child."""
    simple, loop = "Hi {{ name }}", "{% for i in items %}{{ i }}{% endfor %}"
    await patient.render(simple, {"name": "Ann"})
    await _both_are_there(patient)
    attack = asyncio.create_task(patient.render(QUIET, {}))
    await asyncio.sleep(0.02)
    async with measured() as cost:
        for number in range(20):
            assert await patient.render(simple, {"name": number}) == f"Hi {number}"
            assert await patient.render(loop, {"items": [number]}) == str(number)
    assert not attack.done()
    assert cost.seconds < 0.25
    attack.cancel()
    with suppress(asyncio.CancelledError):
        await attack


async def test_cheap_for_numbers_is_not_dear_for_texts(renderer: Renderer) -> None:
    """What `%` and `*` do with a text, where a template was cheap with a number, a child does."""
    wide = "%30000000d"
    for source, text in (
        ("{{ n|round(7, 'ceil') }}", "abc"),
        ("{{ n|round(7, method='floor') }}", "abc"),
        ("{% if n is divisibleby 3 %}{% endif %}", wide),
        ("{% if n is even %}{% endif %}", wide),
        ("{% if n is odd %}{% endif %}", wide),
    ):
        await renderer.render(source, {"n": 3})
        tracemalloc.start()
        try:
            with suppress(RenderError):
                await renderer.render(source, {"n": text})
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (source, True) == (source, most < 2**22)


async def test_analysing_is_bounded_too(renderer: Renderer) -> None:
    """A source is refused within a second also when it is only looked at."""
    async with measured() as cost:
        with pytest.raises(TemplateError):
            await renderer.analyse("{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}")
        analysis = await renderer.analyse("{{ name * 200000000 }}{{ 'x' * 200000000 }}")
    assert analysis.variables == ("name",)
    assert cost.seconds < 1.5
    assert cost.grown_mb < 100


async def test_the_child_knows_nothing_of_us(renderer: Renderer) -> None:
    """The child gets no environment, so no secret can be rendered out of it."""
    await renderer.render("{% for i in items %}.{% endfor %}", {"items": []})
    # One that has been forked and runs nothing of its own yet shows what we have; and other tests
    # have left children that end just now.
    assert {_environment(pid) for pid in children() if _is_sandbox(pid)} == {b""}


async def test_a_killed_child_is_replaced(renderer: Renderer) -> None:
    """A child that something kills while it waits is replaced by the next rendering."""
    source = "{% for i in items %}{{ i }}{% endfor %}"
    assert await renderer.render(source, {"items": [1]}) == "1"
    await _both_are_there(renderer)
    waiting = [task.result() for task in renderer._pool._free if task]
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    for _ in range(3000):
        if not any(child.alive for child in waiting):
            break
        await asyncio.sleep(0.01)
    assert await renderer.render(source, {"items": [2]}) == "2"


async def test_a_cancelled_rendering_harms_no_other(renderer: Renderer) -> None:
    """A caller who goes away leaves no answer behind for the next one."""
    source = "{% for i in range(n) %}{{ name }}{% endfor %}"
    await renderer.render(source, {"n": 1, "name": "a"})
    tasks = [
        asyncio.create_task(renderer.render(source, {"n": 20_000, "name": "b"})) for _ in range(3)
    ]
    await asyncio.sleep(0.002)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await renderer.render(source, {"n": 2, "name": "c"}) == "cc"


async def test_no_child_outlives_its_parent() -> None:
    """A parent that is killed leaves no process behind."""
    program = (
        "import asyncio, os\n"
        "from channels.rendering.renderer import Renderer\n"
        "async def main():\n"
        "    renderer = Renderer()\n"
        "    await renderer.render('{% for i in x %}{% endfor %}', {'x': []})\n"
        "    print(*renderer._pool.pids, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    pids = [int(word) for word in out.split()]
    assert pids
    for _ in range(1500):
        if not any(_is_running(pid) for pid in pids):
            break
        await asyncio.sleep(0.02)
    assert [pid for pid in pids if _is_running(pid)] == []


def _environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def _is_sandbox(pid: int) -> bool:
    try:
        return b"channels/rendering/child.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _is_running(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return words[0] != "Z"
