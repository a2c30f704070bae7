"""The children's life: started, asked, replaced, given up on; and what callers hear of it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable

import pytest

from channels.rendering.pool import COMMAND, ChildPool, PoolLimits
from channels.rendering.renderer import Renderer, RendererBusy, TooExpensive

READY = "import sys; sys.stdout.buffer.write(bytes([0, 0, 0, 2]) + b'{}'); sys.stdout.flush();"
SLEEP = "import time; time.sleep(60)"
SPIN = "exec('while True: pass')"
LOOP = "{% for i in x %}{{ i }}{% endfor %}"


@pytest.fixture
async def renders() -> AsyncIterator[Callable[..., Renderer]]:
    """Makes renderers over children of a test's own, with its own limits."""
    made: list[Renderer] = []

    def make(program: str | None = None, **limits: float) -> Renderer:
        command = COMMAND if program is None else (sys.executable, "-c", program)
        pool = ChildPool(PoolLimits(**limits), command)  # type: ignore[arg-type]
        made.append(Renderer(pool))
        return made[-1]

    yield make
    for renderer in made:
        await renderer.close()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit(1)", "the process for rendering does not start"),
        (SLEEP, "the process for rendering does not start"),
    ],
)
async def test_children_that_do_not_start(
    renders: Callable[..., Renderer], program: str, reason: str
) -> None:
    """A child that does not come up makes the renderer busy, each time it is asked."""
    renderer = renders(program, start=0.3)
    for _ in range(4):
        with pytest.raises(RendererBusy, match=reason):
            await renderer.render(LOOP, {"x": []})


async def test_a_program_that_is_not_there() -> None:
    """Where no process can be started at all, that is said."""
    async with Renderer(ChildPool(command=("/nonexistent/python",))) as renderer:
        for _ in range(4):
            with pytest.raises(RendererBusy, match="no process for rendering can be started"):
                await renderer.render(LOOP, {"x": []})


@pytest.mark.parametrize(
    ("after", "reason"),
    [(SPIN, "takes too long"), ("sys.stdin.buffer.read(10)", "takes more memory or a deeper")],
)
async def test_children_that_do_not_answer(
    renders: Callable[..., Renderer], after: str, reason: str
) -> None:
    """A child that hangs is killed and one that dies is replaced; both refuse the template."""
    renderer = renders(READY + after, answer=0.3, cpu=0.05)
    for _ in range(3):
        with pytest.raises(TooExpensive, match=reason):
            await renderer.render(LOOP, {"x": []})


async def test_a_child_that_gets_no_processor(renders: Callable[..., Renderer]) -> None:
    """A child that did not come to its work on a busy machine says nothing about the template."""
    renderer = renders(READY + SLEEP, answer=0.1, starved=0.1)
    with pytest.raises(RendererBusy, match="the machine is too busy to render"):
        await renderer.render(LOOP, {"x": []})


async def test_too_many_waiting(renders: Callable[..., Renderer]) -> None:
    """Beyond so many waiting requests, and so long a wait, callers are told to come again."""
    renderer = renders(READY + SPIN, children=1, waiting=1, wait=0.1, answer=0.4)
    jobs = [renderer.render(LOOP, {"x": []}) for _ in range(3)]
    outcomes = await asyncio.gather(*jobs, return_exceptions=True)
    assert sorted(str(outcome) for outcome in outcomes) == [
        "Nothing can be rendered right now: no renderer was free in time.",
        "Nothing can be rendered right now: too many renderings wait.",
        "The template takes too long; make its loops and repetitions smaller.",
    ]


async def test_a_caller_who_leaves_during_the_start(renders: Callable[..., Renderer]) -> None:
    """A child that was starting for a caller who went away serves the next one."""
    renderer = renders(children=1)
    job = asyncio.create_task(renderer.render(LOOP, {"x": [1]}))
    await asyncio.sleep(0.01)
    job.cancel()
    assert await renderer.render(LOOP, {"x": [2]}) == "2"


async def test_closing_stops_what_does_not_end(renders: Callable[..., Renderer]) -> None:
    """A child that ignores the end of its stdin is killed when the renderer closes."""
    renderer = renders(READY + "[sys.stdin.read() for _ in range(1)];" + SLEEP, children=1)
    job = asyncio.create_task(renderer.render(LOOP, {"x": []}))
    await asyncio.sleep(0.2)
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    async with asyncio.timeout(20):
        await renderer.close()


async def test_owners_take_turns(renders: Callable[..., Renderer]) -> None:
    """However many renderings one owner wants, another's comes after one of them; and whoever has
    filled the waiting room leaves others their share of it."""
    renderer = renders(children=1, waiting=12)
    await renderer.render(LOOP, {"x": []})
    ended: list[str] = []

    async def render(owner: str) -> None:
        await renderer.within(60, owner).render(LOOP, {"x": [1]})
        ended.append(owner)

    jobs = [asyncio.create_task(render("greedy")) for _ in range(13)]
    await asyncio.sleep(0)
    jobs.append(asyncio.create_task(render("modest")))
    jobs.append(asyncio.create_task(render("greedy")))
    with pytest.raises(RendererBusy, match="too many renderings wait"):
        await jobs[-1]
    await asyncio.gather(*jobs[:-1])
    assert 14 == len(ended)
    assert "modest" in ended[:3]


async def test_whose_time_it_is(renders: Callable[..., Renderer]) -> None:
    """A request whose time is over is too expensive if its own templates took it, and is to be
    tried again if it waited for the turns of others."""
    renderer = renders(READY + SLEEP, children=1, answer=5)
    first = asyncio.create_task(renderer.within(2, "greedy").render(LOOP, {"x": []}))
    await asyncio.sleep(0.3)
    with pytest.raises(RendererBusy, match="other requests' templates take their turns"):
        await renderer.within(0.1, "modest").render(LOOP, {"x": []})
    with pytest.raises(TooExpensive, match="take more than"):
        await first


async def test_what_a_request_does_between_its_renderings() -> None:
    """The time that a request needs for something else, as for composing its mails, is no wait for
    the turns of others: what is not rendered by then is too expensive, and takes no child."""
    pool = ChildPool(PoolLimits(children=1))
    async with Renderer(pool) as renderer:
        await renderer.render(LOOP, {"x": []})
        pids = pool.pids
        limited = renderer.within(0.2, "alone")
        await asyncio.sleep(0.3)
        for _ in range(3):
            with pytest.raises(TooExpensive, match="take more than"):
                await limited.render(LOOP, {"x": []})
        assert pids == pool.pids


async def test_who_goes_away_takes_nobodys_turn(renders: Callable[..., Renderer]) -> None:
    """A caller who leaves while waiting, or just as the turn comes, leaves the turn to the next."""
    renderer = renders(children=1)
    await renderer.render(LOOP, {"x": []})
    jobs = [asyncio.create_task(renderer.render(LOOP, {"x": [n]})) for n in range(4)]
    await asyncio.sleep(0)
    jobs[1].cancel()
    await jobs[0]
    jobs[2].cancel()
    async with asyncio.timeout(20):
        assert "3" == await jobs[3]
        assert "5" == await renderer.render(LOOP, {"x": [5]})
