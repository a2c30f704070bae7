"""What the pages say is there, is there; and what is there, they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client import Counter, Histogram
from pydantic import BaseModel
from typer.main import get_command

from channels import call, email, sms, whatsapp
from channels.model import Channel
from channels.rendering.sandbox import OUTPUT_CHARACTERS
from gateway.accept import attachments
from gateway.api.table import ENDPOINTS
from gateway.app import MAX_BODY
from gateway.cli import app
from gateway.config import Settings
from gateway.media import files
from gateway.observability.metrics import Metrics
from gateway.outside.public import PORTS
from gateway.receive.errands import Patience
from gateway.registry import PROVIDERS
from gateway.shapes import options
from gateway.shapes.base import URL_CHARACTERS
from gateway.shapes.templates import SOURCE_CHARACTERS
from gateway.simulator import build_simulator, plan
from gateway.simulator.plan import PlanBody
from gateway.subscriptions import delivering, sending
from gateway.web import hooks
from scripts.check import STEPS
from webhooks.model import Reason

_SHOWN = {Channel.EMAIL: "e-mail", Channel.SMS: "SMS", Channel.WHATSAPP: "WhatsApp"}


def _table(page: str, heading: str, title: str | None = None) -> list[list[str]]:
    """The cells of the tables below a heading, without the first two lines.

    With a `title`, of the one whose first column has it.
    """
    below = page.split(f"\n## {heading}\n", 1)[1]
    lines = [line for line in below.split("\n## ", 1)[0].splitlines() if line.startswith("|")]
    if title is not None:
        first = next(n for n, line in enumerate(lines) if line.startswith(f"| {title} |"))
        # The next table begins where a line of dashes follows its titles.
        rule = [n for n, line in enumerate(lines) if n > first + 1 and line.startswith("|---")]
        lines = lines[first : rule[0] - 1 if rule else None]
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
        if found := re.match(r'(gateway_(?:queue|database)_\w+)(?:\{(\w+)=")?', line):
            shown[found[1]] = {found[2]} if found[2] else set()
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
    written += [("info", text) for text in re.findall(r'info_each\(\s*_log,\s*"([^"]+)"', source)]
    levels = {
        text.replace("%s", "…"): "error" if level == "exception" else level
        for level, text in written
    }
    documented = {
        event: row[1]
        for row in _table(operating, "Logs")
        for event in re.findall(r"`([^`]+)`", row[0])
    }
    assert levels == documented


def test_every_option_is_explained(operating: str) -> None:
    """The table of options and the shapes name the same, channel by channel."""
    documented = [
        (row[0].strip("`"), row[1].strip("`"))
        for row in _table(operating, "What a message can be told")
    ]
    known: list[tuple[str, type[BaseModel]]] = [
        ("email", options.EmailOptions),
        ("whatsapp", options.WhatsAppOptions),
        ("call", options.CallOptions),
    ]
    assert [(name, field) for name, shape in known for field in shape.model_fields] == documented
    assert {} == options.NoOptions.model_fields


def test_every_limit_is_right(operating: str) -> None:
    """The numbers in the table of limits are those of the code."""
    told = " ".join(cell for row in _table(operating, "Limits") for cell in row)
    mib = 2**20
    expected = [
        f"{MAX_BODY // mib} MiB",
        f"{hooks._MAX_MAIL // mib} MiB",
        f"{email.ATTACHMENT_BYTES // mib} MiB",
        f"Mailgun {PROVIDERS['mailgun'].limits[Channel.EMAIL] // mib} MiB",
        f"Postmark {PROVIDERS['postmark'].limits[Channel.EMAIL] // mib} MiB",
        f"{files.MAX_BYTES // mib} MiB, {files.LIMITS.total:.0f} s",
        f"at port {', '.join(map(str, PORTS[:-1]))} or {PORTS[-1]}",
        f"{URL_CHARACTERS:,} characters; {attachments._SAID_BYTES // 1024} KiB",
        f"{SOURCE_CHARACTERS:,} characters; {email.SUBJECT_CHARACTERS}",
        *(f"{_SHOWN[name]} {most}" for name, most in attachments._MOST.items() if most),
        f"SMS {sms.CHARACTERS:,} characters",
        f"WhatsApp {whatsapp.CHARACTERS:,}",
        f"Twilio {PROVIDERS['twilio'].limits[Channel.WHATSAPP]:,}",
        f"beside a file {whatsapp.CAPTION_CHARACTERS:,}",
        f"a call {call.CHARACTERS:,}",
        f"e-mail {OUTPUT_CHARACTERS // mib} Mi",
    ]
    assert [] == [one for one in expected if one not in told]


def test_the_patience_of_errands_is_right(operating: str) -> None:
    """How often and when what a webhook points at is fetched again."""
    patience = Patience()
    waits = {5: "5 s", 30: "30 s", 120: "2 min", 600: "10 min", 3600: "1 h", 21600: "6 h"}
    told = " ".join(operating.split())
    words = ", ".join(waits[round(each)] for each in patience.waits)
    assert f"after {words}." in told
    assert (8, 13, 3) == (patience.most, sum(patience.waits) // 3600, patience.passing)
    assert "Each is tried eight times over about 13 hours" in told
    assert "given up after the third time" in told


def test_the_patience_of_deliveries_is_right(operating: str) -> None:
    """How often and when a subscription's receiver is asked again, and how many at a time."""
    patience = sending.Patience()
    words = ["5 s", "5 min", "30 min", "2 h", "5 h", "10 h", "14 h", "20 h"]
    told = " ".join(operating.split())
    assert f"2xx within {patience.seconds:g} s" in told
    assert f"again after {', '.join(words)} and 24 h" in told
    hours = (2, 5, 10, 14, 20, 24)
    assert (5, 300, 1800, *(3600 * each for each in hours)) == patience.waits
    assert (10, 3) == (patience.most, int(sum(patience.waits) / 86400))
    bounds = (delivering._PLACES, delivering._OF_ORGANIZATION, delivering._OF_SUBSCRIPTION)
    assert (
        "a worker sends {} events at a time, {} of one organization, {} of one".format(*bounds)
        in told
    )
    assert f"If {delivering._MOST_WAITING:,} events wait" in told


