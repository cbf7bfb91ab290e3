"""The four views of the explorer, each drawn on a page; on a narrow one maps stand in two columns, else in a row."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lficam.data.photograph import Photograph
from lficam.explorer.answers import Answer, Box, iou_matrix, ranked
from lficam.explorer.canvas import Canvas
from lficam.explorer.scene import Scene
from lficam.explorer.sentences import (
    Shown,
    effect,
    how_alike,
    inside,
    predictions,
    setting,
    shown_maps,
    similarity,
    subject,
    top_classes,
)
from lficam.explorer.state import TITLES, WIDTHS, State
from lficam.figures.page import HEADING, LINE, MARGIN, SMALL, TEXT, Look, Page, Square, height_of, wrapped

LEAST = 0.8  # inches from picture to picture


class Heading(NamedTuple):
    """What stands above a page: its title, what it is about, and the inches that it is wide, one of `WIDTHS`."""

    title: str
    subject: str
    width: float


class _Grid:
    """Pictures in rows over a page `width` inches wide, below the headline, with a title above each and room for words below.

    titles: of all pictures, or (each_row=False) of the first row, above which alone there is room then.
    most: inches, of the side of a picture's room. below: inches for the words.
    """

    def __init__(
        self,
        width: float,
        shown: Photograph,
        columns: int,
        titles: Sequence[str],
        most: float,
        below: float,
        each_row: bool = True,
    ):
        self.columns, self.pitch = columns, min((width - 2 * MARGIN) / columns, most + 0.1)
        self.side = self.pitch - 0.1
        self.high = height_of(shown, self.side)
        self.titles = [_wrapped(title.split("\n"), self.side) for title in titles]
        above = LINE * max(title.count("\n") + 1 for title in self.titles)
        self.top, self.below, self.outlined = _top(width) + above, below, shown.mask is not None
        self.row = self.high + below + (above if each_row else 0)

    def place(self, number: int) -> tuple[float, float]:
        """Left and top of a picture's room."""
        row, column = divmod(number, self.columns)
        return MARGIN + column * self.pitch, self.top + row * self.row

    def bottom(self, count: int) -> float:
        """Where so many pictures, with the words below them, end."""
        return self.place(count - 1)[1] + self.high + self.below

    def draw_titles(self, page: Page) -> None:
        for number, title in enumerate(self.titles):
            x, y = self.place(number)
            page.text(x + self.side / 2, y - 0.04, title, room=self.side + 0.06, ha="center", va="bottom")

    def words(self, page: Page, number: int, words: str, size: float = TEXT, line: float = 0, tail: str = "", **style: str) -> None:
        """Below a picture, so many lines down. tail: the end of the words, which is never cut."""
        x, y = self.place(number)
        x, y = x + self.side / 2, y + self.high + 0.05 + line * LINE
        page.text(x, y, words, size, self.side + 0.06, tail, ha="center", va="top", **style)


def _methods(scene: Scene) -> Page:
    """The picture and the map of each run, with the three most probable classes."""
    return maps_page(_heading(scene), scene.whole, shown_maps(scene, most=3), scene.look)


def maps_page(heading: Heading, shown: Photograph, maps: Sequence[Shown], look: Look) -> Page:
    """A picture and maps of it, each with the predictions of its network below."""
    count = len(maps) + 1
    grid = _Grid(heading.width, shown, _columns(heading.width, count), ["picture", *(one.title for one in maps)], 2.1, 0.6)
    page = _page(heading, grid, grid.bottom(count), look)
    page.picture(*grid.place(0), grid.side, shown)
    for number, (_, cam, (first, *rest)) in enumerate(maps, 1):
        page.map(*grid.place(number), grid.side, shown, cam, look)
        size = HEADING if grid.pitch > 0.8 else TEXT  # of seven in a row
        grid.words(page, number, first.name, size, tail=first.number, weight="bold")
        for line, prediction in enumerate(rest):
            grid.words(page, number, prediction.name, line=1.4 + line, tail=prediction.number, color="0.25")
    return page


