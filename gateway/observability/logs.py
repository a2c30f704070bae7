"""Structured log lines: ids of messages and organizations, never a body or an address."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, TextIO

import orjson
import structlog

# A write of this size to a pipe is atomic: processes that share it do not mix their lines.
_PIPE_BYTES = 4096


def configure(level: str, style: str) -> None:
    """Log to standard error, as JSON or for a console."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if style == "console"
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    lines = _Lines(sys.stderr)
    structlog.configure(
        # Written directly: through `logging` a line takes five times as long.
        processors=[*shared, _without_data, renderer],
        logger_factory=lambda *_: lines,
        # lines below the level cost nothing
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_data,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Below WARNING these libraries log requests with their bodies; our own lines are enough.
    for name in ("twilio", "aiohttp.access", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It logs requests that it could not parse, which may have addresses in the path.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)


def info_each(
    log: structlog.stdlib.BoundLogger, event: str, rows: Iterable[Mapping[str, object]]
) -> None:
    """Log one line for each row, like `log.info(event, **row)`, but written together."""
    if not log.is_enabled_for(logging.INFO):
        return
    *steps, render = structlog.get_config()["processors"]
    shared: Any = {"event": event}
    for step in steps:
        shared = step(log, "info", shared)
    write = structlog.get_config()["logger_factory"]().msg
    together: list[str] = []
    size = 0
    for row in rows:
        line = str(render(log, "info", {**row, **shared}))
        size += len(line.encode()) + 1
        if together and size > _PIPE_BYTES:
            write("\n".join(together))
            together, size = [], len(line.encode()) + 1
        together.append(line)
    if together:
        write("\n".join(together))


class _Lines:
    """Writes lines; logging never fails, even if standard error is closed."""

    def __init__(self, stream: TextIO) -> None:
        self._write = stream.write

    def msg(self, line: str) -> None:
        """Write one line."""
        with suppress(OSError, ValueError):
            self._write(line + "\n")

    debug = info = warning = error = critical = msg


def _json(line: object, **_: object) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:  # half a surrogate pair or a huge number, from outside
        return json.dumps(line, default=str)


def _without_data(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """The exception as places and types only: its text may contain bodies and addresses."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given
    if isinstance(error, tuple):
        error = error[1]
    lines: list[str] = []
    while isinstance(error, BaseException):
        lines[:0] = [*traceback.format_tb(error.__traceback__), f"{_kind(error)}\n"]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if lines:
        event["exception"] = "".join(lines)
    return event


def _kind(error: BaseException) -> str:
    named = [f"{type(error).__module__}.{type(error).__qualname__}"]
    for detail in ("sqlstate", "constraint_name", "table_name", "column_name"):
        value = getattr(error, detail, None)
        named += [f"{detail}={value}"] if value else []
    return " ".join(named)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module."""
    found: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return found
