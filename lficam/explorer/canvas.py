"""A page in inches from its top left, and what the explorer's views put on it: pictures, maps, bars, a matrix.

Text is 7 pt or more and is cut to the room it has, whatever the classes are called.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple

import numpy as np
import torch
from contourpy import contour_generator
from matplotlib import colormaps, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn import functional as F

from lficam.data.photograph import Box, Photograph
from lficam.figures.grid import overlay
from lficam.figures.result import NOTEBOOK_DPI
from lficam.model.cam import normalize_map

TEXT, SMALL, HEADING = 8, 7, 10  # points
LINE = 0.15  # inches a line of TEXT takes
MARGIN = 0.1  # inches, left and right
PIXELS = 200  # a picture is enlarged to about so many a side, so that a map over it is smooth
FEATURE, GAP = 54, 3  # pixels of a feature map, and on either side of it
DARK, LIGHT = "0.1", "1.0"  # of a line that is seen on any colour: light, with a dark edge
BLUE, GREY = "#0072B2", "0.8"  # told apart by colour-blind readers, and in grey

Square = tuple[float, float, float, float]  # top, left, bottom, right, as shares of what a network sees
Rect = tuple[float, float, float, float]  # left, top, width, height, in inches


class Look(NamedTuple):
    """How maps are drawn: the level of the contour, the opacity of the map over the picture, its colours."""

    threshold: float
    opacity: float
    color_map: str
    contour: bool


class Page:
    """A figure of `width` by `height` inches. crops: what networks see of the pictures on it.

    Everything lies in one pair of axes, since each pair takes matplotlib 10 ms to make.
    """

    def __init__(self, width: float, height: float):
        self.width, self.height, self.crops = width, height, []
        self.figure = Figure(figsize=(width, height), dpi=NOTEBOOK_DPI)
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()
        self._renderer = FigureCanvasAgg(self.figure).get_renderer()

    def text(
        self, x: float, y: float, words: str, size: float = TEXT, room: float | None = None, tail: str = "", **style: object
    ) -> None:
        """Words, then a tail, at a place. room: inches that each line may take; words that are longer are cut, the tail is not."""
        if room is not None:
            font = FontProperties(size=size, weight=style.get("weight", "normal"))
            words = "\n".join(self._fit(line, font, room - self._width(tail, font)) for line in words.split("\n"))
        words += tail
        self.figure.text(x / self.width, 1 - y / self.height, words, fontsize=size, linespacing=1.2, parse_math=False, **style)

    def _fit(self, line: str, font: FontProperties, room: float) -> str:
        if len(line) * 1.2 * font.get_size() / 72 <= room or self._width(line, font) <= room:  # no letter is wider than that
            return line
        while line and self._width(line + "…", font) > room:
            line = line[:-1]
        return line.rstrip() + "…"

    def _width(self, words: str, font: FontProperties) -> float:
        """Inches that words take."""
        return self._renderer.get_text_width_height_descent(words, font, ismath=False)[0] / NOTEBOOK_DPI

    def picture(self, x: float, y: float, side: float, shown: Photograph, square: Square | None = None) -> None:
        """A picture in its own shape, in a room of `side` inches a side, with a square in what a network sees of it framed."""
        crop = self._picture(x, y, side, shown, shown.pixels)
        if square is not None:
            self._frame(crop, square, linewidth=2.4, edgecolor=DARK)
            self._frame(crop, square, linewidth=1.0, edgecolor=LIGHT)

    def map(
        self, x: float, y: float, side: float, shown: Photograph, cam: Tensor, look: Look, square: Square | None = None
    ) -> None:
        """A map (1, s, s), resized already, over what a network sees of a picture; the rest of it is pale and grey.

        Around what is above the threshold runs the contour.
        """
        pixels = _enlarged(shown.pixels)
        covered = 0.4 * overlay(pixels, torch.zeros(1, 1, 1), opacity=0) + 0.6
        top, left, bottom, right = _edges(shown.crop, *pixels.shape[1:])
        covered[:, top:bottom, left:right] = overlay(pixels[:, top:bottom, left:right], cam, look.opacity, look.color_map)
        crop = self._picture(x, y, side, shown, covered)
        if look.contour:
            left, top, width, height = crop
            columns, rows = ((torch.arange(n) + 0.5).numpy() / n for n in reversed(cam.shape[1:]))  # middles of cells
            lines = contour_generator(left + columns * width, top + rows * height, cam[0].numpy()).lines(look.threshold)
            self.axes.add_collection(LineCollection(lines, linewidths=2.4, colors=DARK), autolim=False)
            self.axes.add_collection(LineCollection(lines, linewidths=1.1, colors=LIGHT), autolim=False)
        if square is not None:
            self._frame(crop, square, linewidth=0.8, edgecolor=LIGHT, linestyle=":")

    def _picture(self, x: float, y: float, side: float, shown: Photograph, pixels: Tensor) -> Rect:
        """Pixels in the place of a picture; returns where what is seen of it lies."""
        width, height = min(side, side / shown.aspect), min(side, side * shown.aspect)
        left = x + (side - width) / 2
        large = max(shown.pixels.shape) >= PIXELS  # and is made smaller; a small one keeps its edges
        values = pixels.permute(1, 2, 0).clamp(0, 1).numpy()
        self._image(left, y, width, height, values, interpolation="auto" if large else "nearest")
        down, right, h, w = shown.crop
        crop = (left + right * width, y + down * height, w * width, h * height)
        self.crops.append(crop)
        return crop

    def features(self, x: float, y: float, pitch: float, planes: Tensor, color_map: str) -> float:
        """Feature maps (n, u, v) side by side, each from its lowest to its highest value; returns the inches they are high."""
        shown = F.interpolate(normalize_map(planes)[None], size=(FEATURE, FEATURE), mode="nearest")[0]  # (n, s, s)
        colors = torch.from_numpy(colormaps[color_map](shown.numpy())[..., :3])  # (n, s, s, 3)
        tiles = F.pad(colors, (0, 0, GAP, GAP), value=1.0)  # white between them; one image, since each takes 3 ms
        height = pitch * FEATURE / (FEATURE + 2 * GAP)
        self._image(x, y, pitch * len(planes), height, torch.cat(list(tiles), 1).numpy())
        return height

    def scale(self, x: float, y: float, width: float, look: Look) -> None:
        """What the colours of a map mean, as they are over mid-grey, with a mark at the threshold."""
        grey, height = torch.full((3, 1, 256), 0.5), 0.1
        colors = overlay(grey, torch.linspace(0, 1, 256).view(1, 1, 256), look.opacity, look.color_map)
        self._image(x, y, width, height, colors.permute(1, 2, 0).numpy())
        if look.contour:
            mark = [[(x + look.threshold * width, y - 0.03), (x + look.threshold * width, y + height + 0.03)]]
            self.axes.add_collection(LineCollection(mark, linewidths=2.8, colors=DARK), autolim=False)
            self.axes.add_collection(LineCollection(mark, linewidths=1.1, colors=LIGHT), autolim=False)
        self.text(x - 0.05, y + height / 2, "attention 0", SMALL, ha="right", va="center")
        self.text(x + width + 0.05, y + height / 2, "1", SMALL, va="center")

    def matrix(self, x: float, y: float, side: float, values: Tensor) -> None:
        """A symmetric matrix (n, n) of numbers between 0 and 1: those below the diagonal, on their colours; numbered from 1."""
        count = len(values)
        pitch = min(side / count, 0.4)
        shown = values[1:, :-1].masked_fill(torch.ones(count - 1, count - 1).triu(1).bool(), torch.nan)
        wide, size = pitch * (count - 1), TEXT if pitch > 0.35 else SMALL
        self._image(x, y, wide, wide, shown.numpy(), cmap=colormaps["cividis"].with_extremes(bad="white"), vmin=0, vmax=1)
        for row in range(1, count):
            middle = (row - 0.5) * pitch
            self.text(x - 0.06, y + middle, str(row + 1), ha="right", va="center")
            self.text(x + middle, y + wide + 0.04, str(row), ha="center", va="top")
            for column in range(row):
                value = float(values[row, column])
                color = "white" if value < 0.5 else "black"
                self.text(x + (column + 0.5) * pitch, y + middle, f"{value:.2f}", size, ha="center", va="center", color=color)

    def bars(
        self,
        x: float,
        y: float,
        pitch: float,
        height: float,
        values: Sequence[float],
        full: Sequence[bool],
        level: tuple[float, str],
    ) -> None:
        """Bars from 0, `pitch` inches apart, their values in percent above; 1.25 times the highest is `height` inches high.

        full: which are coloured, not grey. level: a value and what it is called, for a dashed line over all bars.
        """
        base, inch = y + height, height / (1.25 * max(values))
        for i, (value, is_full) in enumerate(zip(values, full, strict=True)):
            place, color = (x + (i + 0.15) * pitch, base - value * inch), BLUE if is_full else GREY
            self.axes.add_patch(Rectangle(place, 0.7 * pitch, value * inch, facecolor=color, edgecolor="0.3", linewidth=0.6))
            self.text(x + (i + 0.5) * pitch, place[1] - 0.03, f"{100 * value:.3g}", SMALL, ha="center", va="bottom")
        value, name = level
        self.text(x - 0.04, base - value * inch, name, SMALL, ha="right", va="center")
        for line, style in ((base, "-"), (base - value * inch, "--")):
            ends = [[(x, line), (x + pitch * len(values), line)]]
            self.axes.add_collection(LineCollection(ends, colors="0.2", linewidths=0.9, linestyles=style), autolim=False)

    def png(self, dpi: float, **texts: str) -> bytes:
        """The page as a picture, with texts in chunks of these names; the same page always gives the same bytes."""
        png = BytesIO()
        with rc_context({"text.hinting": "none"}):  # a fifth of the time
            self.figure.savefig(png, format="png", dpi=dpi, metadata=texts, pil_kwargs={"compress_level": 1})
        return png.getvalue()

    def _image(self, x: float, y: float, width: float, height: float, values: np.ndarray, **style: object) -> None:
        style = {"interpolation": "nearest"} | style
        self.axes.imshow(values, extent=(x, x + width, y + height, y), aspect="auto", **style)

    def _frame(self, crop: Rect, square: Square, **style: object) -> None:
        x, y, width, height = crop
        top, left, bottom, right = square
        corner, sides = (x + left * width, y + top * height), ((right - left) * width, (bottom - top) * height)
        self.axes.add_patch(Rectangle(corner, *sides, fill=False, **style))


def height_of(shown: Photograph, side: float) -> float:
    """Inches that a picture is high in a room of `side` inches a side."""
    return min(side, side * shown.aspect)


def _enlarged(pixels: Tensor) -> Tensor:
    """A small picture (3, h, w), so large that a map over it is smooth."""
    factor = max(1, PIXELS // max(pixels.shape[1:]))
    return F.interpolate(pixels[None], scale_factor=factor, mode="nearest")[0]


def _edges(crop: Box, h: int, w: int) -> tuple[int, int, int, int]:
    """Top, left, bottom and right in pixels."""
    top, left, height, width = crop
    return round(top * h), round(left * w), round((top + height) * h), round((left + width) * w)