def test_every_reason_is_explained(operating: str) -> None:
    """The table of suppressions has each reason that there is."""
    documented = [row[0].strip("`") for row in _table(operating, "Suppressions")]
    assert sorted(Reason) == sorted(documented)


def test_the_simulator_is_explained(operating: str) -> None:
    """The page has each field of a plan, each outcome, each fault and each path of /_sim."""
    rows = {row[0].strip("`"): row[1] for row in _table(operating, "The simulator", "field")}
    assert sorted(PlanBody.model_fields) == sorted(rows)
    named = {name: set(re.findall(r"`([^`]+)`", text)) for name, text in rows.items()}
    assert set(get_args(plan.Outcome)) == named["outcome"]
    assert set(plan.Fault) == named["faults"]
    assert {field.alias or name for name, field in plan.Match.model_fields.items()} == (
        named["match"]
    )
    requests = " ".join(row[0] for row in _table(operating, "The simulator", "request"))
    served = {
        (route.method, resource.canonical)
        for resource in build_simulator().router.resources()
        for route in resource
        if resource.canonical.startswith("/_sim") and route.method != "HEAD"
    }
    told = set(re.findall(r"`([A-Z]+) (/_sim[/a-z]*)", requests))
    assert served - {("GET", "/_sim/plan")} == told


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
    """Whatever a page types after `gateway` is a command."""
    known = {command.split()[0] for command in _commands()}
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


def test_functions_are_where_the_page_says(pages: dict[str, str], root: Path) -> None:
    """The architecture names for each function the newest migration that makes it."""
    for names, _, newest in _table(pages["docs/architecture.md"], "Functions in the database"):
        for name in re.findall(r"`([^`]+)`", names):
            made = f"CREATE OR REPLACE FUNCTION {name}("
            files = sorted((root / "sql/migrations").glob("*.sql"))
            making = [each.name for each in files if made in each.read_text(encoding="utf-8")]
            assert f"`{making[-1]}`" == newest, name


def test_each_file_of_the_schema_is_told(pages: dict[str, str], root: Path) -> None:
    """The architecture names every migration, in their order."""
    told = [file for file, _ in _table(pages["docs/architecture.md"], "The schema")]
    files = sorted(path.name for path in (root / "sql/migrations").glob("*.sql"))
    assert [f"`{name}`" for name in files] == told


@pytest.mark.parametrize("name", ["constraints.txt", "Makefile", ".pre-commit-config.yaml"])
def test_no_machine_is_named(name: str, root: Path) -> None:
    """No path of somebody's machine, no address of a registry."""
    text = (root / name).read_text(encoding="utf-8")
    assert not re.search(r"/work/|/home/|/root/|\bfile:|https?://|index-url", text)


def test_constraints_are_exact(root: Path) -> None:
    """Each line of constraints.txt is one version of one package, in order."""
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [] == [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]
    assert len(lines) == len({line.partition("==")[0].lower() for line in lines})


def test_pages_name_no_machine(pages: dict[str, str]) -> None:
    """What a page tells to type works on any machine."""
    found = [name for name, page in pages.items() if re.search(r"/work/|/root/|file://", page)]
    assert [] == found
