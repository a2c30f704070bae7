"""Rendering of templates: sandboxed, strict, and bounded in time and memory.

RenderError
├── TemplateError      the template itself is wrong: syntax, or something that it may not do
├── MissingVariables   the template uses variables that it was not given
├── TooExpensive       compiling or rendering exceeded a limit of time, memory or length
└── RendererBusy       too many renderings wait: not the template's fault, try again

A source first goes to a child process (`child.py`), which compiles it, renders it, and tells
whether it is provably cheap. From then on a cheap one is rendered in this process; no other
template code runs in the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Self

import orjson
from jinja2 import Template

from channels.rendering import sandbox
from channels.rendering.pool import ChildFailed, ChildPool, PoolBusy

SOURCE_CHARACTERS = 512 * 2**10
VARIABLES_BYTES = 2**20
IN_PROCESS_COST = 16 * 2**10
"""Bytes of variables times nodes of the template up to which it is rendered in this process: some
50 ms at worst."""
KNOWN_SOURCES = 2048
KNOWN_TEMPLATES = 512


class RenderError(Exception):
    """A template was not rendered; `message` is a sentence for the caller, `line` from 1."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class TemplateError(RenderError):
    """The template does not compile, or uses what a template may not use."""


class MissingVariables(RenderError):
    """The template uses variables that it was not given: all of them, by name."""

    def __init__(self, names: Sequence[str], line: int | None = None) -> None:
        self.names = tuple(names)
        verb = "is" if len(self.names) == 1 else "are"
        listed = ", ".join(self.names)
        super().__init__(f"The template uses {listed}, which {verb} not among the variables.", line)


class TooExpensive(RenderError):
    """The template takes more time or memory, or gives a longer text, than allowed."""


