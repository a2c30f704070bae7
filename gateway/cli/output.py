"""How commands print: with `--json` nothing but JSON on stdout, else lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

from gateway.store.values import as_json as json_of

Json = Annotated[bool, typer.Option("--json", help="Print only JSON on stdout.")]

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def show(data: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result."""
    if as_json:
        typer.echo(json_of(data))
        return
    width = max(len(name) for name in data)
    for name, value in data.items():
        if isinstance(value, Mapping):
            out.print(name, markup=False)
            inner = max((len(key) for key in value), default=0)
            for key, item in value.items():
                out.print(f"  {key.ljust(inner)}  {item}", markup=False)
        else:
            text = (", ".join(value) or "none") if isinstance(value, list) else value
            out.print(f"{name.ljust(width)}  {text}", markup=False)
