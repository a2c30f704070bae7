"""gateway/observability/logs.py: lines for machines or people, that quote nobody's data."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from typing import Any

import pytest
import structlog

from gateway.observability.logs import configure, info_each, logger

Lines = Callable[[], list[str]]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """What was written on standard error; the logging of the other tests comes back after it."""
    root = logging.getLogger()
    before, set_up = (root.handlers[:], root.level), structlog.get_config()

    def written() -> list[str]:
        return capsys.readouterr().err.splitlines()

    yield written
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.configure(**set_up)


def fail_with(error: Exception, cause: Exception) -> Exception:
    """An error that was raised because of another one."""
    try:
        try:
            raise cause
        except type(cause) as caught:
            raise error from caught
    except Exception as caught:  # noqa: BLE001 - any
        return caught


def test_json_lines(lines: Lines) -> None:
    """Each line is JSON with event, level and time; ours and libraries' alike."""
    configure("info", "json")
    logger("ours").info("message failed", message_id="m", organization_id="o")
    logging.getLogger("library").warning("it %s", "happens")
    logger("ours").debug("too much")

    ours, theirs = (json.loads(line) for line in lines())
    assert {
        "event": "message failed",
        "level": "info",
        "message_id": "m",
        "organization_id": "o",
    } == {name: value for name, value in ours.items() if name != "timestamp"}
    assert ours["timestamp"].endswith("Z")
    assert ("it happens", "warning") == (theirs["event"], theirs["level"])


class Gone(io.StringIO):
    """Standard error whose reader has gone away."""

    def write(self, _: str) -> int:
        """Fail as a pipe does."""
        raise BrokenPipeError


def test_nobody_reads(lines: Lines) -> None:
    """A line that cannot be written fails nobody: what it tells of is done."""
    with redirect_stderr(Gone()):
        configure("info", "json")
    logger("ours").info("reported", message_id="m")
    assert lines() == []


def test_words_of_others(lines: Lines) -> None:
    """What orjson cannot write is written all the same, and raises nothing where it is told."""
    configure("info", "json")
    logger("ours").info("told", error="half \ud800", number=2**70)
    (line,) = lines()
    assert {"error": "half \ud800", "number": 2**70}.items() <= json.loads(line).items()


class Pipe(io.StringIO):
    """Standard error that remembers how large its writes were."""

    largest = 0

    def write(self, text: str) -> int:
        """Take it."""
        self.largest = max(self.largest, len(text.encode()))
        return super().write(text)


@pytest.mark.usefixtures("lines")
def test_lines_do_not_mix() -> None:
    """Many lines at once are written in pieces that a pipe takes whole, and none is cut."""
    pipe = Pipe()
    with redirect_stderr(pipe):
        configure("info", "json")
    info_each(logger("ours"), "reported", [{"message_id": "ö" * 100} for _ in range(300)])
    assert 300 == len([json.loads(line) for line in pipe.getvalue().splitlines()])
    assert 2000 < pipe.largest <= 4096


@pytest.mark.parametrize("style", ["json", "console"])
def test_lines_at_once(lines: Lines, style: str) -> None:
    """Many lines of one event are those that it would be one by one; none where it is too low."""
    rows = [{"message_id": "m1", "status": "sent"}, {"message_id": "m2", "status": "read"}]
    configure("info", style)
    info_each(logger("ours"), "reported", rows)
    for row in rows:
        logger("ours").info("reported", **row)
    info_each(logger("ours"), "reported", [])

    written = [re.sub(r"[0-9-]{10}T[0-9:.]{8,15}Z", "", line) for line in lines()]
    assert len(written) == 4
    assert written[2:] == written[:2]
    configure("warning", style)
    info_each(logger("ours"), "reported", rows)
    assert lines() == []


@pytest.mark.parametrize("style", ["json", "console"])
def test_errors_quote_nothing(lines: Lines, style: str) -> None:
    """A traceback says where and what kind, never the text, of an error or of its cause."""
    configure("info", style)
    error = fail_with(KeyError("+447700900123"), ValueError("Failing row contains (a body)"))
    logger("ours").error("unexpected", exc_info=error)
    logging.getLogger("library").error("unexpected", exc_info=error)

    text = "\n".join(lines())
    for words in ("unexpected", "in fail_with", "builtins.KeyError", "builtins.ValueError"):
        assert words in text
    for secret in ("+447700900123", "Failing row", "a body"):
        assert secret not in text


@pytest.mark.parametrize("name", ["twilio.http_client", "aiohttp.access", "asyncio"])
def test_libraries_that_log_requests_are_quiet(lines: Lines, name: str) -> None:
    """What libraries log of requests and their bodies is not written, whatever the level is."""
    configure("debug", "json")
    logging.getLogger(name).info("POST Request: body=secret")
    logging.getLogger(name).debug("more of it")

    assert [] == lines()


def test_levels(lines: Lines) -> None:
    """LOG_LEVEL is the least that is written."""
    configure("error", "json")
    logger("another").warning("unheard")
    logger("another").error("heard")

    found: list[Any] = [json.loads(line)["event"] for line in lines()]
    assert ["heard"] == found