class RendererBusy(RenderError):
    """Too much is being rendered at the moment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """A valid source: the variables that it uses, sorted, and its size if it is provably cheap."""

    variables: tuple[str, ...]
    nodes: int = 0


class Renderer:
    """Renders and analyses templates; belongs to one event loop."""

    def __init__(self, pool: ChildPool | None = None) -> None:
        self._pool = pool or ChildPool()
        self._known: OrderedDict[bytes, Analysis | TemplateError] = OrderedDict()
        self._templates: OrderedDict[bytes, Template] = OrderedDict()
        self._environments = {html: sandbox.environment(html=html) for html in (False, True)}
        self._seconds = self._waited = 0.0
        self._until: float | None = None
        self._owner: Hashable = None

    def within(self, seconds: float, owner: Hashable = None, *, used: float = 0) -> Renderer:
        """This renderer for one request: child processes may take `seconds` in all, from now, less
        those that the request has already `used`.

        After that it raises `TooExpensive`, or `RendererBusy` if most of that time was spent
        waiting for a turn; simple templates are still rendered. While the children are busy,
        owners take turns.
        """
        until = asyncio.get_running_loop().time() + seconds - used
        # The same as `copy`, in a quarter of the time: this runs for each request.
        limited = object.__new__(type(self))
        vars(limited).update(vars(self), _seconds=seconds, _until=until, _owner=owner, _waited=0.0)
        return limited

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the child processes."""
        await self._pool.close()

    async def analyse(self, source: str, *, html: bool = False) -> Analysis:
        """The variables of a source; raises `TemplateError`, `TooExpensive`, `RendererBusy`."""
        if _is_plain(source):
            return Analysis(variables=())
        key = _key(source, html=html)
        known = self._recall(key)
        if known is None:
            reply = await self._ask(source, None, html=html)
            known = self._learn(key, reply)
        return known

    async def render(self, source: str, variables: Mapping[str, Any], *, html: bool = False) -> str:
        """The text of a source with these variables (JSON types); raises `RenderError`."""
        data = _json(variables)
        if _is_plain(source):
            return source
        key = _key(source, html=html)
        known = self._recall(key)
        if known is not None and 0 < known.nodes * len(data) <= IN_PROCESS_COST:
            text = self._render_here(key, source, data, html=html)
            if text is not None:
                return text
        reply = await self._ask(source, orjson.Fragment(data), html=html)
        self._learn(key, reply)
        return _checked(reply["text"])

    def _render_here(self, key: bytes, source: str, data: bytes, *, html: bool) -> str | None:
        """The text of a simple template; None if it fails: the child then says why."""
        template = self._templates.get(key)
        if template is None:
            template = self._environments[html].from_string(source)
            # A plain dict: with Jinja's own ChainMap each rendering takes three times as long.
            template.globals = dict(template.globals)
            _remember(self._templates, key, template, KNOWN_TEMPLATES)
        self._templates.move_to_end(key)
        try:
            context = template.new_context(orjson.loads(data))
            text = "".join(sandbox.bounded(template.root_render_func(context)))
        except (*sandbox.FAILURES, sandbox.TooMuchText):
            return None
        return _checked(text)

    async def inline(self, source: str) -> str:
        """HTML with its styles inlined (`channels.styles`), in a child; raises `RenderError`.

        `TooExpensive` if it takes the child too long, `RendererBusy` if no child is free.
        """
        try:
            reply = await self._child({"source": source, "inline": True})
        except PoolBusy as error:
            raise RendererBusy(f"Nothing can be rendered right now: {error}.") from error
        except ChildFailed as error:
            raise TooExpensive(f"its style sheet {error}") from error
        if "error" in reply:
            raise TooExpensive(str(reply["message"]))
        text: str = reply["text"]
        return text

    async def _ask(self, source: str, variables: object, *, html: bool) -> dict[str, Any]:
        try:
            reply = await self._child({"source": source, "html": html, "variables": variables})
        except PoolBusy as error:
            raise RendererBusy(f"Nothing can be rendered right now: {error}.") from error
        except ChildFailed as error:
            raise TooExpensive(f"The template {error}; {ADVICE}.") from error
        return reply

    async def _child(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout_at(self._until), self._turn():
                return await self._pool.ask(orjson.dumps(request))
        except TimeoutError:
            if self._waited > self._seconds / 2:
                raise RendererBusy(
                    "Nothing can be rendered right now: other requests' templates take their "
                    "turns; send fewer messages at once, or try again."
                ) from None
            raise TooExpensive(
                "was not rendered: the templates and styles of this request take more than "
                f"{self._seconds:g} s; send fewer messages at once"
            ) from None

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A place in the pool; counts only the time that the request waits for it."""
        since = time.monotonic()
        if self._until is not None and self._until <= asyncio.get_running_loop().time():
            raise TimeoutError  # before a child starts working and would have to be replaced
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._pool.place(self._owner))
            finally:
                self._waited += time.monotonic() - since
            yield

    def _recall(self, key: bytes) -> Analysis | None:
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
        if isinstance(known, TemplateError):
            raise TemplateError(known.message, known.line)
        return known

    def _learn(self, key: bytes, reply: Mapping[str, Any]) -> Analysis:
        """Remember the child's analysis of a source; raises the error that the child reports."""
        if "error" in reply:
            error = _error(reply)
            if isinstance(error, TemplateError):
                _remember(self._known, key, error, KNOWN_SOURCES)
            raise error
        analysis = Analysis(variables=tuple(reply["variables"]), nodes=reply["nodes"])
        _remember(self._known, key, analysis, KNOWN_SOURCES)
        return analysis


ADVICE = "make its loops and repetitions smaller"


def _is_plain(source: str) -> bool:
    """Whether there is nothing to render; raises `TemplateError` for text that cannot be sent."""
    if len(source) > SOURCE_CHARACTERS:
        raise TemplateError(f"The template has more than {SOURCE_CHARACTERS} characters.")
    if "\0" in source:
        raise TemplateError("The template holds a NUL character, which cannot be sent.")
    if not source.isascii() and _lone_surrogate(source):
        raise TemplateError("The template holds half a surrogate pair, which is not a character.")
    return "{" not in source or not ("{{" in source or "{%" in source or "{#" in source)


def _json(variables: Mapping[str, Any]) -> bytes:
    """The variables as JSON, so that nothing but data reaches a template."""
    try:
        data = orjson.dumps(variables)
    except orjson.JSONEncodeError as error:
        raise RenderError(f"The variables cannot be written as JSON: {error}.") from error
    if len(data) > VARIABLES_BYTES:
        raise TooExpensive(f"The variables are larger than {VARIABLES_BYTES >> 10} KiB.")
    return data


def _checked(text: str) -> str:
    if "\0" in text:
        raise RenderError("The text holds a NUL character, which cannot be sent.")
    if not text.isascii() and _lone_surrogate(text):
        raise RenderError("The text holds half a surrogate pair, which is not a character.")
    return text


def _lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _key(source: str, *, html: bool) -> bytes:
    return blake2b(source.encode(), digest_size=20, salt=b"html" if html else b"text").digest()


def _remember(cache: OrderedDict[bytes, Any], key: bytes, value: object, most: int) -> None:
    cache[key] = value
    while len(cache) > most:
        cache.popitem(last=False)


def _error(reply: Mapping[str, Any]) -> RenderError:
    """The child's error as an exception."""
    line = reply.get("line")
    where = "" if line is None else f" on line {line}"
    reason = str(reply["message"]).strip().rstrip(".")
    match reply["error"]:
        case "template":
            return TemplateError(f"The template is not valid{where}: {reason}.", line)
        case "missing":
            return MissingVariables(reply["names"], line)
        case "expensive":
            return TooExpensive(f"The template {reason}; {ADVICE}.")
        case _:
            return RenderError(f"The template failed{where}: {reason}.", line)
