"""The four views of the explorer, each drawn on a page; on a narrow one maps stand in two columns, else in a row."""

import textwrap
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lficam.explorer.answers import Answer, Box, iou_matrix, ranked
from lficam.explorer.canvas import HEADING, LINE, MARGIN, SMALL, TEXT, Page, Square
from lficam.explorer.scene import Scene
from lficam.explorer.sentences import effect, how_alike, inside, predictions, setting, shown_maps, similarity, subject, top_classes
from lficam.explorer.state import TITLES, WIDTHS, State

LETTER = 0.058  # inches that a letter of TEXT takes, on average


class _Grid:
    """Squares in rows over a page, below the headline, with a title above each and room for words below.

    titles: of all squares, or (each_row=False) of the first row, above which alone there is room then.
    most: inches, of a square's side. below: inches for the words.
    """

    def __init__(self, state: State, columns: int, titles: Sequence[str], most: float, below: float, each_row: bool = True):
        self.columns, self.pitch = columns, min((state.width - 2 * MARGIN) / columns, most + 0.1)
        self.side = self.pitch - 0.1
        self.titles = [_wrapped(title.split("\n"), self.side) for title in titles]
        above = LINE * max(title.count("\n") + 1 for title in self.titles)
        self.top, self.below = _top(state) + above, below
        self.row = self.side + below + (above if each_row else 0)

    def place(self, number: int) -> tuple[float, float]:
        """Left and top of a square."""
        row, column = divmod(number, self.columns)
        return MARGIN + column * self.pitch, self.top + row * self.row

    def bottom(self, count: int) -> float:
        """Where so many squares, with the words below them, end."""
        return self.place(count - 1)[1] + self.side + self.below

    def draw_titles(self, page: Page) -> None:
        for number, title in enumerate(self.titles):
            x, y = self.place(number)
            page.text(x + self.side / 2, y - 0.04, title, room=self.side + 0.06, ha="center", va="bottom")

    def words(self, page: Page, number: int, words: str, size: float = TEXT, line: float = 0, tail: str = "", **style: str) -> None:
        """Below a square, so many lines down. tail: the end of the words, which is never cut."""
        x, y = self.place(number)
        x, y = x + self.side / 2, y + self.side + 0.05 + line * LINE
        page.text(x, y, words, size, self.side + 0.06, tail, ha="center", va="top", **style)


def _methods(scene: Scene) -> Page:
    """The picture and the map of each run, with the three most probable classes."""
    state, shown = scene.state, shown_maps(scene, most=3)
    count = len(shown) + 1
    grid = _Grid(state, _columns(state, count), ["picture", *(column.title for column in shown)], 2.1, 0.6)
    page = _page(scene, grid, grid.bottom(count))
    page.picture(*grid.place(0), grid.side, scene.pixels)
    for number, (_, cam, (first, *rest)) in enumerate(shown, 1):
        page.map(*grid.place(number), grid.side, scene.pixels, cam, scene.look)
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
    grid = _Grid(state, _columns(state, len(shown)), names, 1.6, 0.25)
    y, side = grid.bottom(len(shown)) + 0.35, min(1.62, 0.41 * state.width)
    x = MARGIN + side + 0.5  # of the matrix
    left, top = (x + side + 0.3, y) if _wide(state) else (MARGIN, y + side + 0.3)  # of the words
    words = _wrapped(others, state.width - left - MARGIN)
    page = _page(scene, grid, y + side + 0.15 if _wide(state) else top + 0.4 + LINE * (words.count("\n") + 1))
    for number, (_, cam, (best,)) in enumerate(shown):
        page.map(*grid.place(number), grid.side, scene.pixels, cam, scene.look)
        grid.words(page, number, best.name, tail=best.number, weight="bold")
    page.text(MARGIN + side / 2, y - 0.04, "picture", ha="center", va="bottom")
    page.picture(MARGIN, y, side, scene.pixels)
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
    grid = _Grid(state, 4 if _wide(state) else 3, titles, 1.6, 0.25)
    x, y = grid.place(3) if _wide(state) else (MARGIN, grid.bottom(3) + 0.1)
    words = _wrapped(inside(scene), state.width - x - MARGIN, "\n\n" if _wide(state) else "\n")
    bars = grid.bottom(3) + (0.2 if _wide(state) else 0.25 + LINE * (words.count("\n") + 1))
    page = _page(scene, grid, bars + 1.8)
    page.picture(*grid.place(0), grid.side, scene.pixels)
    for number, said in enumerate((learned, changed), 1):
        page.map(*grid.place(number), grid.side, scene.pixels, network.compared(said.cam), scene.look)
        (best,) = top_classes(scene, said.probabilities)
        grid.words(page, number, best.name, tail=best.number, weight="bold")
    page.text(x, y, words, va="top")
    _channels(page, bars, learned, state)
    return page


def _channels(page: Page, y: float, learned: Answer, state: State) -> None:
    """Bars of the most important channels' weights, below each its feature map."""
    left, count = MARGIN + 0.5, len(learned.importance)
    order = ranked(learned.importance)[: 12 if _beside(state) else 9]
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
    count, columns = len(names), _columns(state, len(names))
    across = columns == count
    grid = _Grid(state, columns, names if across else [name for name in names for _ in rows], 1.6, 0.25, not across)
    words = _wrapped(effect(scene), state.width - 2 * MARGIN)
    page = _page(scene, grid, grid.bottom(2 * count) + LINE * (words.count("\n") + 1) + 0.15)
    for row, (hide, maps) in enumerate(rows):
        pixels, frame = scene.first.hidden(state.image, hide), _shares(scene, hide)
        first, *others = [row * count + k if across else 2 * k + row for k in range(count)]
        page.picture(*grid.place(first), grid.side, pixels, frame)
        grid.words(page, first, "with the square" if row else "whole")
        for number, (_, cam, (best,)) in zip(others, maps, strict=True):
            page.map(*grid.place(number), grid.side, pixels, cam, scene.look, frame)
            grid.words(page, number, best.name, tail=best.number, weight="bold")
    page.text(MARGIN, grid.bottom(2 * count) + 0.05, words, va="top")
    return page


def _page(scene: Scene, grid: _Grid, height: float) -> Page:
    """A page with its headline, the scale of the maps, and the titles of a grid."""
    state, room = scene.state, scene.state.width - 2 * MARGIN
    page = Page(state.width, height)
    page.text(MARGIN, 0.08, TITLES[state.view], HEADING, va="top", weight="bold")
    words = _wrapped([subject(scene)], room, lines=1 if _wide(state) else 2)
    page.text(MARGIN, 0.3, words, room=room, va="top", color="0.25")
    page.scale(state.width - MARGIN - 1.25, 0.12 if _beside(state) else 0.67, 1.1, scene.look)
    grid.draw_titles(page)
    return page


def _top(state: State) -> float:
    """Where a view begins below its headline."""
    if _wide(state):
        return 0.56
    return 0.7 if _beside(state) else 0.95


def _wide(state: State) -> bool:
    return state.width == WIDTHS[0]


def _beside(state: State) -> bool:
    """Whether there is room for maps in a row, and for the scale beside the headline."""
    return state.width > WIDTHS[-1]


def _columns(state: State, count: int) -> int:
    return count if _beside(state) else min(count, 2)


def _wrapped(sentences: Sequence[str], room: float, between: str = "\n", lines: int | None = None) -> str:
    """Sentences in lines of `room` inches, at most so many each."""
    letters = max(int(room / LETTER), 1)
    return between.join(
        textwrap.fill(words, letters, max_lines=lines, placeholder=" …", break_on_hyphens=False) for words in sentences
    )


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
