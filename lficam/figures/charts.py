"""Charts of measured numbers, drawn from plain values as the grids in `grid` are; `draw` draws any of them."""

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lficam.figures.grid import DPI, HEADING, LINE, PAGE_WIDTH, TEXT, Grid, draw_grid, headline

COLUMNS = 3  # panels side by side
LETTERS = 128  # of a footnote in a line, at most
MARKERS = "osD^vPX*"  # a line is told by its marker as well as by its colour


@dataclass(frozen=True)
class Bars:
    """A panel of horizontal bars a quantity. names: of the bars; quantities: axis label -> one value a bar."""

    title: str
    source: str
    names: list[str]
    quantities: dict[str, list[float]]


@dataclass(frozen=True)
class PairMatrices:
    """A square heat map a method. methods: name -> mean IoU, settings x settings."""

    source: str
    methods: dict[str, list[list[float]]]


@dataclass(frozen=True)
class Dots:
    """A panel of means with their intervals, one below the other.

    label: of the axis. names: of the rows, from the top. values: mean, low, high of each; None where nothing was measured.
    mark: where a dashed line stands, such as chance.
    """

    label: str
    names: list[str]
    values: list[list[float] | None]
    mark: float | None = None


@dataclass(frozen=True)
class Lines:
    """A panel of lines over the same x values: numbers, or names at equal distances.

    lines: name -> one value for each x. dashed: names of those to compare with, in the colour of the line before them; they are
        not in the legend, since a footnote says what they all are.
    """

    x_label: str
    y_label: str
    x: list[float] | list[str]
    lines: dict[str, list[float]]
    dashed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Chart:
    """Panels side by side, at most three in a row, with a footnote."""

    title: str
    source: str
    panels: list[Dots | Lines]
    footnote: str = ""


Drawing = Grid | Bars | PairMatrices | Chart


def draw(drawing: Drawing, images: Mapping[str, Tensor]) -> Figure:
    """Draw any of them; images: sample id -> picture (3, h, w) in [0, 1], which only a grid needs."""
    match drawing:
        case Grid():
            return draw_grid(drawing, images)
        case Bars():
            return draw_bars(drawing)
        case PairMatrices():
            return draw_pair_matrices(drawing)
        case Chart():
            return draw_chart(drawing)


def draw_bars(bars: Bars) -> Figure:
    """One panel a quantity, side by side, with the values at the ends of the bars."""
    from seaborn import barplot, color_palette

    height = 1.0 + 0.3 * len(bars.names)
    figure = Figure(figsize=(PAGE_WIDTH, height), dpi=DPI)
    axes = figure.subplots(1, len(bars.quantities), sharey=True)
    figure.subplots_adjust(left=0.31, right=0.97, top=1 - 0.55 / height, bottom=0.42 / height, wspace=0.12)
    for ax, (label, values) in zip(axes, bars.quantities.items(), strict=True):
        barplot(x=values, y=bars.names, ax=ax, color=color_palette("colorblind")[0])
        ax.bar_label(ax.containers[0], fmt="%.1f", fontsize=TEXT, padding=2)
        ax.set_xlabel(label, fontsize=TEXT)
        ax.tick_params(labelsize=TEXT)
        ax.margins(x=0.16)
        ax.spines[["top", "right"]].set_visible(False)
    headline(figure, bars.title, bars.source, height)
    return figure


def draw_pair_matrices(matrices: PairMatrices) -> Figure:
    """A heat map a method, side by side."""
    from seaborn import heatmap

    count = len(matrices.methods)
    side = min(1.9, (PAGE_WIDTH - 0.9) / count - 0.3)  # inches of a matrix
    height = side + 1.25
    figure = Figure(figsize=(PAGE_WIDTH, height), dpi=DPI)
    style = {"cmap": "cividis", "annot": True, "fmt": ".2f", "square": True, "annot_kws": {"size": TEXT}, "cbar": False}

    def axes(x: float, width: float) -> Axes:
        return figure.add_axes((x / PAGE_WIDTH, 0.4 / height, width / PAGE_WIDTH, side / height))

    for k, (method, values) in enumerate(matrices.methods.items()):
        ax, names = axes(0.3 + k * (side + 0.3), side), [str(n) for n in range(1, len(values) + 1)]
        heatmap(values, ax=ax, vmin=0, vmax=1, xticklabels=names, yticklabels=names, **style)
        ax.set_title(method, fontsize=HEADING - 1)
        ax.set_xlabel("setting", fontsize=TEXT)
        ax.tick_params(labelsize=TEXT, length=0)
    bar = figure.colorbar(ax.collections[0], cax=axes(0.3 + count * (side + 0.3), 0.12))
    bar.ax.tick_params(labelsize=TEXT)
    headline(figure, "Mean IoU between the maps of every two settings", matrices.source, height)
    return figure


