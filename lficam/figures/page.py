"""A page in inches from its top left, and what lies on it: words, pictures, maps over them, the scale of their colours.

Figures and the explorer's views are drawn on it, so that a map looks the same everywhere. Text is 7 pt or more and is cut to the
room it has, whatever the classes are called.
"""

import textwrap
from functools import cached_property
from io import BytesIO
from typing import NamedTuple

import numpy as np
import torch
from contourpy import contour_generator
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn import functional as F

from lficam.data.photograph import Box, Photograph
from lficam.metrics.similarity import THRESHOLD
from lficam.model.cam import resize_map

PAGE_WIDTH = 6.9  # inches, the text width of a two-column paper
DPI, NOTEBOOK_DPI = 200, 110  # of a figure's file, and on a screen, where it keeps a notebook small
TEXT, SMALL, HEADING = 8, 7, 10  # points
LINE, SMALL_LINE = 0.15, 0.125  # inches that a line of TEXT takes, and one of SMALL
LETTER = 0.0079  # inches a point that a letter takes, on average and on any screen
MARGIN = 0.1  # inches, left and right

COLOR_MAP = "inferno"  # even steps of brightness: readable for colour-blind readers and in grey
OPACITY = 0.6  # of the heat map over the picture
CONTRAST = 0.5  # of what there is in the picture below a map: with all of it, equal attention would not look equal
PIXELS = 200  # a picture is enlarged to about so many a side, so that a map over it is smooth

DARK, LIGHT = "0.1", "1.0"  # of a line that is seen on any colour: light, with a dark edge
PALE = "0.35"  # of a line on what does not count
OUTLINE = "#56b4e9"  # of the true object: no colour of the maps, told from white by colour-blind readers as well
DIVERGING = "PuOr_r"  # of differences: orange above 0, violet below

Square = tuple[float, float, float, float]  # top, left, bottom, right, as shares of what a network sees
Rect = tuple[float, float, float, float]  # left, top, width, height, in inches


class Look(NamedTuple):
    """How maps are drawn: the level of the contour, the opacity of the map over the picture, its colours."""

    threshold: float = THRESHOLD
    opacity: float = OPACITY
    color_map: str = COLOR_MAP
    contour: bool = True


