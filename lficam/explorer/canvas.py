"""The explorer's page: what its views put there beside pictures and maps: feature maps, a matrix, bars."""

from collections.abc import Sequence

import torch
from matplotlib import colormaps
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn import functional as F

from lficam.figures.page import SMALL, TEXT, Page
from lficam.model.cam import normalize_map

FEATURE, GAP = 54, 3  # pixels of a feature map, and on either side of it
BLUE, GREY = "#0072B2", "0.8"  # told apart by colour-blind readers, and in grey


class Canvas(Page):
    """A page of the explorer."""

    def features(self, x: float, y: float, pitch: float, planes: Tensor, color_map: str) -> float:
        """Feature maps (n, u, v) side by side, each from its lowest to its highest value; returns the inches they are high."""
        shown = F.interpolate(normalize_map(planes)[None], size=(FEATURE, FEATURE), mode="nearest")[0]  # (n, s, s)
        colors = torch.from_numpy(colormaps[color_map](shown.numpy())[..., :3])  # (n, s, s, 3)
        tiles = F.pad(colors, (0, 0, GAP, GAP), value=1.0)  # white between them; one image, since each takes 3 ms
        height = pitch * FEATURE / (FEATURE + 2 * GAP)
        self.image(x, y, pitch * len(planes), height, torch.cat(list(tiles), 1).numpy())
        return height

    def matrix(self, x: float, y: float, side: float, values: Tensor) -> None:
        """A symmetric matrix (n, n) of numbers between 0 and 1: those below the diagonal, on their colours; numbered from 1."""
        count = len(values)
        pitch = min(side / count, 0.4)
        shown = values[1:, :-1].masked_fill(torch.ones(count - 1, count - 1).triu(1).bool(), torch.nan)
        wide, size = pitch * (count - 1), TEXT if pitch > 0.35 else SMALL
        self.image(x, y, wide, wide, shown.numpy(), cmap=colormaps["cividis"].with_extremes(bad="white"), vmin=0, vmax=1)
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
