"""Fetch the inbox's vendored files from their npm packages, each checked by its SHA-256.

    .venv/bin/python scripts/vendor_assets.py

For a new version, change the name below and run this: it prints the archive's SHA-256. Look at the
archive's files, put that sum in below, and run this again.
"""

# ruff: noqa: S603, S607, T201 - it starts npm and says what it does

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

VENDOR = Path(__file__).resolve().parent.parent / "gateway" / "inbox" / "static" / "vendor"


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """An npm package, the SHA-256 of its archive, and its files to take, with our names."""

    name: str
    sha256: str
    taken: dict[str, str]


PACKAGES = (
    Package(
        name="htmx.org@2.0.11",
        sha256="165a2655073e9e6e55e307a7c74e8ebcdb76afb7701f9c16cfd106a13add408e",
        taken={"dist/htmx.min.js": "htmx.min.js", "LICENSE": "htmx.LICENSE"},
    ),
    Package(
        name="@picocss/pico@2.1.1",
        sha256="4affbb56f49df6d5325610b06762156f1dcdbc6ef57cea5c136d7e8a00a8cd24",
        taken={"css/pico.min.css": "pico.min.css", "LICENSE.md": "pico.LICENSE.md"},
    ),
)


def main() -> int:
    """Fetch, check and write every file; returns 1 if an archive is not the one in `PACKAGES`."""
    sums: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for package in PACKAGES:
            archive = _packed(package.name, Path(folder))
            found = hashlib.sha256(archive.read_bytes()).hexdigest()
            if found != package.sha256:
                print(f"{package.name}: the archive's SHA-256 is {found}, not {package.sha256}")
                return 1
            for name, content in _files(archive, package.taken).items():
                (VENDOR / name).write_bytes(content)
                sums[name] = hashlib.sha256(content).hexdigest()
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    (VENDOR / "SHA256SUMS").write_text("".join(lines), encoding="ascii")
    print("".join(lines), end="")
    return 0


def _packed(name: str, folder: Path) -> Path:
    answer = subprocess.run(
        ["npm", "pack", "--silent", "--pack-destination", str(folder), name],
        check=True,
        capture_output=True,
        text=True,
    )
    return folder / answer.stdout.split()[-1]


def _files(archive: Path, taken: dict[str, str]) -> dict[str, bytes]:
    found = {}
    with tarfile.open(archive) as tar:
        for inside, name in taken.items():
            file = tar.extractfile(f"package/{inside}")
            if file is None:
                raise SystemExit(f"{archive.name} has no file {inside}")
            found[name] = file.read()
    return found


if __name__ == "__main__":
    sys.exit(main())
