"""HTML laid out as lines of text by inscriptis, within a budget.

The library pads table rows to the widest cell, indents each line of a list, copies a line whenever
text is added to it, and copies the text of nested tables once for each level: ten kilobytes may
need gigabytes. So every step is counted here before it is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

from inscriptis import get_text
from inscriptis.css_profiles import STRICT_CSS_PROFILE
from inscriptis.html_properties import WhiteSpace
from inscriptis.model.attribute import Attribute
from inscriptis.model.canvas import Prefix
from inscriptis.model.canvas.block import Block
from inscriptis.model.config import ParserConfig
from inscriptis.model.html_document_state import HtmlDocumentState
from inscriptis.model.html_element import HtmlElement
from inscriptis.model.table import Table
from inscriptis.model.tag import CustomHtmlTagHandlerMapping
from inscriptis.model.tag.list_tag import li_start_handler
from inscriptis.model.tag.table_tag import table_end_handler, table_start_handler, td_start_handler

Start = Callable[[HtmlDocumentState, Any], None]
End = Callable[[HtmlDocumentState], None]

# Steps, each of about 50 ns: for any page, and for each character of its HTML.
STEPS, STEPS_PER_CHARACTER = 2**17, 8
# Steps for a line, or a line of a cell; and for a character of text whose white space collapses.
STEPS_PER_LINE, STEPS_TO_READ = 8, 2
# Characters per step: written, if they are padding or were laid out before; and copied, which only
# moves memory, when text is added to a line.
WRITTEN_PER_STEP, COPIED_PER_STEP = 8, 256
# The most that a style may ask for: the indentation of a list, and one blank line.
PADDING_AT_MOST, MARGIN_AT_MOST = 4, 1
IMPORTANT = re.compile(r"!\s{0,9}important", re.IGNORECASE)
# The library reads what follows "style:" in a style as another style, and so on to its end.
COLONS = 9
# Digits of a list item's `value`; all items after it have numbers as long.
NUMBER_DIGITS = 9


class OverBudget(ValueError):
    """HTML whose text would take too many steps to lay out."""


def laid_out(source: str, starts: Mapping[str, Start], ends: Mapping[str, End]) -> str:
    """The text of HTML, its tables and lists in lines; raises `OverBudget`.

    `starts` and `ends` are called for the tags that they name. The library may raise nearly
    anything for pages that are not well formed.
    """
    budget = _Budget(STEPS + STEPS_PER_CHARACTER * len(source))
    own_starts: dict[str, Start] = {
        "html": budget.watching(),
        "table": budget.watching(table_start_handler),
        "td": budget.watching(td_start_handler),
        "th": budget.watching(td_start_handler),
        "li": _start_item,
    }
    mapping = CustomHtmlTagHandlerMapping(
        start_tag_mapping=own_starts | dict(starts),
        end_tag_mapping={"table": budget.end_table} | dict(ends),
    )
    # The library keeps the canvas that it writes to in the style of body: each page needs its own.
    css = STRICT_CSS_PROFILE | {"body": STRICT_CSS_PROFILE["body"].__copy__()}
    config = ParserConfig(css=css, custom_html_tag_handler_mapping=mapping)
    config.attribute_handler = _Modest()
    return str(get_text(source, config))


class _Budget:
    """The steps that are left for one page."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def take(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise OverBudget("its text takes too long to lay out")

    def watching(self, start: Start | None = None) -> Start:
        """A handler for the start of an element: its lines are counted from then on."""

        def handler(state: HtmlDocumentState, attributes: Any) -> None:  # noqa: ANN401 - lxml's
            if start:
                start(state, attributes)
            canvas = state.tags[-1].canvas
            if not isinstance(canvas.current_block, _Line):
                canvas.current_block = _Line(0, Prefix(), self)

        return handler

    def end_table(self, state: HtmlDocumentState) -> None:
        """The end of a table: only now it is laid out."""
        self.take(_steps_of(state.current_table[-1]))
        table_end_handler(state)


class _Line(Block):  # type: ignore[misc] # the library has no types
    """A line of text; what is written to it is taken from the budget."""

    __slots__ = ("budget",)

    def __init__(self, idx: int, prefix: Prefix, budget: _Budget) -> None:
        super().__init__(idx, prefix)
        self.budget = budget

    def merge(self, text: str, whitespace: WhiteSpace) -> None:
        """Write a text. Preformatted text is only copied, but each of its lines is indented."""
        is_laid_out = whitespace is WhiteSpace.pre
        lines = 1 + text.count("\n") * is_laid_out
        written = lines * self.prefix.current_padding + len(text) * is_laid_out
        named = text.count("&")  # the library looks for character references again and again
        self.budget.take((lines + named) * STEPS_PER_LINE + written // WRITTEN_PER_STEP)
        read = len(text) * (not is_laid_out)
        self.budget.take(read * STEPS_TO_READ + len(self._content) // COPIED_PER_STEP)
        super().merge(text, whitespace)

    def new_block(self) -> _Line:
        """The next line; the library looks for its bullet in all surrounding elements."""
        padding, around = self.prefix.current_padding, len(self.prefix.bullets)
        self.budget.take(STEPS_PER_LINE + padding // WRITTEN_PER_STEP + around)
        self.prefix.consumed = False
        return _Line(self.idx + 1, self.prefix, self.budget)


class _Modest(Attribute):  # type: ignore[misc] # the library has no types
    """Styles, without sizes that would make a text grow."""

    def apply_attributes(self, attributes: Any, html_element: HtmlElement) -> HtmlElement:  # noqa: ANN401 - lxml's
        """Apply the attributes of an element, as far as a text can show them."""
        given = dict(attributes)
        if "style" in given:  # the library takes !important for a part of the value
            declarations = IMPORTANT.sub("", given["style"]).split(";")
            given["style"] = ";".join(each for each in declarations if each.count(":") < COLONS)
        element = super().apply_attributes(given, html_element)
        element.padding_inline = min(max(element.padding_inline, 0), PADDING_AT_MOST)
        element.margin_before = min(element.margin_before, MARGIN_AT_MOST)
        element.margin_after = min(element.margin_after, MARGIN_AT_MOST)
        return element


def _start_item(state: HtmlDocumentState, attributes: Any) -> None:  # noqa: ANN401 - lxml's
    is_long = len(attributes.get("value") or "") > NUMBER_DIGITS
    li_start_handler(state, {} if is_long else attributes)


def _steps_of(table: Table) -> int:
    """The steps to lay out a table: each row is as high as its highest cell, and each of its lines
    is as wide as the widest cells of its columns."""
    rows = [row.columns for row in table.rows]
    widths = [0] * max(map(len, rows), default=0)
    for row in rows:
        for column, cell in enumerate(row):
            cell.normalize_blocks()
            widths[column] = max(widths[column], cell.width)
    steps = [STEPS_PER_LINE + width // WRITTEN_PER_STEP for width in widths]
    ends = list(accumulate(steps, initial=0))
    heights = [max((int(cell.height) for cell in row), default=0) for row in rows]
    lines = sum(height * ends[len(row)] for height, row in zip(heights, rows, strict=True))
    return lines + len(rows) * len(widths)
