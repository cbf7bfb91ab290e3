"""Grids of pictures with heat maps: drawn from plain values, so that a saved figure can be drawn again.

Everything is placed in inches on a page's width, so that text is 7 pt or more where it is printed and nothing overlaps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from lficam.model.cam import resize_map

PAGE_WIDTH = 6.9  # inches, the text width of a two-column paper
DPI = 200
COLOR_MAP = "inferno"  # even steps of brightness: readable for colour-blind readers and in grey
OPACITY = 0.6  # of the heat map over the picture
TEXT, HEADING = 7, 9  # points
LINE = 0.125  # inches a line of TEXT takes


@dataclass(frozen=True)
class Panel:
    """One picture of a grid.

    id: the sample. row, column: its place; a row may be fractional, to stand between two rows.
    caption: under the picture. cam: the map as (u, v) nested lists in [0, 1], None for the picture alone.
    """

    id: str
    row: float
    column: int
    caption: str
    cam: list[list[float]] | None = None


@dataclass(frozen=True)
class Grid:
    """A whole figure: what it says and its panels.

    column_titles: above the columns. row_titles, row_notes: left and right of the rows; empty for none.
    footnote: below; the colour bar's label is `scale`. aspect: height of the pictures over their width.
    """

    title: str
    source: str
    column_titles: list[str]
    row_titles: list[str]
    panels: list[Panel]
    row_notes: list[str] = field(default_factory=list)
    footnote: str = ""
    scale: str = "attention, 0 to 1 in each map (bar: over mid-grey)"
    aspect: float = 1.0


def rounded(cam: Tensor) -> list[list[float]]:
    """A map (1, u, v) as it is saved and drawn: nested lists, four decimals."""
    return [[round(value, 4) for value in row] for row in cam[0].tolist()]


def overlay(image: Tensor, cam: Tensor, opacity: float = OPACITY, color_map: str = COLOR_MAP) -> Tensor:
    """Blend a map (1, u, v) over a picture (3, h, w), both in [0, 1]: (3, h, w), computed in float.

    The picture is shown in grey, so that every colour belongs to the map; the map is upsampled bilinearly.
    """
    heat = resize_map(cam.unsqueeze(0), image.shape[-2:])[0, 0]  # (h, w)
    color = torch.from_numpy(colormaps[color_map](heat.numpy())[..., :3]).permute(2, 0, 1).to(image.dtype)
    grey = (image * image.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0)  # ITU-R BT.601 luma
    return (1 - opacity) * grey + opacity * color


def draw_grid(grid: Grid, images: Mapping[str, Tensor]) -> Figure:
    """Draw a grid; images: sample id -> picture (3, h, w) in [0, 1]."""
    left = 0.9 if any(grid.row_titles) else 0.1
    right = 0.55 if grid.row_notes else 0.1
    columns, rows = len(grid.column_titles), len(grid.row_titles)
    pitch = (PAGE_WIDTH - left - right) / columns
    width = min(pitch - 0.06, 1.25 if rows <= 6 else 0.52)  # twelve rows fit a page
    cell = width * grid.aspect
    caption = LINE * max(panel.caption.count("\n") + 1 for panel in grid.panels) + 0.07
    header = LINE * max(title.count("\n") + 1 for title in grid.column_titles) + 0.08 if any(grid.column_titles) else 0
    top, foot = 0.52 + header, 0.5 + LINE * (grid.footnote.count("\n") + 1 if grid.footnote else 0)
    height = top + rows * (cell + caption) + foot
    figure = Figure(figsize=(PAGE_WIDTH, height), dpi=DPI)

    def text(x: float, y: float, words: str, **style: object) -> None:
        figure.text(x / PAGE_WIDTH, 1 - y / height, words, fontsize=TEXT, **style)

    headline(figure, grid.title, grid.source, height)
    for column, title in enumerate(grid.column_titles):
        text(left + (column + 0.5) * pitch, top - 0.05, title, ha="center", va="bottom", linespacing=1.15)
    for row in range(rows):
        middle = top + row * (cell + caption) + cell / 2
        text(left - 0.08, middle, grid.row_titles[row], ha="right", va="center")
        if grid.row_notes:
            text(PAGE_WIDTH - right + 0.02, middle, grid.row_notes[row], va="center")
    for panel in grid.panels:
        x, y = left + panel.column * pitch + (pitch - width) / 2, top + panel.row * (cell + caption)
        axes = figure.add_axes((x / PAGE_WIDTH, 1 - (y + cell) / height, width / PAGE_WIDTH, cell / height))
        picture = images[panel.id] if panel.cam is None else overlay(images[panel.id], torch.tensor([panel.cam]))
        axes.imshow(picture.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
        axes.set_axis_off()
        text(x + width / 2, y + cell + 0.02, panel.caption, ha="center", va="top", linespacing=1.1)
    if grid.footnote:
        text(0.1, height - 0.45, grid.footnote, va="bottom", color="0.25", linespacing=1.15)
    _color_bar(figure, grid.scale, height)
    return figure


def _color_bar(figure: Figure, label: str, height: float) -> None:
    axes = figure.add_axes((0.18 / PAGE_WIDTH, 0.28 / height, 2.2 / PAGE_WIDTH, 0.09 / height))
    grey = torch.full((3, 1, 256), 0.5)
    colors = overlay(grey, torch.linspace(0, 1, 256).view(1, 1, 256))[:, 0].T.numpy()  # as they are in the pictures
    bar = figure.colorbar(ScalarMappable(cmap=ListedColormap(colors)), cax=axes, orientation="horizontal", ticks=[0, 0.5, 1])
    bar.ax.tick_params(labelsize=TEXT, length=2, pad=1)
    bar.outline.set_linewidth(0.4)
    figure.text(2.53 / PAGE_WIDTH, 0.325 / height, label, fontsize=TEXT, va="center")


def in_two_lines(name: str) -> str:
    """Broken at its first space, for a narrow column."""
    return name.replace(" ", "\n", 1)


def headline(figure: Figure, title: str, source: str, height: float) -> None:
    """What a figure is and where it comes from, at its top left; height of the figure in inches."""
    figure.text(0.1 / PAGE_WIDTH, 1 - 0.1 / height, title, fontsize=HEADING, va="top", weight="bold")
    figure.text(0.1 / PAGE_WIDTH, 1 - 0.29 / height, source, fontsize=TEXT, va="top", color="0.25")
