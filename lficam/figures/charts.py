"""Charts of measured numbers, drawn from plain values as the grids in `grid` are; `draw` draws any of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lficam.figures.colors import style_of
from lficam.figures.grid import Grid, draw_grid
from lficam.figures.page import LETTER, MARGIN, PAGE_WIDTH, SMALL, SMALL_LINE, TEXT, Page, wrapped
from lficam.figures.printed_table import PrintedTable, draw_printed_table

MARKED = 0.26  # inches that the line and the marker before a name in a legend take


@dataclass(frozen=True)
class Bars:
    """A panel of horizontal bars a quantity. names: of the bars; quantities: axis label -> one value a bar."""

    title: str
    source: str
    names: list[str]
    quantities: dict[str, list[float]]


@dataclass(frozen=True)
class PairMatrices:
    """A square heat map a method.

    methods: name -> mean IoU, settings x settings. left_out: name -> the settings, counted from 1, that are not judged.
    """

    source: str
    methods: dict[str, list[list[float]]]
    left_out: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Dots:
    """A panel of means with their intervals, one below the other.

    label: of the axis. names: of the rows, from the top. values: mean, low, high of each; None where nothing was measured.
    mark: where a dashed line stands: what comes by chance. zero: whether a line stands at zero.
    """

    label: str
    names: list[str]
    values: list[list[float] | None]
    mark: float | None = None
    zero: bool = False


@dataclass(frozen=True)
class Lines:
    """A panel of lines over the same x values: numbers, or names at equal distances.

    lines: name -> one value for each x. dashed: names of those that come by chance, in the colour of their method; they are not in
        the legend, since a footnote says what they all are. bands: name -> low and high of its interval for each x.
    """

    x_label: str
    y_label: str
    x: list[float] | list[str]
    lines: dict[str, list[float]]
    dashed: list[str] = field(default_factory=list)
    bands: dict[str, list[list[float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """Panels in rows, from the top, with a footnote. Where a row has fewer of them, the last ones above it reach down."""

    title: str
    source: str
    rows: list[list[Dots | Lines]]
    footnote: str = ""

    @property
    def panels(self) -> list[Dots | Lines]:
        """All of them, as they are read."""
        return [panel for row in self.rows for panel in row]


def in_rows(panels: Sequence[Dots | Lines], columns: int) -> list[list[Dots | Lines]]:
    """So many panels a row."""
    return [list(panels[k : k + columns]) for k in range(0, len(panels), columns)]


Drawing = Grid | PrintedTable | Bars | PairMatrices | Chart


def draw(drawing: Drawing, images: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None) -> Figure:
    """Draw any of them; images, masks: as for `draw_grid`, which alone needs them."""
    with rc_context({"text.parse_math": False}):  # a $ in the name of a class is a $
        match drawing:
            case Grid():
                return draw_grid(drawing, images, masks)
            case PrintedTable():
                return draw_printed_table(drawing)
            case Bars():
                return draw_bars(drawing)
            case PairMatrices():
                return draw_pair_matrices(drawing)
            case Chart():
                return draw_chart(drawing)


def draw_bars(bars: Bars) -> Figure:
    """One panel a quantity, side by side, with the values at the ends of the bars."""
    height = 1.0 + 0.3 * len(bars.names)
    page = Page(PAGE_WIDTH, height)
    page.headline(bars.title, bars.source)
    axes = page.figure.subplots(1, len(bars.quantities), sharey=True, squeeze=False)[0]
    page.figure.subplots_adjust(left=0.31, right=0.97, top=1 - 0.6 / height, bottom=0.42 / height, wspace=0.12)
    for ax, (label, values) in zip(axes, bars.quantities.items(), strict=True):
        drawn = ax.barh(bars.names, values, height=0.7, color=[style_of(name).color for name in bars.names])
        ax.bar_label(drawn, fmt="%.1f", fontsize=SMALL, padding=2)
        ax.set_xlabel(label, fontsize=SMALL)
        ax.tick_params(labelsize=SMALL)
        ax.margins(x=0.16)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    return page.figure


def draw_pair_matrices(matrices: PairMatrices) -> Figure:
    """A heat map a method, side by side."""
    from seaborn import heatmap

    count = len(matrices.methods)
    side = min(2.4, (PAGE_WIDTH - 0.9) / count - 0.3)  # inches of a matrix
    height = side + 1.25
    page = Page(PAGE_WIDTH, height)
    note = "; settings in brackets are not judged" if any(matrices.left_out.values()) else ""
    page.headline("Mean IoU between the maps of every two settings", matrices.source + note)
    style = {"cmap": "cividis", "annot": True, "fmt": ".2f", "square": True, "annot_kws": {"size": SMALL}, "cbar": False}

    def axes(x: float, width: float) -> Axes:
        return page.figure.add_axes((x / PAGE_WIDTH, 0.4 / height, width / PAGE_WIDTH, side / height))

    for k, (method, values) in enumerate(matrices.methods.items()):
        ax, left_out = axes(0.3 + k * (side + 0.3), side), matrices.left_out.get(method, [])
        names = [f"({n})" if n in left_out else str(n) for n in range(1, len(values) + 1)]
        heatmap(values, ax=ax, vmin=0, vmax=1, xticklabels=names, yticklabels=names, **style)
        ax.set_title(method, fontsize=TEXT)
        ax.set_xlabel("setting", fontsize=SMALL)
        ax.tick_params(labelsize=SMALL, length=0, labelrotation=0)
    bar = page.figure.colorbar(ax.collections[0], cax=axes(0.3 + count * (side + 0.3), 0.12))
    bar.ax.tick_params(labelsize=SMALL)
    return page.figure


def draw_chart(chart: Chart) -> Figure:
    """Draw a chart on a page's width."""
    count = max(map(len, chart.rows))
    heights = [
        max(_height(panel) for k, panel in enumerate(row) if not _reach(chart, number, k)) for number, row in enumerate(chart.rows)
    ]
    named = list(dict.fromkeys(name for panel in chart.panels for name in _legend(panel)))
    lines = len(_legend_lines(named))
    footnote = wrapped(chart.footnote, PAGE_WIDTH - 2 * MARGIN, SMALL) if chart.footnote else ""
    top, foot = 0.54 + SMALL_LINE * 1.2 * lines, 0.15 + (SMALL_LINE * (footnote.count("\n") + 1) if footnote else 0)
    height = top + sum(heights) + foot
    page = Page(PAGE_WIDTH, height)
    page.headline(chart.title, chart.source)
    _draw_legend(page, named)
    figure = page.figure
    figure.set_layout_engine("constrained", rect=(0.01, foot / height, 0.98, 1 - (top + foot) / height), wspace=0.04, hspace=0.06)
    spec = figure.add_gridspec(len(chart.rows), count, height_ratios=heights)
    for number, row in enumerate(chart.rows):
        for k, panel in enumerate(row):
            reach = _reach(chart, number, k)
            ax = figure.add_subplot(spec[number : number + reach + 1, k])
            ax.tick_params(labelsize=SMALL)
            ax.spines[["top", "right"]].set_visible(False)
            if isinstance(panel, Lines):
                _draw_lines(ax, panel)
            else:
                beside = row[k - 1] if k and not reach else None
                named = not (isinstance(beside, Dots) and beside.names == panel.names)
                _draw_dots(ax, panel, named, (PAGE_WIDTH - 2 * MARGIN) / count - 0.2)
    page.text(MARGIN, height - 0.08, footnote, SMALL, va="bottom", color="0.25")
    return figure


