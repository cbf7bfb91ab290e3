"""Grids of pictures with heat maps: drawn from plain values, so that a saved figure can be drawn again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lficam.data.photograph import Photograph
from lficam.figures.page import MARGIN, PAGE_WIDTH, SMALL, SMALL_LINE, Look, Page, height_of, wrapped
from lficam.model.cam import resize_map

# A caption's beginning, and what of it is not cut: the probability, whether it is wrong, and what stands below.
_PREDICTION = re.compile(r"(.*?)((?:: \d\.\d\d(?: ×)?(?:\n.*)?)?)", re.DOTALL)

PAGE_HEIGHT = 8.5  # inches, at most
GAP = 0.06  # inches between pictures
LOOK = Look()
_TOP, _SCALE = 0.54, 0.3  # inches that the headline takes, and the scale of the colours
_TITLES, _NOTES = 0.62, 0.78  # inches for the names of the rows, and for what stands to the right of them
_LARGEST, _WIDEST = 1.3, 1.1  # inches of a picture's side; of one that stands beside several rows


@dataclass(frozen=True)
class Panel:
    """One picture of a grid.

    id: the sample. row, column: its place. caption: under the picture. cam: the map as (u, v) nested lists in [0, 1], None for the
    picture alone. difference: of two maps instead, between -`Grid.limit` and `Grid.limit`. pale: a map that does not count.
    """

    id: str
    row: int
    column: int
    caption: str
    cam: list[list[float]] | None = None
    difference: list[list[float]] | None = None
    pale: bool = False


@dataclass(frozen=True)
class Grid:
    """A whole figure: what it says and its panels.

    column_titles: above the columns. row_titles, row_notes: left and right of the rows; empty for none.
    span: how many rows a picture of the first column stands beside; the names of the rows are to the right of it then.
    settings: a table over the columns but the first, name -> a cell for each; what is in brackets does not count.
    footnote: below. limit: of the differences, the largest that there is; difference: what they are.
    """

    title: str
    source: str
    column_titles: list[str]
    row_titles: list[str]
    panels: list[Panel]
    row_notes: list[str] = field(default_factory=list)
    span: int = 1
    settings: dict[str, list[str]] = field(default_factory=dict)
    footnote: str = ""
    limit: float = 0.0
    difference: str = ""


def rounded(cam: Tensor) -> list[list[float]]:
    """A map (1, u, v) as it is saved and drawn: nested lists, four decimals."""
    return [[round(value, 4) for value in row] for row in cam[0].tolist()]


def in_two_lines(name: str) -> str:
    """Broken at its first space, for a narrow column."""
    return name.replace(" ", "\n", 1)


def draw_grid(grid: Grid, images: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None) -> Figure:
    """Draw a grid on a page's width.

    images: sample id -> picture (3, h, w) in [0, 1]. masks: sample id -> where the object is in it, (1, h, w) bool, outlined;
    without those of which nobody knows.
    """
    masks = masks or {}
    shown = {panel.id: Photograph(images[panel.id], mask=masks.get(panel.id)) for panel in grid.panels}
    place = _Places(grid, max(one.aspect for one in shown.values()))
    page = Page(PAGE_WIDTH, place.height)
    page.headline(grid.title, grid.source)
    for column, title in enumerate(grid.column_titles):
        x, side = place.column(column)
        y = place.top - 0.05 - SMALL_LINE * len(grid.settings)
        page.text(x + side / 2, y, title, SMALL, ha="center", va="bottom")
    _draw_settings(page, grid, place)
    for row, title in enumerate(grid.row_titles):
        middle = place.row(row) + place.high / 2
        page.text(place.names, middle, title, SMALL, ha="right", va="center")
        if grid.row_notes:
            page.text(place.notes, middle, grid.row_notes[row], SMALL, va="center")
    for panel in grid.panels:
        (x, side), y = place.column(panel.column), place.row(panel.row)
        one = shown[panel.id]
        high = height_of(one, side)
        if grid.span > 1 and panel.column == 0:
            y += (grid.span * place.pitch - place.below - high) / 2
        if panel.cam is not None:
            cam = resize_map(torch.tensor([[panel.cam]]), one.pixels.shape[1:])[0]
            page.map(x, y, side, one, cam, LOOK, pale=panel.pale)
        elif panel.difference is not None:
            page.difference(x, y, side, one, torch.tensor([panel.difference]), grid.limit)
        else:
            page.picture(x, y, side, one)
        color = "0.5" if panel.pale else "0"
        name, tail = _PREDICTION.fullmatch(panel.caption).groups()
        page.text(x + side / 2, y + high + 0.03, name, SMALL, side + GAP, tail, ha="center", va="top", color=color)
    page.text(MARGIN, place.height - _SCALE - 0.05, place.footnote, SMALL, va="bottom", color="0.25")
    _draw_scales(page, grid, bool(masks))
    return page.figure


class _Places:
    """Where everything stands, in inches: pictures as large as the page lets them be.

    top: of the first row; pitch: from row to row; high: of a picture; below: what is left for its caption. names, notes: where the
    names of the rows end, and their notes begin. footnote: in lines.
    """

    def __init__(self, grid: Grid, aspect: float):
        columns, rows = len(grid.column_titles), len(grid.row_titles)
        names = _TITLES if any(grid.row_titles) else 0
        header = max([SMALL_LINE * (title.count("\n") + 1) + 0.08 for title in grid.column_titles if title], default=0)
        self.top = _TOP + header + SMALL_LINE * len(grid.settings)
        self.below = SMALL_LINE * max(panel.caption.count("\n") + 1 for panel in grid.panels) + 0.07
        self.footnote = wrapped(grid.footnote, PAGE_WIDTH - 2 * MARGIN, SMALL)
        foot = _SCALE + (SMALL_LINE * (self.footnote.count("\n") + 1) + 0.1 if grid.footnote else 0)
        tallest = (PAGE_HEIGHT - self.top - foot) / rows - self.below  # that a picture may be
        room = PAGE_WIDTH - 2 * MARGIN - names - (_NOTES if grid.row_notes else 0)
        if grid.span > 1:  # the first column is as wide as its pictures are high
            self._first = min(_WIDEST, room / columns * 1.5)
            self._side = min((room - self._first - GAP) / (columns - 1) - GAP, tallest / aspect)
        else:
            self._side = self._first = min(room / columns - GAP, tallest / aspect, _LARGEST if columns > 4 else 1.55)
        self.high = self._side * aspect
        self.pitch = self.high + self.below
        self.height = self.top + rows * self.pitch + foot
        before = MARGIN + (self._first + GAP if grid.span > 1 else 0)
        self.names = before + names - 0.06
        self._left = before + names
        self._grid = grid
        self.notes = self.column(columns)[0] + 0.02

    def column(self, column: int) -> tuple[float, float]:
        """Left and side of a picture's room."""
        if self._grid.span > 1:
            return (MARGIN, self._first) if column == 0 else (self._left + (column - 1) * (self._side + GAP), self._side)
        return self._left + column * (self._side + GAP), self._side

    def row(self, row: int) -> float:
        """Top of a row."""
        return self.top + row * self.pitch


def _draw_settings(page: Page, grid: Grid, place: _Places) -> None:
    """The table over the columns, below their titles."""
    for line, (name, cells) in enumerate(reversed(grid.settings.items())):
        y = place.top - 0.05 - SMALL_LINE * line
        page.text(place.column(1)[0] - 0.06, y, name, SMALL, ha="right", va="bottom", color="0.25")
        for column, cell in enumerate(cells, 1):
            x, side = place.column(column)
            page.text(x + side / 2, y, cell, SMALL, ha="center", va="bottom", color="0.5" if cell.startswith("(") else "0")


def _draw_scales(page: Page, grid: Grid, outlined: bool) -> None:
    """What colours and lines mean."""
    y = page.height - 0.2
    page.scale(MARGIN + 0.6, y, 1.2, LOOK)
    page.key(2.15, y + 0.05, "on: above 100/255")
    if outlined:
        page.key(3.4, y + 0.05, "true object", outline=True)
    if grid.limit:
        page.scale_of_differences(5.4, y, 1.0, grid.difference, grid.limit)
