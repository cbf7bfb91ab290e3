"""What the explorer shows, as plain values: a picture follows from its `State` alone."""

import math
from dataclasses import dataclass

from lficam.errors import InputError
from lficam.figures.page import COLOR_MAP, OPACITY, PAGE_WIDTH
from lficam.metrics.similarity import THRESHOLD

COLOR_MAPS = (COLOR_MAP, "viridis", "cividis", "gray")
WIDTHS = (PAGE_WIDTH, 5.2, 3.7)  # inches of a page; the last is that of a phone
READABLE = 90  # CSS pixels for an inch of a page: its smallest type, of 7 pt, is 9 of them high
MOST_RUNS = 5

TITLES = {
    "methods": "Where the networks look",
    "settings": "One method, several trainings",
    "fin": "Inside the Feature Importance Network",
    "occlusion": "A part of the picture hidden",
}  # of the views
WITH_MAPS = ("methods", "occlusion")  # the views whose maps are chosen one by one, Grad-CAM among them


@dataclass(frozen=True)
class State:
    """Everything that a picture depends on, in plain values. Raises InputError for a value that cannot be.

    image: id of a test image, or key of an upload.
    runs: ids; "methods", "occlusion": one to five of one data set; "settings": two to five of one method; "fin": the first counts.
    view: one of `TITLES`.
    grad_cam: `WITH_MAPS`: id of an LFI-CAM, with the FIN or without it; its Grad-CAM for the class that it predicts is a
        further panel. "" for none.
    threshold: above it a map is on, in [0, 1]. opacity: of the maps over the picture, in [0, 1].
    k, keep: "fin": only the k most important channels are kept, or they are dropped.
    square: "occlusion": centre x, centre y and side of the grey square, as shares of the picture; the side in [0, 1].
    width: of the page in inches, one of `WIDTHS`; on a narrow one the maps stand in two columns.
    """

    image: str
    runs: tuple[str, ...]
    view: str = "methods"
    grad_cam: str = ""
    threshold: float = THRESHOLD
    opacity: float = OPACITY
    color_map: str = COLOR_MAP
    contour: bool = True
    k: int = 8
    keep: bool = True
    square: tuple[float, float, float] = (0.5, 0.5, 0.25)
    width: float = PAGE_WIDTH

    def __post_init__(self) -> None:
        if self.view not in TITLES:
            raise InputError(f"unknown view {self.view!r}: expected one of {', '.join(TITLES)}")
        if self.color_map not in COLOR_MAPS:
            raise InputError(f"unknown colour map {self.color_map!r}: expected one of {', '.join(COLOR_MAPS)}")
        if self.width not in WIDTHS:
            raise InputError(f"width {self.width}: expected one of {', '.join(map(str, WIDTHS))}")
        for name, value in (("threshold", self.threshold), ("opacity", self.opacity), ("side of the square", self.square[2])):
            if not 0 <= value <= 1:  # NaN is not either
                raise InputError(f"{name} {value}: expected 0 to 1")
        if not all(map(math.isfinite, self.square)):
            raise InputError(f"square {self.square}: expected finite numbers")
        if not isinstance(self.runs, tuple) or len(set(self.runs)) < len(self.runs):
            raise InputError(f"runs {self.runs}: expected a tuple of ids, each of them once")
        least = 2 if self.view == "settings" else 1
        if not least <= len(self.runs) <= MOST_RUNS:
            raise InputError(f"the view {self.view!r} shows {least} to {MOST_RUNS} runs, {len(self.runs)} chosen: choose others")

    @property
    def shows_grad_cam(self) -> bool:
        """Whether there is a panel of Grad-CAM."""
        return self.grad_cam != "" and self.view in WITH_MAPS


def page_width(pixels: int) -> float:
    """Inches, one of `WIDTHS`, that a page may be wide so that it can be read on so many CSS pixels; 0: not known."""
    return next((width for width in WIDTHS if not pixels or pixels >= READABLE * width), WIDTHS[-1])
