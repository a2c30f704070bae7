"""What happens to a message after it was accepted: step by step, each of them reported."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from gateway.simulator.plan import Fault, Plan, arrange
from gateway.simulator.state import State

R = TypeVar("R")


async def travel(
    state: State,
    plan: Plan,
    steps: Sequence[str],
    advance: Callable[[str], Awaitable[R]],
    post: Callable[[list[R]], Awaitable[None]],
) -> None:
    """Take a message through `steps`: `advance` moves it on and returns what to report.

    `post` makes the callbacks: for one report, or with the fault `batch` for all together. With
    `batch` and `reorder` only the callbacks are late: the message itself has moved on by then, as
    with real providers.
    """
    together = bool(plan.faults & {Fault.BATCH, Fault.REORDER})
    waiting: list[R] = []
    for step in steps:
        await asyncio.sleep(plan.body.delay_ms / 1000)
        waiting.append(await advance(step))
        if not together:
            await _post_all(state, plan, waiting, post)
            waiting = []
    await _post_all(state, plan, waiting, post)


async def _post_all(
    state: State, plan: Plan, reports: list[R], post: Callable[[list[R]], Awaitable[None]]
) -> None:
    arranged = arrange(reports, plan.faults, state.random)
    if Fault.BATCH not in plan.faults:
        for some in arranged:
            await post([some])
    elif arranged:
        await post(arranged)
