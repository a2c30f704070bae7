"""What a template uses and does not get: all of it at once, by name and path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from jinja2 import Undefined, nodes

from channels.sandbox import FAILURES, Prepared, environment, walk


class Collecting(Undefined):
    """A kind of Undefined that notes its name where it is used, and goes on with nothing."""

    __slots__ = ()
    noted: ClassVar[dict[str, None]]

    def _note(self, *_arguments: object, **_named: object) -> Self:
        if self._undefined_name is not None and self._undefined_hint is None:
            self.noted[str(self._undefined_name)] = None
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
    """Every variable that a rendering uses and does not get, attributes with their path."""
    names: dict[str, None] = {}
    collector = type("Collector", (Collecting,), {"noted": names, "__slots__": ()})
    env = environment(html=html, undefined=collector)
    try:
        for _ in env.from_string(prepared.tree).generate(variables):
            pass
    except FAILURES:
        pass  # the rest of the template stumbles over the gaps: what was noted is the answer
    paths = dict(_paths(prepared.tree))
    return sorted({name if name in prepared.variables else paths.get(name, name) for name in names})


def _paths(tree: nodes.Template) -> Iterator[tuple[str, str]]:
    for end in walk(tree):
        path: list[str] = []
        node = end
        while isinstance(node, nodes.Getattr):
            path.insert(0, node.attr)
            node = node.node
        if path and isinstance(node, nodes.Name):
            yield path[-1], ".".join([node.name, *path])
