"""How commands print: with `--json` only JSON on stdout, otherwise lines for people."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

from gateway.store.values import as_json as json_of

Json = Annotated[bool, typer.Option("--json", help="Print only JSON on stdout.")]

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

_NOT_SHOWN = "The command is done, but standard output takes no result: {}."


class NotShownError(Exception):
    """A command has done its work, but could not print the result."""


def _not_shown(error: OSError) -> NotShownError:
    # Otherwise Python writes again when it exits, and complains:
    # https://docs.python.org/3/library/signal.html#note-on-sigpipe
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return NotShownError(_NOT_SHOWN.format(error.strerror))


class _Output(io.FileIO):
    """Standard output whose errors are raised as `NotShownError`."""

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        try:
            return super().write(data)
        except BrokenPipeError:  # the reader has read enough, such as `head`: no error
            raise
        except OSError as error:
            raise _not_shown(error) from None


def guard(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """Standard output wrapped so that anything printed to it may raise `NotShownError`."""
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def show(data: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result; raises `NotShownError`."""
    text = json_of(data) if as_json else "\n".join(_lines(data))
    if sys.stdout is None:
        raise NotShownError(_NOT_SHOWN.format("it is closed"))
    try:
        typer.echo(text)
    except BrokenPipeError as error:
        raise _not_shown(error) from None


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    width = max(len(name) for name in data)
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield name
            inner = max((len(key) for key in value), default=0)
            for key, item in value.items():
                yield f"  {key.ljust(inner)}  {item}"
        else:
            text = (", ".join(value) or "none") if isinstance(value, list) else value
            yield f"{name.ljust(width)}  {text}"
