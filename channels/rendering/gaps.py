"""The variables that a template uses and does not get: all at once, by name and path."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar, Self

from jinja2 import Undefined, nodes

from channels.rendering.sandbox import FAILURES, Prepared, environment, walk

LOOKED_AT = 20_000
"""How many values are searched to find the path of a missing one: some milliseconds."""
PLACES, PATH_CHARACTERS = 100, 500
"""Limits: each item of a loop may lack a value, and the caller chooses the keys in its path."""


class Collecting(Undefined):
    """An Undefined that records its name when it is used, and goes on as an empty value."""

    __slots__ = ()
    noted: ClassVar[dict[tuple[int, str], None]]
    places: ClassVar[dict[int, tuple[int, str]]]

    def _note(self, *_arguments: object, **_named: object) -> Self:
        if self._undefined_name is not None and self._undefined_hint is None:
            place = id(self._undefined_obj)
            if place not in self.places:
                self.noted[0, str(self._undefined_name)] = None
            elif len(self.noted) < PLACES:
                self.noted[place, str(self._undefined_name)] = None
        return self

    def __getattr__(self, name: str) -> Self:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._note()

    def __str__(self) -> str:
        self._note()
        return ""

    def __iter__(self) -> Iterator[Any]:
        self._note()
        return iter(())

    def __len__(self) -> int:
        self._note()
        return 0

    def __bool__(self) -> bool:
        self._note()
        return False

    def __eq__(self, other: object) -> bool:
        self._note()
        return False

    def __ne__(self, other: object) -> bool:
        self._note()
        return True

    def __hash__(self) -> int:
        self._note()
        return 0

    def __float__(self) -> float:  # type: ignore[override]
        self._note()
        return 0.0

    __int__ = __index__ = __hash__  # type: ignore[assignment]
    __abs__ = __round__ = _note
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _note  # type: ignore[assignment]
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _note  # type: ignore[assignment]
    __pos__ = __neg__ = __call__ = __getitem__ = __pow__ = __rpow__ = _note  # type: ignore[assignment]
    __lt__ = __le__ = __gt__ = __ge__ = _note  # type: ignore[assignment]


def missing_names(prepared: Prepared, variables: Mapping[str, Any], *, html: bool) -> list[str]:
    """Every variable that a rendering uses and does not get; those inside of others with their
    path."""
    noted: dict[tuple[int, str], None] = {}
    places = _places(variables)
    own = {"noted": noted, "places": places, "__slots__": ()}
    env = environment(html=html, undefined=type("Collector", (Collecting,), own))
    try:
        for _ in env.from_string(prepared.tree).generate(variables):
            pass
    except FAILURES:
        pass  # because of a missing value: those recorded until then are the answer
    written = dict(_written(prepared.tree))
    names = set()
    for place, name in noted:
        path = _path(places, place, name)
        if not place or len(path) > PATH_CHARACTERS:
            path = name if name in prepared.variables else written.get(name, name)
        names.add(path)
    return sorted(names)


def _places(variables: Mapping[str, Any]) -> dict[int, tuple[int, str]]:
    """For each object and list in the variables: its parent (0: none), and its key there."""
    places: dict[int, tuple[int, str]] = {}
    waiting: deque[tuple[int, Any]] = deque([(0, variables)])
    for place, key, value in islice(_inside(waiting), LOOKED_AT):
        if isinstance(value, (dict, list)) and id(value) not in places:
            places[id(value)] = place, key
            waiting.append((id(value), value))
    return places


def _inside(waiting: deque[tuple[int, Any]]) -> Iterator[tuple[int, str, Any]]:
    while waiting:
        place, each = waiting.popleft()
        for key, value in each.items() if isinstance(each, Mapping) else enumerate(each):
            yield place, str(key), value


def _path(places: Mapping[int, tuple[int, str]], place: int, name: str) -> str:
    path = [name]
    while place:
        place, key = places[place]
        path.append(key)
    return ".".join(reversed(path))


def _written(tree: nodes.Template) -> Iterator[tuple[str, str]]:
    """Names with their path in the template, for missing values inside of other things."""
    for end in walk(tree):
        path: list[str] = []
        node = end
        while isinstance(node, (nodes.Getattr, nodes.Getitem)):
            key = node.attr if isinstance(node, nodes.Getattr) else _key(node.arg)
            if not key:
                break
            path.insert(0, key)
            node = node.node
        if path and isinstance(node, nodes.Name):
            yield path[-1], ".".join([node.name, *path])


def _key(node: nodes.Node) -> str:
    return str(node.value) if isinstance(node, nodes.Const) else ""
