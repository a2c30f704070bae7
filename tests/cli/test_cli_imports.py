"""What a command imports: only what it needs, so that a short one is short."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from channels import providers
from gateway.cli import MENDABLE
from gateway.registry import PROVIDERS
from tests.cli.shell import ROOT


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("gateway.cli", {"aiohttp", "asyncpg", "gateway.config", "pydantic"}),
        ("gateway.config", {"aiohttp", "asyncpg", "gateway.registry", "twilio"}),
        ("gateway.runtime", {"aiohttp", "gateway.registry", "twilio"}),
        ("gateway.serve", {"gateway.app", "gateway.inbox", "jinja2"}),
        ("gateway.simulator", {"asyncpg", "gateway.registry", "jinja2"}),
    ],
)
def test_what_is_not_imported(module: str, without: set[str]) -> None:
    """The help needs neither settings nor a server, the worker no pages, settings no provider."""
    program = f"import sys, {module}; print(*sys.modules)"
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, check=True, env={"PYTHONPATH": str(ROOT)})

    assert set() == without & set(done.stdout.decode().split())


@pytest.mark.parametrize("name", sorted(MENDABLE))
def test_what_a_user_can_mend_exists(name: str) -> None:
    """Its name is that of an error: one that was renamed would be shown with a traceback."""
    module, _, kind = name.rpartition(".")
    error = getattr(import_module(module), kind)

    assert issubclass(error, Exception)
    assert name == f"{error.__module__}.{error.__qualname__}"


def test_the_names_of_all_providers() -> None:
    """They are known without their code."""
    assert sorted(PROVIDERS) == list(providers.NAMES)