def _settings(scene: Scene) -> Page:
    """The maps of a method's runs; below them the picture, and how alike the maps are, two by two."""
    state, shown = scene.state, shown_maps(scene)
    names = [f"model {number}\n{setting(network)}" for number, network in enumerate(scene.networks, 1)]
    matrix = iou_matrix([cam for _, cam, _ in shown], state.threshold)
    mean, *others = how_alike(matrix, state.threshold)
    width, wide = state.width, _wide(state.width)
    grid = _Grid(width, scene.whole, _columns(width, len(shown)), names, 1.6, 0.25)
    y, side = grid.bottom(len(shown)) + 0.35, min(1.62, 0.41 * width)
    x = MARGIN + side + 0.5  # of the matrix
    left, top = (x + side + 0.3, y) if wide else (MARGIN, y + side + 0.3)  # of the words
    words = _wrapped(others, width - left - MARGIN)
    height = y + side + 0.15 if wide else top + 0.4 + LINE * (words.count("\n") + 1)
    page = _page(_heading(scene), grid, height, scene.look)
    for number, (_, cam, (best,)) in enumerate(shown):
        page.map(*grid.place(number), grid.side, scene.whole, cam, scene.look)
        grid.words(page, number, best.name, tail=best.number, weight="bold")
    page.text(MARGIN + side / 2, y - 0.04, "picture", ha="center", va="bottom")
    page.picture(MARGIN, y, side, scene.whole)
    page.text(x - 0.15, y - 0.04, "IoU of every two maps", va="bottom")
    page.matrix(x, y, side, matrix)
    page.text(left, top, mean, HEADING, va="top", weight="bold")
    page.text(left, top + 0.28, words, va="top", color="0.25")
    return page


def _fin(scene: Scene) -> Page:
    """Map and prediction as learned and with channels kept or dropped; the most important channels and their feature maps."""
    state, network = scene.state, scene.first
    learned, changed = network.answer(state.image), network.with_channels(state.image, state.k, state.keep)
    titles = ["picture", "as learned", f"{'only' if state.keep else 'without'} the top {state.k}"]
    width, wide = state.width, _wide(state.width)
    grid = _Grid(width, scene.whole, 4 if wide else 3, titles, 1.6, 0.25)
    x, y = grid.place(3) if wide else (MARGIN, grid.bottom(3) + 0.1)
    words = _wrapped(inside(scene), width - x - MARGIN, "\n\n" if wide else "\n")
    end = y + LINE * (words.count("\n") + 1)  # of the words, which may reach below a flat picture
    bars = max(grid.bottom(3) + 0.2, end + 0.15)
    page = _page(_heading(scene), grid, bars + 1.8, scene.look)
    page.picture(*grid.place(0), grid.side, scene.whole)
    for number, said in enumerate((learned, changed), 1):
        page.map(*grid.place(number), grid.side, scene.whole, network.compared(said.cam), scene.look)
        (best,) = top_classes(scene, said.probabilities)
        grid.words(page, number, best.name, tail=best.number, weight="bold")
    page.text(x, y, words, va="top")
    _channels(page, bars, learned, state)
    return page


def _channels(page: Canvas, y: float, learned: Answer, state: State) -> None:
    """Bars of the most important channels' weights, below each its feature map."""
    left, count = MARGIN + 0.5, len(learned.importance)
    order = ranked(learned.importance)[: 12 if _beside(state.width) else 9]
    step = (state.width - left - MARGIN) / len(order)
    used = [rank < state.k if state.keep else rank >= state.k for rank in range(len(order))]
    page.text(MARGIN, y, f"Weights of the {len(order)} most important channels, in percent", va="top")
    page.text(MARGIN, y + LINE, "blue: used, grey: not; dashed: if all had the same", SMALL, va="top", color="0.25")
    weights, y = learned.importance[order].tolist(), y + 0.33
    page.bars(left, y, step, 0.75, weights, used, (1 / count, f"1/{count}"))
    tall = page.features(left, y + 0.8, step, learned.features[order], state.color_map)
    for rank, channel in enumerate(order.tolist()):
        page.text(left + (rank + 0.5) * step, y + 0.83 + tall, str(channel), SMALL, ha="center", va="top")
    page.text(left - 0.04, y + 0.83 + tall, "channel", SMALL, ha="right", va="top")


