"""The four views of the explorer, each as a page; on a narrow one maps stand in two columns, else in a row."""

import textwrap
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lficam.explorer.answers import Answer, Box, answer, compared, hidden, iou_matrix, ranked, with_channels
from lficam.explorer.canvas import HEADING, LINE, MARGIN, SMALL, TEXT, Page, Square
from lficam.explorer.gallery import picture, run_of
from lficam.explorer.sentences import (
    agreement,
    effect,
    hidden_box,
    inside,
    predictions,
    setting,
    shown_maps,
    similarity,
    subject,
    top_classes,
)
from lficam.explorer.state import TITLES, WIDTHS, State

LETTER = 0.058  # inches that a letter of TEXT takes, on average


class _Grid:
    """Squares in rows over a page, below the headline, with a title above each and room for words below.

    titles: of all squares, or (each_row=False) of the first row, above which alone there is room then.
    most: inches, of a square's side. below: inches for the words.
    """

    def __init__(self, state: State, columns: int, titles: Sequence[str], most: float, below: float, each_row: bool = True):
        self.columns, self.pitch = columns, min((state.width - 2 * MARGIN) / columns, most + 0.1)
        self.side, self.titles = self.pitch - 0.1, [_wrapped(title.split("\n"), self.pitch) for title in titles]
        above = LINE * max(title.count("\n") + 1 for title in self.titles)
        self.top, self.below, self.row = _top(state) + above, below, self.side + below + above * each_row

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


def _methods(state: State) -> Page:
    """The picture and the map of each run, with the three most probable classes."""
    shown, pixels = shown_maps(state, most=3), picture(state.runs[0], state.image)
    count = len(shown) + 1
    grid = _Grid(state, _columns(state, count), ["picture", *(column.title for column in shown)], 2.1, 0.6)
    page = _page(state, grid.bottom(count))
    grid.draw_titles(page)
    page.picture(*grid.place(0), grid.side, pixels)
    for number, (_, cam, (first, *rest)) in enumerate(shown, 1):
        page.map(*grid.place(number), grid.side, pixels, cam, state.look)
        size = HEADING if grid.pitch > 0.8 else TEXT  # of seven in a row
        grid.words(page, number, first.name, size, tail=first.number, weight="bold")
        for line, prediction in enumerate(rest):
            grid.words(page, number, prediction.name, line=1.4 + line, tail=prediction.number, color="0.25")
    return page


def _settings(state: State) -> Page:
    """The maps of a method's runs; below them the picture, and how alike the maps are, two by two."""
    runs, pixels = [run_of(id) for id in state.runs], picture(state.runs[0], state.image)
    maps = [compared(run.id, answer(run.id, state.image).cam) for run in runs]
    names = [f"model {number}\n{setting(run)}" for number, run in enumerate(runs, 1)]
    matrix = iou_matrix(maps, state.threshold)
    grid, (mean, *others) = _Grid(state, _columns(state, len(runs)), names, 1.6, 0.25), agreement(matrix, state.threshold)
    y, side = grid.bottom(len(runs)) + 0.35, min(1.62, 0.41 * state.width)
    x = MARGIN + side + 0.5  # of the matrix
    left, top = (x + side + 0.3, y) if _wide(state) else (MARGIN, y + side + 0.3)  # of the words
    words = _wrapped(others, state.width - left - MARGIN)
    page = _page(state, y + side + 0.15 if _wide(state) else top + 0.4 + LINE * (words.count("\n") + 1))
    grid.draw_titles(page)
    for number, (run, cam) in enumerate(zip(runs, maps, strict=True)):
        page.map(*grid.place(number), grid.side, pixels, cam, state.look)
        (best,) = top_classes(run, state.image, answer(run.id, state.image).probabilities)
        grid.words(page, number, best.name, tail=best.number, weight="bold")
    page.text(MARGIN + side / 2, y - 0.04, "picture", ha="center", va="bottom")
    page.picture(MARGIN, y, side, pixels)
    page.text(x - 0.15, y - 0.04, "IoU of every two maps", va="bottom")
    page.matrix(x, y, side, matrix)
    page.text(left, top, mean, HEADING, va="top", weight="bold")
    page.text(left, top + 0.28, words, va="top", color="0.25")
    return page