class Page:
    """A figure of `width` by `height` inches. crops: what networks see of the pictures on it. words: what it shows, in words.

    Everything lies in one pair of axes, since each pair takes matplotlib 10 ms to make; charts bring their own.
    """

    def __init__(self, width: float, height: float, words: str = ""):
        self.width, self.height, self.words, self.crops = width, height, words, []
        self.figure = Figure(figsize=(width, height), dpi=NOTEBOOK_DPI)
        self._renderer = FigureCanvasAgg(self.figure).get_renderer()

    @cached_property
    def axes(self) -> Axes:
        """All over the page, in inches; not there before something other than words is drawn."""
        axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, self.width), ylim=(self.height, 0))
        axes.set_axis_off()
        return axes

    def headline(self, title: str, source: str) -> None:
        """What a figure is and where it comes from, at its top left."""
        room = self.width - 2 * MARGIN
        self.text(MARGIN, 0.1, title, HEADING, room, va="top", weight="bold")
        self.text(MARGIN, 0.31, source, SMALL, room, va="top", color="0.25")

    def text(
        self, x: float, y: float, words: str, size: float = TEXT, room: float | None = None, tail: str = "", **style: object
    ) -> None:
        """Words, then a tail, at a place. room: inches that each line may take; words that are longer are cut, the tail is not."""
        if room is not None:
            font = FontProperties(size=size, weight=style.get("weight", "normal"))
            room -= self._width(tail.partition("\n")[0], font)
            words = "\n".join(self._fit(line, font, room) for line in words.split("\n"))
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
        """A picture in its own shape, in a room of `side` inches a side, the object outlined.

        square: what of the part that a network sees is framed.
        """
        crop = self._picture(x, y, side, shown, shown.pixels)
        if square is not None:
            self._frame(crop, square, linewidth=2.4, edgecolor=DARK)
            self._frame(crop, square, linewidth=1.0, edgecolor=LIGHT)

    def map(
        self,
        x: float,
        y: float,
        side: float,
        shown: Photograph,
        cam: Tensor,
        look: Look,
        square: Square | None = None,
        pale: bool = False,
    ) -> None:
        """A map (1, s, s), resized already, over what a network sees of a picture; the rest of it is pale and grey.

        Around what is above the threshold runs the contour. square: as in `picture`. pale: all of it is, as what does not count.
        """
        pixels = _enlarged(shown.pixels)
        covered = _paled(overlay(pixels, torch.zeros(1, 1, 1), opacity=0))
        top, left, bottom, right = _edges(shown.crop, *pixels.shape[1:])
        colored = overlay(pixels[:, top:bottom, left:right], cam, look.opacity, look.color_map)
        covered[:, top:bottom, left:right] = _paled(colored) if pale else colored
        crop = self._picture(x, y, side, shown, covered)
        if look.contour:
            lines = _lines(crop, cam, look.threshold)
            thin = min(1, side)  # in small pictures a line would hide what it surrounds
            styles = [(1.1, PALE)] if pale else [(2.4, DARK), (1.1, LIGHT)]  # on a pale map a light line would not be seen
            for width, color in styles:
                self.axes.add_collection(LineCollection(lines, linewidths=width * thin, colors=color), autolim=False)
        if square is not None:
            self._frame(crop, square, linewidth=0.8, edgecolor=LIGHT, linestyle=":")

    def difference(self, x: float, y: float, side: float, shown: Photograph, values: Tensor, limit: float) -> None:
        """The difference of two maps, (1, u, v) between -`limit` and `limit`, in colours of its own."""
        size = _enlarged(shown.pixels).shape[1:]
        share = 0.5 + 0.5 * F.interpolate(values[None], size, mode="bilinear")[0, 0] / limit
        colors = torch.from_numpy(colormaps[DIVERGING](share.numpy())[..., :3]).permute(2, 0, 1)
        self._picture(x, y, side, shown, colors)

    def _picture(self, x: float, y: float, side: float, shown: Photograph, pixels: Tensor) -> Rect:
        """Pixels in the place of a picture, the object outlined; returns where what is seen of it lies."""
        width, height = min(side, side / shown.aspect), min(side, side * shown.aspect)
        left = x + (side - width) / 2
        large = max(shown.pixels.shape) >= PIXELS  # and is made smaller; a small one keeps its edges
        values = pixels.permute(1, 2, 0).clamp(0, 1).numpy()
        self.image(left, y, width, height, values, interpolation="auto" if large else "nearest")
        down, right, h, w = shown.crop
        crop = (left + right * width, y + down * height, w * width, h * height)
        self.crops.append(crop)
        if shown.mask is not None:
            self._outline(crop, shown.mask)
        return crop

    def _outline(self, crop: Rect, mask: Tensor) -> None:
        outside = F.pad(mask.float(), (1, 1, 1, 1))  # an object that fills the picture has an outline, too
        h, w = mask.shape[1:]
        left, top, width, height = crop
        around = (left - width / w, top - height / h, width * (w + 2) / w, height * (h + 2) / h)
        lines = _lines(around, outside, 0.5)
        self.axes.add_collection(LineCollection(lines, linewidths=min(1, max(width, 0.7)), colors=OUTLINE), autolim=False)

    def scale(self, x: float, y: float, width: float, look: Look) -> None:
        """What the colours of a map mean, as they are over mid-grey, with a mark at the threshold."""
        grey, height = torch.full((3, 1, 256), 0.5), 0.1
        colors = overlay(grey, torch.linspace(0, 1, 256).view(1, 1, 256), look.opacity, look.color_map)
        self.image(x, y, width, height, colors.permute(1, 2, 0).numpy())
        if look.contour:
            mark = [[(x + look.threshold * width, y - 0.03), (x + look.threshold * width, y + height + 0.03)]]
            self.axes.add_collection(LineCollection(mark, linewidths=2.8, colors=DARK), autolim=False)
            self.axes.add_collection(LineCollection(mark, linewidths=1.1, colors=LIGHT), autolim=False)
        self.text(x - 0.05, y + height / 2, "attention 0", SMALL, ha="right", va="center")
        self.text(x + width + 0.05, y + height / 2, "1", SMALL, va="center")

    def scale_of_differences(self, x: float, y: float, width: float, name: str, limit: float) -> None:
        """The same of differences, from -`limit` to `limit`."""
        height = 0.1
        self.image(x, y, width, height, colormaps[DIVERGING](np.linspace(0, 1, 256))[None, :, :3])
        self.text(x - 0.05, y + height / 2, f"{name} −{limit:.2g}", SMALL, ha="right", va="center")
        self.text(x + width + 0.05, y + height / 2, f"+{limit:.2g}", SMALL, va="center")

    def key(self, x: float, y: float, words: str, outline: bool = False) -> None:
        """What a line means: that around what is on in a map, or the outline of the true object."""
        line = [[(x, y), (x + 0.2, y)]]
        styles = [(1.0, OUTLINE)] if outline else [(2.4, DARK), (1.1, LIGHT)]
        for width, color in styles:
            self.axes.add_collection(LineCollection(line, linewidths=width, colors=color), autolim=False)
        self.text(x + 0.26, y, words, SMALL, va="center")

    def image(self, x: float, y: float, width: float, height: float, values: np.ndarray, **style: object) -> None:
        """Colours (h, w, 3), or numbers with a `cmap`, in a rectangle."""
        style = {"interpolation": "nearest"} | style
        self.axes.imshow(values, extent=(x, x + width, y + height, y), aspect="auto", **style)

    def png(self, dpi: float, **texts: str) -> bytes:
        """The page as a picture, with texts in chunks of these names; the same page always gives the same bytes."""
        png = BytesIO()
        with rc_context({"text.hinting": "none"}):  # a fifth of the time
            self.figure.savefig(png, format="png", dpi=dpi, metadata=texts, pil_kwargs={"compress_level": 1})
        return png.getvalue()

    def __repr__(self) -> str:
        return "<page>"

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        """As a notebook shows it, and says it to those who cannot see it."""
        return self.png(NOTEBOOK_DPI), {"alt": self.words}

    def _frame(self, crop: Rect, square: Square, **style: object) -> None:
        x, y, width, height = crop
        top, left, bottom, right = square
        corner, sides = (x + left * width, y + top * height), ((right - left) * width, (bottom - top) * height)
        self.axes.add_patch(Rectangle(corner, *sides, fill=False, **style))


