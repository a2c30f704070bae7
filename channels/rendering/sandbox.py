"""What a template may do, and which templates are provably cheap.

Jinja's sandbox protects our objects, not our time and memory: constant folding alone can take
seconds and hundreds of megabytes. So only a small part of the language may run in this process; the
rest runs in a child (`child.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import StrictUndefined, Undefined, meta, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

OUTPUT_CHARACTERS = 2**20
SIMPLE_SOURCE_CHARACTERS = 16 * 2**10
SIMPLE_NODES = 300

FAILURES = (
    TemplateError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""The exceptions that a template can cause; any other ends the child."""

GLOBALS = ("range", "dict", "namespace")
UNSAFE_FILTERS = ("attr", "pprint")
IMPORTS = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)

SIMPLE_NODE_TYPES = frozenset(
    {
        nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr,
        nodes.Getitem, nodes.If, nodes.CondExpr, nodes.And, nodes.Or, nodes.Not, nodes.Compare,
        nodes.Operand, nodes.Filter, nodes.Test, nodes.Keyword,
    }
)  # fmt: skip
SIMPLE_FILTERS = frozenset(
    {
        "abs", "capitalize", "count", "d", "default", "e", "escape", "first", "float", "int",
        "last", "length", "lower", "round", "string", "title", "trim", "truncate", "upper",
    }
)  # fmt: skip
# Without even, odd, divisibleby: they compute `value % number`, which formats "%999999999d".
SIMPLE_TESTS = frozenset(
    {
        "boolean", "defined", "eq", "equalto", "false", "float", "ge", "gt", "in", "integer", "le",
        "lower", "lt", "mapping", "ne", "none", "number", "sequence", "string", "true", "undefined",
        "upper",
    }
)  # fmt: skip


class TooMuchText(Exception):
    """The output is longer than the limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A source that may run: its tree, the variables it uses, and how cheap it is.

    `nodes` is the size of a simple tree (see `simple_nodes`), 0 if the tree is not simple.
    """

    tree: nodes.Template
    variables: tuple[str, ...]
    nodes: int


@pass_context
def printable(_context: Context, value: object) -> object:
    """Let only data be printed: never a function, a generator, or null as the word None.

    It takes the context because the compiler then folds no constants into the output
    (https://github.com/pallets/jinja/blob/3.1.6/src/jinja2/compiler.py#L1420).
    """
    if isinstance(value, (str, int, float, Undefined)):
        return value
    if value is None:
        raise SecurityError("the value to print is null")
    _check_data(value)
    return value


def _check_data(value: object) -> None:
    match value:
        case list() | tuple():
            for item in value:
                _check_data(item)
        case dict():
            _check_data(list(value.values()))
        case str() | int() | float() | None:
            return
        case Undefined():
            str(value)
        case _:
            raise SecurityError(f"a {type(value).__name__} cannot be printed")


def environment(*, html: bool, undefined: type[Undefined] = StrictUndefined) -> Environment:
    """The Jinja environment of this project; with `html` the values of variables are escaped."""
    return Environment(html=html, undefined=undefined)


class Environment(ImmutableSandboxedEnvironment):
    """Jinja with fewer features: no imports, no constant folding, few globals."""

    def __init__(self, *, html: bool, undefined: type[Undefined]) -> None:
        super().__init__(
            autoescape=html,
            undefined=undefined,
            finalize=printable,
            keep_trailing_newline=True,
            optimized=False,
            cache_size=0,
        )
        self.globals = {name: self.globals[name] for name in GLOBALS}
        for name in UNSAFE_FILTERS:
            del self.filters[name]


def prepare(source: str, env: Environment) -> Prepared:
    """Parse and check a source; raises jinja2's `TemplateSyntaxError` with line and reason."""
    tree = env.parse(source)
    check(tree, env)
    variables = tuple(sorted(meta.find_undeclared_variables(tree)))
    return Prepared(tree=tree, variables=variables, nodes=simple_nodes(source, tree))


def certain_text(source: str) -> str:
    """The text of a short source that does not depend on variables; "" if it cannot be parsed."""
    try:
        tree = environment(html=False).parse(source)
    except FAILURES:
        return ""
    said = [
        each for output in tree.body if isinstance(output, nodes.Output) for each in output.nodes
    ]
    return "".join(each.data for each in said if isinstance(each, nodes.TemplateData))


def walk(tree: nodes.Node) -> Iterator[nodes.Node]:
    """Every node of a tree, without recursion: a hostile tree may be deep."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.iter_child_nodes())


def check(tree: nodes.Template, env: Environment) -> None:
    """Refuse, before any rendering and by name, what the sandbox would refuse or not know."""
    for node in sorted(walk(tree), key=lambda node: node.lineno or 0):
        reason = None
        if isinstance(node, IMPORTS):
            reason = "a template cannot include, import or extend another one"
        elif isinstance(node, nodes.Filter) and node.name not in env.filters:
            reason = f"there is no filter named {node.name!r}"
        elif isinstance(node, nodes.Test) and node.name not in env.tests:
            reason = f"there is no test named {node.name!r}"
        elif isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
            reason = f"the attribute {node.attr!r} is not accessible"
        elif isinstance(node, nodes.Getitem) and _constant(node.arg).startswith("__"):
            reason = f"the attribute {_constant(node.arg)!r} is not accessible"
        if reason:
            raise TemplateSyntaxError(reason, node.lineno)


def _constant(node: nodes.Node) -> str:
    return node.value if isinstance(node, nodes.Const) and isinstance(node.value, str) else ""


def simple_nodes(source: str, tree: nodes.Template) -> int:
    """The number of nodes of a tree that provably renders cheaply, or 0.

    Without loops, calls, arithmetic and filters that multiply, rendering costs at most the number
    of nodes times the size of the variables, and may run in the event loop.
    """
    if len(source) > SIMPLE_SOURCE_CHARACTERS:
        return 0
    count = 0
    for node in walk(tree):
        count += 1
        if count > SIMPLE_NODES or type(node) not in SIMPLE_NODE_TYPES or not _modest(node):
            return 0
    return count


def _modest(node: nodes.Node) -> bool:
    match node:
        case nodes.Filter(name="e" | "escape", node=nodes.Node() as inner):
            # A text that is escaped again grows each time.
            return not any(isinstance(each, nodes.Filter) for each in walk(inner))
        case nodes.Filter():
            return node.name in SIMPLE_FILTERS and _modest_arguments(node)
        case nodes.Test():
            return node.name in SIMPLE_TESTS and _modest_arguments(node)
        case nodes.Getitem():
            return isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, (str, int))
        case _:
            return True


def _modest_arguments(node: nodes.Filter | nodes.Test) -> bool:
    """Whether arguments are harmless: `round(9, "ceil")` would repeat a text 10⁹ times."""
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        return False
    if isinstance(node, nodes.Filter) and node.name in {"default", "d"}:
        return True
    arguments = [*node.args, *(pair.value for pair in node.kwargs)]
    if isinstance(node, nodes.Test):
        return all(isinstance(argument, (nodes.Const, nodes.Name)) for argument in arguments)
    return all(
        isinstance(argument, nodes.Const)
        and (not isinstance(argument.value, (int, float)) or abs(argument.value) <= 1000)
        and (node.name != "round" or argument.value not in ("ceil", "floor"))
        for argument in arguments
    )


def bounded(chunks: Iterator[str]) -> Iterator[str]:
    """The chunks of a rendering up to the limit; raises `TooMuchText` if there is more."""
    left = OUTPUT_CHARACTERS
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise TooMuchText
        yield chunk