def _fin(state: State) -> Page:
    """Map and prediction as learned and with channels kept or dropped; the most important channels and their feature maps."""
    run, pixels = run_of(state.runs[0]), picture(state.runs[0], state.image)
    learned, changed = answer(run.id, state.image), with_channels(run.id, state.image, state.k, state.keep)
    titles = ["picture", "as learned", f"{'only' if state.keep else 'without'} the top {state.k}"]
    grid = _Grid(state, 4 if _wide(state) else 3, titles, 1.6, 0.25)
    x, y = grid.place(3) if _wide(state) else (MARGIN, grid.bottom(3) + 0.1)
    words = _wrapped(inside(state), state.width - x - MARGIN, "\n\n" if _wide(state) else "\n")
    bars = grid.bottom(3) + (0.2 if _wide(state) else 0.25 + LINE * (words.count("\n") + 1))
    page = _page(state, bars + 1.8)
    grid.draw_titles(page)
    page.picture(*grid.place(0), grid.side, pixels)
    for number, said in enumerate((learned, changed), 1):
        page.map(*grid.place(number), grid.side, pixels, compared(run.id, said.cam), state.look)
        (best,) = top_classes(run, state.image, said.probabilities)
        grid.words(page, number, best.name, tail=best.number, weight="bold")
    page.text(x, y, words, va="top")
    _channels(page, bars, learned, state)
    return page


def _channels(page: Page, y: float, learned: Answer, state: State) -> None:
    """Bars of the most important channels' weights, below each its feature map."""
    left, count = MARGIN + 0.5, len(learned.importance)
    order = ranked(learned.importance)[: 12 if _beside(state) else 9]
    step = (state.width - left - MARGIN) / len(order)
    used = [(rank < state.k) == state.keep for rank in range(len(order))]
    page.text(MARGIN, y, f"Weights of the {len(order)} most important channels, in percent", va="top")
    page.text(MARGIN, y + LINE, "blue: used, grey: not; dashed: if all had the same", SMALL, va="top", color="0.25")
    weights, y = learned.importance[order].tolist(), y + 0.33
    page.bars(left, y, step, 0.75, weights, used, (1 / count, f"1/{count}"))
    tall = page.features(left, y + 0.8, step, learned.features[order], state.color_map)
    for rank, channel in enumerate(order.tolist()):
        page.text(left + (rank + 0.5) * step, y + 0.83 + tall, str(channel), SMALL, ha="center", va="top")
    page.text(left - 0.04, y + 0.83 + tall, "channel", SMALL, ha="right", va="top")


def _occlusion(state: State) -> Page:
    """Picture and maps before and after a grey square hides a part of it: one below, or on a narrow page beside, the other."""
    box = hidden_box(state)
    rows = [(hide, shown_maps(state, hide)) for hide in (None, box)]
    names = ["picture", *(column.title for column in rows[0][1])]
    count, columns = len(names), _columns(state, len(names))
    across = columns == count
    grid = _Grid(state, columns, names if across else [name for name in names for _ in rows], 1.6, 0.25, not across)
    words = _wrapped(effect(state), state.width - 2 * MARGIN)
    page = _page(state, grid.bottom(2 * count) + LINE * (words.count("\n") + 1) + 0.15)
    grid.draw_titles(page)
    for row, (hide, maps) in enumerate(rows):
        pixels, frame = hidden(state.runs[0], state.image, hide), _shares(state, hide)
        first, *others = [row * count + k if across else 2 * k + row for k in range(count)]
        page.picture(*grid.place(first), grid.side, pixels, frame)
        grid.words(page, first, "with the square" if row else "whole")
        for number, (_, cam, (best,)) in zip(others, maps, strict=True):
            page.map(*grid.place(number), grid.side, pixels, cam, state.look, frame)
            grid.words(page, number, best.name, tail=best.number, weight="bold")
    page.text(MARGIN, grid.bottom(2 * count) + 0.05, words, va="top")
    return page


def _page(state: State, height: float) -> Page:
    """A page with its headline and the scale of the maps."""
    page, room = Page(state.width, height), state.width - 2 * MARGIN
    page.text(MARGIN, 0.08, TITLES[state.view], HEADING, va="top", weight="bold")
    words = _wrapped([subject(state)], room, lines=1 if _wide(state) else 2)
    page.text(MARGIN, 0.3, words, room=room, va="top", color="0.25")
    page.scale(state.width - MARGIN - 1.25, 0.12 if _beside(state) else 0.67, 1.1, state.look)
    return page


def _top(state: State) -> float:
    """Where a view begins below its headline."""
    return 0.56 if _wide(state) else 0.7 if _beside(state) else 0.95


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


def _shares(state: State, box: Box | None) -> Square | None:
    side = run_of(state.runs[0]).config.image_size
    return box and tuple(edge / side for edge in box)


class Scene(NamedTuple):
    """draw: the page. words: the sentences of its caption, after which picture it is."""

    draw: Callable[[State], Page]
    words: Callable[[State], list[str]]


SCENES = {
    "methods": Scene(_methods, predictions),
    "settings": Scene(_settings, lambda state: predictions(state) + agreement(similarity(state), state.threshold)),
    "fin": Scene(_fin, lambda state: predictions(state)[:1] + inside(state)),
    "occlusion": Scene(_occlusion, lambda state: predictions(state) + effect(state)),
}