def _reach(chart: Chart, number: int, k: int) -> int:
    """How many rows a panel reaches down below its own."""
    below = [len(row) > k for row in chart.rows[number + 1 :]]
    return below.index(True) if True in below else len(below)


def _legend(panel: Dots | Lines) -> list[str]:
    """What of a panel a legend names."""
    return [name for name in panel.lines if name not in panel.dashed] if isinstance(panel, Lines) else []


def _draw_legend(page: Page, names: Sequence[str]) -> None:
    """Between headline and panels, where no line can run through it."""
    for line, placed in enumerate(_legend_lines(names)):
        y = 0.56 + SMALL_LINE * 1.2 * line
        for x, name in placed:
            color, marker = style_of(name)
            page.axes.plot([x, x + 0.1, x + 0.2], [y] * 3, color=color, marker=marker, markevery=[1], linewidth=1.2, markersize=3.5)
            page.text(x + MARKED, y, name, SMALL, va="center")


def _legend_lines(names: Sequence[str]) -> list[list[tuple[float, str]]]:
    """Where each name begins, in as many lines as they need."""
    lines, x = [], PAGE_WIDTH
    for name in names:
        wide = MARKED + LETTER * SMALL * len(name) + 0.15
        if x + wide > PAGE_WIDTH - MARGIN:
            lines.append([])
            x = MARGIN
        lines[-1].append((x, name))
        x += wide
    return lines


def _height(panel: Dots | Lines) -> float:
    """Inches, with its axis label."""
    return 0.6 + 0.17 * len(panel.names) if isinstance(panel, Dots) else 2.0


def _draw_dots(ax: Axes, dots: Dots, named: bool, room: float) -> None:
    """named: whether the names of the rows are written; not if the panel to the left has the same. room: inches for its label."""
    for row, (name, value) in enumerate(zip(dots.names, dots.values, strict=True)):
        if value is not None:
            (color, marker), (mean, low, high) = style_of(name), value
            ax.plot([low, high], [row, row], color=color, linewidth=1.2)
            ax.plot([mean], [row], marker, color=color, markersize=3.5)
    if dots.mark is not None:
        ax.axvline(dots.mark, color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    if dots.zero:
        ax.axvline(0, color="0.5", linewidth=0.8, zorder=0)
    ax.set_ylim(len(dots.names) - 0.5, -0.5)
    ax.set_yticks(range(len(dots.names)), dots.names if named else [""] * len(dots.names))
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.locator_params(axis="x", nbins=4)
    ax.margins(x=0.08)
    ax.set_xlabel(wrapped(dots.label, room * (0.6 if named else 1), SMALL), fontsize=SMALL)


def _draw_lines(ax: Axes, lines: Lines) -> None:
    steps = isinstance(lines.x[0], str)
    x = range(len(lines.x)) if steps else lines.x
    for name, values in lines.lines.items():
        color, marker = style_of(name)
        style = {"linestyle": "--"} if name in lines.dashed else {"linestyle": "-", "marker": marker}
        ax.plot(x, values, linewidth=1.2, markersize=3, color=color, **style)
        if name in lines.bands:
            ax.fill_between(x, *zip(*lines.bands[name], strict=True), color=color, alpha=0.15, linewidth=0)
    if steps:
        turned = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if max(map(len, lines.x)) > 3 else {}
        ax.set_xticks(list(x), lines.x, **turned)
    ax.set_xlabel(lines.x_label, fontsize=SMALL)
    ax.set_ylabel(lines.y_label, fontsize=SMALL)
