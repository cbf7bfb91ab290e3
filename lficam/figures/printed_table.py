"""A table drawn as a table, for a figure whose content is one."""

from dataclasses import dataclass

from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from lficam.figures.page import MARGIN, PAGE_WIDTH, SMALL, SMALL_LINE, Page, wrapped

_GAP, _PAD = 0.12, 0.05  # inches between columns, and above and below the lines of a row


@dataclass(frozen=True)
class PrintedTable:
    """rows: of texts, in the order of `columns`. widths: of the columns, up to a factor. footnote: below."""

    title: str
    source: str
    columns: list[str]
    rows: list[list[str]]
    widths: list[float]
    footnote: str = ""


def draw_printed_table(table: PrintedTable) -> Figure:
    """Draw it on a page's width, each text in as many lines as its column needs."""
    room = PAGE_WIDTH - 2 * MARGIN - _GAP * (len(table.columns) - 1)
    widths = [room * width / sum(table.widths) for width in table.widths]
    rows = [[wrapped(text, width, SMALL) for text, width in zip(row, widths, strict=True)] for row in [table.columns, *table.rows]]
    heights = [SMALL_LINE * max(text.count("\n") + 1 for text in row) + 2 * _PAD for row in rows]
    footnote = wrapped(table.footnote, PAGE_WIDTH - 2 * MARGIN, SMALL)
    top, foot = 0.56, SMALL_LINE * (footnote.count("\n") + 1) + 0.2
    page = Page(PAGE_WIDTH, top + sum(heights) + foot)
    page.headline(table.title, table.source)
    y = top
    for number, (row, height) in enumerate(zip(rows, heights, strict=True)):
        x = MARGIN
        for text, width in zip(row, widths, strict=True):
            page.text(x, y + _PAD, text, SMALL, va="top", weight="normal" if number else "bold")
            x += width + _GAP
        rules = {0: 1.0, 1: 0.6}.get(number, 0.0)
        if rules:
            _rule(page, y, rules)
        y += height
    _rule(page, y, 1.0)
    page.text(MARGIN, page.height - 0.08, footnote, SMALL, va="bottom", color="0.25")
    return page.figure


def _rule(page: Page, y: float, width: float) -> None:
    line = [[(MARGIN, y), (PAGE_WIDTH - MARGIN, y)]]
    page.axes.add_collection(LineCollection(line, linewidths=width, colors="0"), autolim=False)
