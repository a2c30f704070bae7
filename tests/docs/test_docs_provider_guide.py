"""The guide for adding a provider, followed to the letter in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, root: Path, pages: dict[str, str]) -> Path:
    """The project, with what the guide says put where it says."""
    folder = tmp_path_factory.mktemp("guide")
    skipped = shutil.ignore_patterns("__pycache__")
    for name in ("channels", "webhooks", "gateway", "sql"):
        shutil.copytree(root / name, folder / name, ignore=skipped)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, folder / name)
    if (known := root / ".mypy_cache").exists():  # what is as it was need not be read once more
        shutil.copytree(known, folder / known.name)
    guide = pages["docs/adding-a-provider.md"]
    for name, code in re.findall(
        r"^```python file=(\S+)\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code, encoding="utf-8")
    row = re.search(r"^```python row\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    assert row
    registry = folder / "gateway/registry.py"
    text = registry.read_text(encoding="utf-8")
    for old, new in (
        ("import webhooks.", "import webhooks.acme\nimport webhooks."),
        ("from channels.providers import ", "from channels.providers import acme, "),
        ("PROVIDERS: dict[str, Provider] = {\n", f"PROVIDERS: dict[str, Provider] = {{\n{row[1]}"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    registry.write_text(text, encoding="utf-8")
    for words in (["check", "--fix", "--select", "I"], ["format"]):  # as the guide tells to
        _run(["ruff", *words, "--no-cache", str(registry)], folder)
    return folder


def _run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("COV_", "COVERAGE", "PYTEST"))}
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [
        ["ruff", "format", "--check", "--no-cache", "."],
        ["ruff", "check", "--no-cache", "."],
        ["mypy", "gateway/registry.py", "tests/acme/test_acme.py"],
        [
            *("pytest", "-q", "tests/acme", "--cov=webhooks.acme", "--cov-branch"),
            *("--cov-report=term-missing", "--cov-fail-under=100"),
        ],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_the_guide_is_right(words: list[str], copy: Path) -> None:
    """Its code passes formatter, linter, mypy --strict and its own tests."""
    done = _run(words, copy)
    assert done.returncode == 0, done.stdout + done.stderr
