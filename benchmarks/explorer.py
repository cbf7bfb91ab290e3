"""How long the explorer takes to answer: from a control's new value to the picture, without the browser.

Each interaction is tried on ten test images of the embedded stand-in for STL10, in each view that it belongs to. "another image"
computes what the networks say of it and draws it; threshold, opacity, colours and contour only draw. The target is 200 ms on 2
cores. "first": of an interaction that loads models or looks at all test images, but once.

    python benchmarks/explorer.py     (after `lficam figures`; a minute on a quiet machine; writes explorer.csv beside this file)
"""

from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from ipywidgets import Dropdown
from PIL import Image

from lficam.explorer import Explorer
from lficam.explorer.controls import VIEW_BUTTONS
from lficam.explorer.render import _drawn
from lficam.metrics.map_names import GRAD_CAM

IMAGES = 10
rows = []


def timed(view: str, interaction: str, *actions: Callable[[], object]) -> None:
    """Times actions that do the same, on different images."""
    milliseconds = []
    for action in actions:
        if interaction != "square dragged":  # which asks where on the last view the mouse was
            _drawn.cache_clear()  # a view that was shown before is there at once
        start = perf_counter()
        action()
        milliseconds.append(1000 * (perf_counter() - start))
        if explorer.error.value:
            raise RuntimeError(f"{view}, {interaction}: {explorer.error.value}")
    times = pd.Series(milliseconds)
    rows.append((view, interaction, len(times), round(times.median()), round(times.max())))
    print(*rows[-1], flush=True)


def own_picture(number: int) -> bytes:
    """A file of 1,000 x 800 pixels."""
    jpeg = BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (8, 10, 3), np.uint8)
    Image.fromarray(noise).resize((1000, 800), Image.Resampling.BICUBIC).save(jpeg, "jpeg")
    return jpeg.getvalue()


def change(control: object, *values: object, name: str = "value") -> list[Callable[[], object]]:
    """One action for each value."""
    return [partial(setattr, control, name, value) for value in values]


def choices(control: Dropdown) -> list[object]:
    """The values of a drop-down list."""
    return [value for _, value in control._options_full]


start = perf_counter()
explorer = Explorer()
opened = round(1000 * (perf_counter() - start))
rows.append(("methods", "open, first", 1, opened, opened))
pictures = [own_picture(number) for number in range(IMAGES)]
shares = np.linspace(0.1, 0.9, IMAGES).tolist()
for view in VIEW_BUTTONS.values():
    if view != explorer.view.value:
        timed(view, "another view, first", *change(explorer.view, view))
    timed(view, "another image", *[button.click for button in explorer.thumbnails.buttons[1 : IMAGES + 1]])
    timed(view, "threshold", *change(explorer.threshold, *shares))
    timed(view, "opacity", *change(explorer.opacity, *shares))
    timed(view, "colours", *change(explorer.color_map, *choices(explorer.color_map)[1:], choices(explorer.color_map)[0]))
    timed(view, "contour", *change(explorer.contour, False, True))
    timed(view, "own picture", *[partial(explorer.upload.receive, "own.jpg", picture) for picture in pictures])
    if view in ("methods", "occlusion"):
        timed(view, "a map fewer, a map more", *change(explorer.maps["abn"], False, True))
        timed(view, "Grad-CAM away, back", *change(explorer.maps[GRAD_CAM], False, True))
    if view == "settings":
        timed(view, "another method, first", *change(explorer.compared, choices(explorer.compared)[-1]))
        timed(view, "back", *change(explorer.compared, choices(explorer.compared)[0]))
    if view == "fin":
        timed(view, "channels", *change(explorer.k, *range(20, 20 + IMAGES)))
        timed(view, "kept or dropped", *change(explorer.keep, False, True))
    if view == "occlusion":
        explorer.picture.point = (0.0, 0.0)
        timed(
            view, "square dragged", *change(explorer.picture, *[(0.03 + 0.01 * step, 0.3) for step in range(IMAGES)], name="point")
        )
        timed(view, "square across", *change(explorer.x, *shares))
        timed(view, "square size", *change(explorer.size, *shares))
explorer.view.value = "methods"
timed("methods", "next page", *[explorer.thumbnails.next.click] * IMAGES)
timed("methods", "class", *change(explorer.label, *choices(explorer.label)[1:]))
timed("methods", "wrong only, first", *change(explorer.wrong_only, True))
timed("methods", "wrong only", *change(explorer.wrong_only, False, True, False))
timed("methods", "least stable first, first", *change(explorer.order, choices(explorer.order)[1]))
timed("methods", "least stable first", *change(explorer.order, *choices(explorer.order)))
timed("methods", "another setting, first", *change(explorer.variant, choices(explorer.variant)[1]))
timed("methods", "another setting", *change(explorer.variant, *choices(explorer.variant)[:2]))
timed("methods", "another data set, first", *change(explorer.dataset, *choices(explorer.dataset)[1:]))
timed("methods", "another data set", *change(explorer.dataset, *choices(explorer.dataset)))
table = pd.DataFrame(rows, columns=["view", "interaction", "times", "median_ms", "slowest_ms"])
table.to_csv(Path(__file__).with_suffix(".csv"), index=False)