def _occlusion(scene: Scene) -> Page:
    """Picture and maps before and after a grey square hides a part of it: one below, or on a narrow page beside, the other."""
    state, rows = scene.state, [(hide, shown_maps(scene, hide)) for hide in (None, scene.box)]
    names = ["picture", *(column.title for column in rows[0][1])]
    count, columns = len(names), _columns(state.width, len(names))
    across = columns == count
    titles = names if across else [name for name in names for _ in rows]
    grid = _Grid(state.width, scene.whole, columns, titles, 1.6, 0.25, not across)
    words = _wrapped(effect(scene), state.width - 2 * MARGIN)
    page = _page(_heading(scene), grid, grid.bottom(2 * count) + LINE * (words.count("\n") + 1) + 0.15, scene.look)
    for row, (hide, maps) in enumerate(rows):
        shown, frame = scene.shown(hide), _shares(scene, hide)
        first, *others = [row * count + k if across else 2 * k + row for k in range(count)]
        page.picture(*grid.place(first), grid.side, shown, frame)
        grid.words(page, first, "with the square" if row else "whole")
        for number, (_, cam, (best,)) in zip(others, maps, strict=True):
            page.map(*grid.place(number), grid.side, shown, cam, scene.look, frame)
            grid.words(page, number, best.name, tail=best.number, weight="bold")
    page.text(MARGIN, grid.bottom(2 * count) + 0.05, words, va="top")
    return page


def _heading(scene: Scene) -> Heading:
    return Heading(TITLES[scene.state.view], subject(scene), scene.state.width)


def _page(heading: Heading, grid: _Grid, height: float, look: Look) -> Canvas:
    """A page with its headline, what colours and lines mean, and the titles of a grid."""
    width, room = heading.width, heading.width - 2 * MARGIN
    page = Canvas(width, height)
    beside = _beside(width)
    page.text(MARGIN, 0.08, heading.title, HEADING, room - 3.2 if beside else room, va="top", weight="bold")
    words = _wrapped([heading.subject], room, lines=1 if _wide(width) else 2)
    page.text(MARGIN, 0.3, words, room=room, va="top", color="0.25")
    page.scale(width - MARGIN - 1.25, 0.12 if beside else 0.67, 1.1, look)
    if grid.outlined:
        page.key(width - MARGIN - 3.1 if beside else MARGIN, 0.17 if beside else 0.72, "true object", outline=True)
    grid.draw_titles(page)
    return page


def _top(width: float) -> float:
    """Where a view begins below its headline."""
    if _wide(width):
        return 0.56
    return 0.7 if _beside(width) else 0.95


def _wide(width: float) -> bool:
    return width == WIDTHS[0]


def _beside(width: float) -> bool:
    """Whether there is room for maps in a row, and for the scale beside the headline."""
    return width > WIDTHS[-1]


def _columns(width: float, count: int) -> int:
    """How many pictures stand side by side: all, unless they would be too small, or the page is a phone's."""
    if not _beside(width):
        return min(count, 2)
    return count if (width - 2 * MARGIN) / count > LEAST else -(-count // 2)


def _wrapped(sentences: Sequence[str], room: float, between: str = "\n", lines: int | None = None) -> str:
    """Sentences in lines of `room` inches, at most so many each."""
    return between.join(wrapped(words, room, lines=lines) for words in sentences)


def _shares(scene: Scene, box: Box | None) -> Square | None:
    if box is None:
        return None
    top, left, bottom, right = (edge / scene.side for edge in box)
    return top, left, bottom, right


class View(NamedTuple):
    """draw: the page. words: the sentences of its caption, after which picture it is."""

    draw: Callable[[Scene], Page]
    words: Callable[[Scene], list[str]]


VIEWS = {
    "methods": View(_methods, predictions),
    "settings": View(_settings, lambda scene: predictions(scene) + how_alike(similarity(scene), scene.state.threshold)),
    "fin": View(_fin, lambda scene: predictions(scene)[:1] + inside(scene)),
    "occlusion": View(_occlusion, lambda scene: predictions(scene) + effect(scene)),
}