def draw_chart(chart: Chart) -> Figure:
    """Draw a chart on a page's width."""
    rows = math.ceil(len(chart.panels) / COLUMNS)
    columns = math.ceil(len(chart.panels) / rows)  # as even as can be
    footnote = "\n".join(textwrap.fill(line, LETTERS) for line in chart.footnote.split("\n"))
    top, foot = 0.5, 0.15 + LINE * (footnote.count("\n") + 1 if footnote else 0)
    height = top + rows * max(map(_height, chart.panels)) + foot
    figure = Figure(figsize=(PAGE_WIDTH, height), dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(rect=(0.01, foot / height, 0.98, 1 - (top + foot) / height), wspace=0.04, hspace=0.06)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for k, (ax, panel) in enumerate(zip(axes, chart.panels, strict=False)):
        ax.tick_params(labelsize=TEXT)
        ax.spines[["top", "right"]].set_visible(False)
        neighbour = chart.panels[k - 1] if k % columns else None
        if isinstance(panel, Lines):
            _draw_lines(ax, panel, named=not (isinstance(neighbour, Lines) and list(neighbour.lines) == list(panel.lines)))
        else:
            _draw_dots(ax, panel, named=not (isinstance(neighbour, Dots) and neighbour.names == panel.names))
    for ax in axes[len(chart.panels) :]:
        ax.set_axis_off()
    headline(figure, chart.title, chart.source, height)
    if footnote:
        figure.text(0.1 / PAGE_WIDTH, 0.08 / height, footnote, fontsize=TEXT, va="bottom", color="0.25", linespacing=1.15)
    return figure


def _height(panel: Dots | Lines) -> float:
    """Inches, with its axis label."""
    return 0.55 + 0.17 * len(panel.names) if isinstance(panel, Dots) else 1.9 + 0.14 * (len(panel.lines) - len(panel.dashed))


def _draw_dots(ax: Axes, dots: Dots, named: bool) -> None:
    """named: whether the names of the rows are written; not if the panel to the left has the same."""
    from seaborn import color_palette

    for row, value in enumerate(dots.values):
        if value is not None:
            mean, low, high = value
            ax.plot([low, high], [row, row], color=color_palette("colorblind")[0], linewidth=1.2)
            ax.plot([mean], [row], "o", color=color_palette("colorblind")[0], markersize=3.5)
    if dots.mark is not None:
        ax.axvline(dots.mark, color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    ax.set_ylim(len(dots.names) - 0.5, -0.5)
    ax.set_yticks(range(len(dots.names)), dots.names if named else [""] * len(dots.names))
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.locator_params(axis="x", nbins=4)
    ax.margins(x=0.08)
    ax.set_xlabel(dots.label, fontsize=TEXT)


def _draw_lines(ax: Axes, lines: Lines, named: bool) -> None:
    """named: whether there is a legend; not if the panel to the left has the same."""
    from seaborn import color_palette

    steps = isinstance(lines.x[0], str)
    x = range(len(lines.x)) if steps else lines.x
    colors, solid = color_palette("colorblind"), -1
    for name, values in lines.lines.items():
        if name in lines.dashed:
            style = {"linestyle": "--", "label": None}
        else:
            solid += 1
            style = {"linestyle": "-", "marker": MARKERS[solid], "label": name}
        ax.plot(x, values, linewidth=1.2, markersize=3, color=colors[solid], **style)
    if steps:
        turned = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if max(map(len, lines.x)) > 3 else {}
        ax.set_xticks(list(x), lines.x, **turned)
    ax.set_xlabel(lines.x_label, fontsize=TEXT)
    ax.set_ylabel(lines.y_label, fontsize=TEXT)
    if named:  # above the panel, where no line can run through it
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderpad": 0}
        ax.legend(fontsize=TEXT, frameon=False, handlelength=1.6, labelspacing=0.3, **place)
