"""The child process that renders templates which may be expensive, under limits of the kernel.

It is run by its path, with `python -I` and an empty environment. It reads length-prefixed JSON from
stdin, answers on stdout, one request at a time, and ends when stdin ends, as it does with its
parent.
"""

from __future__ import annotations

import json
import mmap
import re
import signal
import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from jinja2.exceptions import TemplateSyntaxError

if "channels" not in sys.modules:
    # Run by its path: import the package that contains this file, not another installed version.
    ours = ModuleType("channels")
    ours.__path__ = [str(Path(__file__).parent.parent)]
    sys.modules["channels"] = ours

from channels.rendering.gaps import missing_names
from channels.rendering.sandbox import (
    FAILURES,
    OUTPUT_CHARACTERS,
    Prepared,
    TooMuchText,
    bounded,
    environment,
    prepare,
)
from channels.styles import TooComplex, inline_styles

CPU_SECONDS = 0.3
MEMORY_BYTES = 64 * 2**20
INLINED_CHARACTERS = 4 * 2**20
INLINING_SECONDS, INLINING_BYTES = 0.7, 256 * 2**20
"""Inlining needs more, as HTML may have two megabytes; the result is not processed further here."""
RETIRE_BYTES = 16 * 2**20
"""A child that has grown by this much ends: its caches must not count for the next template."""
CACHED_TEMPLATES = 64


class TooMuchTime(BaseException):
    """The CPU time of one request is used up; a library's `except Exception` does not catch it."""


class Worker:
    """The child's side: one request at a time, each under its own limits."""

    def __init__(self) -> None:
        self._environments = {html: environment(html=html) for html in (False, True)}
        self._prepared: OrderedDict[tuple[str, bool], tuple[Prepared, Any]] = OrderedDict()
        self._counting = False
        self._memory = address_space()

    def alarm(self, *_: object) -> None:
        """Interrupt the request that is being worked on, if there is one."""
        if self._counting:
            raise TooMuchTime

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to one request; with `last` the child ends after it."""
        is_inlining = bool(request.get("inline"))
        seconds = INLINING_SECONDS if is_inlining else CPU_SECONDS
        room = INLINING_BYTES if is_inlining else MEMORY_BYTES
        try:
            limit(self._memory and self._memory + RETIRE_BYTES + room)
            self._counting = True
            signal.setitimer(signal.ITIMER_PROF, seconds)
            reply = self.work(request)
            self._counting = False
            grown = address_space() - self._memory
            return {**reply, "last": grown > RETIRE_BYTES}
        except TooMuchTime:
            return _error("expensive", f"takes more than {seconds} seconds to compute", last=True)
        except MemoryError:
            reason = f"takes more than {room >> 20} MB of memory"
            return _error("expensive", reason, last=True)
        finally:
            self._counting = False
            signal.setitimer(signal.ITIMER_PROF, 0)

    def work(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to one request, without limits of time and memory."""
        if request.get("inline"):
            return _inlined(request["source"])
        source, html = request["source"], request["html"]
        try:
            prepared, template = self._get(source, html=html)
        except TemplateSyntaxError as error:
            return _error("template", error.message or "cannot be read", line=error.lineno)
        except RecursionError:
            return _error("template", "it is nested too deeply")
        except FAILURES as error:
            return _error("template", f"it does not compile: {_reason(error)}")
        verdict = {"variables": prepared.variables, "nodes": prepared.nodes}
        if request.get("variables") is None:
            return verdict
        try:
            text = "".join(bounded(template.generate(request["variables"])))
        except TooMuchText:
            return _error("expensive", f"gives more than {OUTPUT_CHARACTERS >> 20} MiB of text")
        except RecursionError as error:
            return _error("failed", "it calls itself too deeply", line=_line(error))
        except FAILURES as error:  # not only UndefinedError: a missing variable can cause any
            names = missing_names(prepared, request["variables"], html=html)
            if not names and "Undefined" in str(error):  # an operator asked only for its type
                names = sorted(set(prepared.variables) - set(request["variables"]))
            kind = "missing" if names else "failed"
            return {**_error(kind, _reason(error), line=_line(error)), "names": names}
        return {**verdict, "text": text}

    def _get(self, source: str, *, html: bool) -> tuple[Prepared, Any]:
        key = (source, html)
        if key not in self._prepared:
            env = self._environments[html]
            prepared = prepare(source, env)
            while len(self._prepared) >= CACHED_TEMPLATES:
                self._prepared.popitem(last=False)
            self._prepared[key] = prepared, env.from_string(prepared.tree)
        self._prepared.move_to_end(key)
        return self._prepared[key]


def _inlined(source: str) -> dict[str, Any]:
    try:
        text = inline_styles(source)
    except TooComplex as error:
        return _error("expensive", str(error))
    if len(text) > INLINED_CHARACTERS:
        return _error("expensive", "its styles make too much of it")
    return {"text": text}


def _error(
    kind: str, message: str, *, line: int | None = None, last: bool = False
) -> dict[str, Any]:
    return {"error": kind, "message": message, "line": line, "last": last}


def _reason(error: BaseException) -> str:
    text = re.sub(r" at 0x[0-9a-f]+", "", str(error) or type(error).__name__)
    return text[:300].encode(errors="replace").decode()


def _line(error: BaseException) -> int | None:
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def address_space() -> int:
    """Bytes of address space that this process has now; 0 if there is no /proc."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    except OSError:
        return 0


def limit(memory: int) -> None:
    """Limit this process to so many bytes of address space (Linux) and 2 to 3 s of CPU from now.

    The limit of CPU ends a loop in C code if the parent, which would kill us, is gone.
    """
    try:
        import resource  # noqa: PLC0415  # not on Windows
    except ImportError:
        return  # the parent still kills us after a time
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, resource.RLIM_INFINITY))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(usage.ru_utime + usage.ru_stime) + 3
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def read_frame(stream: BinaryIO) -> bytes | None:
    """One message, or None at the end of the stream."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    return stream.read(int.from_bytes(head, "big"))


def write_frame(stream: BinaryIO, message: Mapping[str, Any]) -> None:
    """Write one message, also with lone surrogates: the reader checks for them."""
    data = json.dumps(message).encode()
    stream.write(len(data).to_bytes(4, "big") + data)
    stream.flush()


def main() -> None:
    """Answer requests until stdin ends."""
    worker = Worker()
    signal.signal(signal.SIGPROF, worker.alarm)
    write_frame(sys.stdout.buffer, {"ready": True})
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        reply = worker.answer(json.loads(frame))
        write_frame(sys.stdout.buffer, reply)
        if reply.get("last"):
            return


if __name__ == "__main__":
    main()
