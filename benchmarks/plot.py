"""A long run of the circle as a small SVG picture: rates, latency and memory over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT = 720, 180
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 28, 24
COLOURS = ("#0b7285", "#e8590c", "#5f3dc4")

Line = tuple[str, Sequence[tuple[float, float]]]


def soak(course: dict[str, Any]) -> str:
    """The picture of a run of `circle`."""
    circle = course["circle_per_second"]
    accept = list(enumerate(course["accept_per_second"]))[:-1]  # the last second is incomplete
    memory = course["memory"]
    charts: list[tuple[str, list[Line]]] = [
        (
            "messages a second",
            [
                ("accepted", [(at, each[0]) for at, each in accept]),
                ("delivered", [(each[0], each[1]) for each in circle]),
            ],
        ),
        (
            "latency in ms, p99 of each second",
            [
                ("accept", [(at, each[2]) for at, each in accept]),
                ("accepted to delivered (0.25 s are the provider's)", _column(circle, 3)),
            ],
        ),
        (
            "memory in MB",
            [
                (name, [(each["at"], each[name] / 1e6) for each in memory])
                for name in ("web", "worker")
            ],
        ),
    ]
    drawn = [_chart(title, lines, n * HEIGHT) for n, (title, lines) in enumerate(charts)]
    size = f'width="{WIDTH}" height="{HEIGHT * len(charts)}"'
    box = f'viewBox="0 0 {WIDTH} {HEIGHT * len(charts)}"'
    style = 'font-family="sans-serif" font-size="11" fill="#343a40"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} {style}>\n'
        '<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(drawn) + "\n</svg>\n"
    )


def _column(rows: Sequence[Sequence[float]], column: int) -> list[tuple[float, float]]:
    return [(row[0], row[column]) for row in rows]


def _chart(title: str, lines: Sequence[Line], top: float) -> str:
    points = [point for _, line in lines for point in line]
    widest = max((x for x, _ in points), default=1.0) or 1.0
    highest = _round_up(max((y for _, y in points), default=1.0))
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> str:
        across = LEFT + inner_width * x / widest
        down = top + TOP + inner_height * (1 - min(y, highest) / highest)
        return f"{across:.1f},{down:.1f}"

    parts = [f'<text x="{LEFT}" y="{top + 14}" font-weight="bold">{title}</text>']
    for share in (0.0, 0.5, 1.0):
        y = top + TOP + inner_height * (1 - share)
        parts.append(
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dee2e6"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{highest * share:g}</text>'
        )
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = LEFT + inner_width * share
        parts.append(
            f'<text x="{x:.1f}" y="{top + HEIGHT - 8}" text-anchor="middle">'
            f"{widest * share:.0f} s</text>"
        )
    for n, (name, line) in enumerate(lines):
        path = " ".join(place(x, y) for x, y in line)
        colour = COLOURS[n % len(COLOURS)]
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.3"/>'
            f'<text x="{WIDTH - RIGHT}" y="{top + 14 + 12 * n}" text-anchor="end"'
            f' fill="{colour}">{name}</text>'
        )
    return "\n".join(parts)


def _round_up(value: float) -> float:
    """The next round number, for the top of an axis."""
    step = 1.0
    while step * 10 < value:
        step *= 10
    for times in (1, 1.5, 2, 3, 4, 5, 6, 8, 10):
        if step * times >= value:
            return step * times
    return value
