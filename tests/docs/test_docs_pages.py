"""What the pages say is there, is there; and what is there, they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Counter, Histogram
from typer.main import get_command

from gateway.api.table import ENDPOINTS
from gateway.cli import app
from gateway.config import Settings
from gateway.metrics import Metrics
from scripts.check import STEPS

# Named in the changelog as not there yet.
_LATER = {"why", "replay"}


def _table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its first two lines."""
    below = page.split(f"\n## {heading}\n", 1)[1]
    lines = [line for line in below.split("\n## ", 1)[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def _anchors(page: str) -> set[str]:
    """The names that headings get."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere(pages: dict[str, str], root: Path) -> None:
    """Every link to a file of ours, and to a heading in it, resolves."""
    broken = []
    for name, page in pages.items():
        text = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith("https://"):
                continue
            path, _, anchor = target.partition("#")
            file = (root / name).parent / path if path else root / name
            if not file.exists() or (
                anchor and anchor not in _anchors(file.read_text(encoding="utf-8"))
            ):
                broken.append(f"{name}: {target}")
    assert [] == broken


def test_every_setting_is_explained(operating: str) -> None:
    """The table of settings and `Settings` name the same variables."""
    documented = [row[0].strip("`") for row in _table(operating, "Settings")]
    # One variable for each provider's base address, whatever providers there are.
    names = Settings.model_fields.keys() - {"provider_api_urls"} | {"*_api_url"}
    assert sorted(name.upper() for name in names) == sorted(documented)


def test_every_default_is_right(operating: str) -> None:
    """Where the table of settings has a plain default, it is that of `Settings`."""
    told = {row[0].strip("`").lower(): row[1] for row in _table(operating, "Settings")}
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, int | str):
            assert f"`{field.default}`" == told[name]


def test_every_metric_is_explained(operating: str) -> None:
    """The table of metrics names those that /metrics shows, with their labels."""
    metrics = Metrics()
    shown = {
        each._name + ("_total" if isinstance(each, Counter) else ""): set(each._labelnames)
        for each in vars(metrics).values()
        if isinstance(each, Counter | Histogram)
    }
    for line in metrics.page([("sms", 1, 0.0)]).decode().splitlines():
        if found := re.match(r'(gateway_queue_\w+)\{(\w+)="', line):
            shown[found[1]] = {found[2]}
    documented = {
        row[0].strip("`"): {label.strip() for label in row[1].split(",") if label.strip()}
        for row in _table(operating, "Metrics and alerts")
        if row[0].startswith("`")
    }
    assert shown == documented


def test_every_log_line_is_explained(operating: str, root: Path) -> None:
    """The table of log lines names events that the code writes, with their levels."""
    source = "".join(
        path.read_text(encoding="utf-8") for path in sorted((root / "gateway").rglob("*.py"))
    )
    written = re.findall(r'_log\.(info|warning|error|exception)\(\s*"([^"]+)"', source)
    levels = {text: "error" if level == "exception" else level for level, text in written}
    documented = {
        event: row[1]
        for row in _table(operating, "Logs")
        for event in re.findall(r"`([^`]+)`", row[0])
    }
    assert levels == documented


def _commands() -> Iterator[str]:
    """Every command of the program, a group's with the group's name before it."""
    top: Any = get_command(app)
    for name, command in top.commands.items():
        nested = getattr(command, "commands", None)
        yield from [f"{name} {each}" for each in nested] if nested else [name]


def test_every_command_is_mentioned(readme: str) -> None:
    """The README's table has each command of `gateway`."""
    commands = " ".join(
        re.sub(r"`gateway ", "`", row[0]) for row in _table(readme, "Commands")
    ).replace("`migrate up`, `down`, `status`", "`migrate up`, `migrate down`, `migrate status`")
    assert set(_commands()) == set(re.findall(r"`([^`]+)`", commands))


def test_mentioned_commands_exist(pages: dict[str, str]) -> None:
    """Whatever a page types after `gateway` is a command, or named as not there yet."""
    known = {command.split()[0] for command in _commands()} | _LATER
    for name, page in pages.items():
        typed = re.findall(r"(?:`|bin/)gateway ([a-z][a-z-]*)", page)
        assert [] == [(name, word) for word in typed if word not in known]


def test_mentioned_paths_exist(pages: dict[str, str]) -> None:
    """Whatever path below /v1 a page names is one of the API's."""
    known = {re.sub(r"\{\w+\}", "{}", endpoint.path) for endpoint in ENDPOINTS}
    for name, page in pages.items():
        if name == "docs/adding-a-provider.md":  # its paths are another's
            continue
        for path in re.findall(r"(?<![\w.])/v1/[\w/{}$-]+", page):
            plain = re.sub(r"\{\w+\}|\$\w+|[A-Z_]{2,}", "{}", path).rstrip("/")
            assert plain in known, f"{name}: {path}"


def test_mentioned_files_exist(pages: dict[str, str], root: Path) -> None:
    """Whatever file of ours a page names is there."""
    path_of_ours = r"`((?:gateway|channels|webhooks|sql|scripts|tests)/[\w/.*-]+)`"
    named = {
        (name, path)
        for name, page in pages.items()
        for path in re.findall(path_of_ours, page)
        if "acme" not in path
    }
    assert [] == [each for each in sorted(named) if not list(root.glob(each[1].rstrip("/")))]


def test_mentioned_steps_exist(pages: dict[str, str]) -> None:
    """CONTRIBUTING names the steps of the check, in their order."""
    told = re.search(r"in this order.*?: (.*?)\. Name", pages["CONTRIBUTING.md"], re.DOTALL)
    assert told
    assert list(STEPS) == re.findall(r"`(\w+)`", told[1])


def test_sql_blocks_that_are_named_exist(pages: dict[str, str], root: Path) -> None:
    """Each `sql/queries/FILE.sql` (`block`) in the architecture is there."""
    named = re.findall(r"`(sql/queries/\w+\.sql)` \(`(\w+)`\)", pages["docs/architecture.md"])
    assert named
    for path, block in named:
        assert f"-- name: {block}\n" in (root / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["constraints.txt", "Makefile", ".pre-commit-config.yaml"])
def test_no_machine_is_named(name: str, root: Path) -> None:
    """No path of somebody's machine, no address of a registry."""
    text = (root / name).read_text(encoding="utf-8")
    assert not re.search(r"/work/|/home/|/root/|file:|https?://|index-url", text)


def test_constraints_are_exact(root: Path) -> None:
    """Each line of constraints.txt is one version of one package, in order."""
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [] == [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]
    assert len(lines) == len({line.partition("==")[0].lower() for line in lines})


def test_pages_name_no_machine(pages: dict[str, str]) -> None:
    """What a page tells to type works on any machine."""
    found = [name for name, page in pages.items() if re.search(r"/work/|/root/|file://", page)]
    assert [] == found