def overlay(image: Tensor, cam: Tensor, opacity: float = OPACITY, color_map: str = COLOR_MAP) -> Tensor:
    """Blend a map (1, u, v) over a picture (3, h, w), both in [0, 1]: (3, h, w), computed in float.

    The picture is shown in grey, so that every colour belongs to the map, and below a map with `CONTRAST` around mid-grey; the more
    opaque the map, the nearer to that. The map is upsampled bilinearly.
    """
    heat = resize_map(cam.unsqueeze(0), image.shape[-2:])[0, 0]  # (h, w)
    color = torch.from_numpy(colormaps[color_map](heat.numpy())[..., :3]).permute(2, 0, 1).to(image.dtype)
    grey = (image * image.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0)  # ITU-R BT.601 luma
    contrast = 1 - (1 - CONTRAST) * min(1, opacity / OPACITY)
    return (1 - opacity) * (0.5 + contrast * (grey - 0.5)) + opacity * color


def wrapped(words: str, room: float, size: float = TEXT, lines: int | None = None) -> str:
    """Words in lines of about `room` inches; at most so many, the rest cut."""
    letters = max(int(room / (LETTER * size)), 1)
    return textwrap.fill(words, letters, max_lines=lines, placeholder=" …", break_on_hyphens=False)


def height_of(shown: Photograph, side: float) -> float:
    """Inches that a picture is high in a room of `side` inches a side."""
    return min(side, side * shown.aspect)


def _lines(crop: Rect, values: Tensor, level: float) -> list[np.ndarray]:
    """Where values (1, h, w) that fill a rectangle are at a level."""
    left, top, width, height = crop
    columns, rows = ((torch.arange(n) + 0.5).numpy() / n for n in reversed(values.shape[1:]))  # middles of cells
    return contour_generator(left + columns * width, top + rows * height, values[0].numpy()).lines(level)


def _paled(pixels: Tensor) -> Tensor:
    return 0.4 * pixels + 0.6


def _enlarged(pixels: Tensor) -> Tensor:
    """A small picture (3, h, w), so large that a map over it is smooth."""
    factor = max(1, PIXELS // max(pixels.shape[1:]))
    return F.interpolate(pixels[None], scale_factor=factor, mode="nearest")[0]


def _edges(crop: Box, h: int, w: int) -> tuple[int, int, int, int]:
    """Top, left, bottom and right in pixels."""
    top, left, height, width = crop
    return round(top * h), round(left * w), round((top + height) * h), round((left + width) * w)
