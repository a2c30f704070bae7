"""The pages that the tests compare with the code."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/architecture.md",
    "docs/adding-a-provider.md",
    "docs/operating.md",
    "docs/providers.md",
)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def pages() -> dict[str, str]:
    """The text of each page, by its path."""
    return {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}


@pytest.fixture(scope="session")
def readme(pages: dict[str, str]) -> str:
    """The README."""
    return pages["README.md"]


@pytest.fixture(scope="session")
def operating(pages: dict[str, str]) -> str:
    """The page for operators."""
    return pages["docs/operating.md"]
