"""What the explorer shows, as plain values: a picture follows from its `State` alone."""

import math
from dataclasses import dataclass

import torch

from lficam.errors import InputError
from lficam.explorer.answers import channels
from lficam.explorer.canvas import Look
from lficam.explorer.gallery import picture, run_of
from lficam.figures.grid import PAGE_WIDTH
from lficam.model.methods import METHODS

COLOR_MAPS = ("inferno", "viridis", "cividis", "gray")
WIDTHS = (PAGE_WIDTH, 5.2, 3.7)  # inches of a page; the last is that of a phone
READABLE = 90  # CSS pixels for an inch of a page: its smallest type, of 7 pt, is 9 of them high
MOST_RUNS = 5

TITLES = {
    "methods": "Where the networks look",
    "settings": "One method, several trainings",
    "fin": "Inside the Feature Importance Network",
    "occlusion": "A part of the picture hidden",
}  # of the views


@dataclass(frozen=True)
class State:
    """Everything that a picture depends on, in plain values.

    image: id of a test image, or key of an upload.
    runs: ids; "methods", "occlusion": one to five of one data set; "settings": two to five of one method; "fin": the first counts.
    view: one of `TITLES`.
    grad_cam: "methods", "occlusion": id of an LFI-CAM, with the FIN or without it; its Grad-CAM for the class that it predicts is a
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
    threshold: float = 100 / 255
    opacity: float = 0.6
    color_map: str = "inferno"
    contour: bool = True
    k: int = 8
    keep: bool = True
    square: tuple[float, float, float] = (0.5, 0.5, 0.25)
    width: float = PAGE_WIDTH

    @property
    def shows_grad_cam(self) -> bool:
        """Whether there is a panel of Grad-CAM."""
        return bool(self.grad_cam) and self.view in ("methods", "occlusion")

    @property
    def look(self) -> Look:
        """How maps are drawn."""
        return Look(self.threshold, self.opacity, self.color_map, self.contour)


def check(state: State) -> None:
    """Raises InputError unless everything in the state is what it can be, and fits together."""
    if state.view not in TITLES:
        raise InputError(f"unknown view {state.view!r}: expected one of {', '.join(TITLES)}")
    if state.color_map not in COLOR_MAPS:
        raise InputError(f"unknown colour map {state.color_map!r}: expected one of {', '.join(COLOR_MAPS)}")
    if state.width not in WIDTHS:
        raise InputError(f"width {state.width}: expected one of {', '.join(map(str, WIDTHS))}")
    for name, value in (("threshold", state.threshold), ("opacity", state.opacity), ("side of the square", state.square[2])):
        if not 0 <= value <= 1:  # NaN is not either
            raise InputError(f"{name} {value}: expected 0 to 1")
    if not all(map(math.isfinite, state.square)):
        raise InputError(f"square {state.square}: expected finite numbers")
    if not isinstance(state.runs, tuple) or len(set(state.runs)) < len(state.runs):
        raise InputError(f"runs {state.runs}: expected a tuple of ids, each of them once")
    least = 2 if state.view == "settings" else 1
    if not least <= len(state.runs) <= MOST_RUNS:
        raise InputError(f"the view {state.view!r} shows {least} to {MOST_RUNS} runs, {len(state.runs)} chosen: choose others")
    runs = [run_of(id) for id in (*state.runs, *[state.grad_cam] * state.shows_grad_cam)]
    if len({(run.config.dataset, run.config.image_size, run.classes) for run in runs}) > 1:
        raise InputError("the chosen runs were trained on different data: choose runs of one data set")
    if state.view == "settings" and len({run.config.method for run in runs}) > 1:
        raise InputError("settings are compared within one method: choose runs of one method")
    if state.view == "fin" and channels(state.runs[0]) is None:
        method = METHODS[runs[0].config.method].title
        raise InputError(f"{method} has no Feature Importance Network to look into: choose a run of {METHODS['lfi-cam'].title}")
    if state.shows_grad_cam and METHODS[runs[-1].config.method].splits_trunk:
        raise InputError("Grad-CAM is made of an LFI-CAM: choose a run of LFI-CAM or LFI-CAM without FIN for it")
    first, *others = (picture(run.id, state.image) for run in runs)
    if not all(torch.equal(first, other) for other in others):
        raise InputError("the chosen runs do not see the same picture: choose runs trained on the same data in the same way")


def page_width(pixels: int) -> float:
    """Inches, one of `WIDTHS`, that a page may be wide so that it can be read on so many CSS pixels; 0: not known."""
    return next((width for width in WIDTHS if not pixels or pixels >= READABLE * width), WIDTHS[-1])
