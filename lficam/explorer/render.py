"""The explorer's pictures: `render` draws everything that a `State` says, as PNG, and `caption` says it in words.

One thread at a time: models are shared, and Grad-CAM hooks into them.
Nothing is computed while only the drawing changes (threshold, opacity, colours): `probes` keeps what the runs have said.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import torch

from lficam.explorer.canvas import Page
from lficam.explorer.gallery import run_of
from lficam.explorer.own_pictures import UPLOAD
from lficam.explorer.sentences import subject
from lficam.explorer.state import State, check
from lficam.explorer.views import SCENES
from lficam.figures.grid import DPI
from lficam.paths import atomic_file
from lficam.provenance import environment

ONE_THREAD = 64  # pixels a side up to which one thread is faster than two
PIXELS = 760  # that a picture is wide

Area = tuple[float, float, float, float]  # left, top, right, bottom, as shares of a picture


def render(state: State) -> bytes:
    """The view as PNG, 760 pixels wide. Raises InputError for what a state cannot be, or what its runs cannot show."""
    return _drawn(state)[0]


def panel_at(state: State, x: float, y: float) -> tuple[float, float] | None:
    """Where in one of its panels a place of the view lies, from the panel's top left; all in shares. None between the panels.

    x, y: from the top left of what `render` draws.
    """
    for left, top, right, bottom in _drawn(state)[1]:
        if left <= x <= right and top <= y <= bottom:
            return (x - left) / (right - left), (y - top) / (bottom - top)
    return None


@lru_cache(maxsize=128)
def _drawn(state: State) -> tuple[bytes, tuple[Area, ...]]:
    """The view as PNG, and where its panels are."""
    page = draw_view(state)
    w, h = page.width, page.height
    areas = tuple((x / w, y / h, (x + side) / w, (y + side) / h) for x, y, side in page.squares)
    return page.png(PIXELS / w), areas


def draw_view(state: State) -> Page:
    """The view as a page, drawn anew. Raises InputError as `render` does."""
    check(state)
    with _few_threads(run_of(state.runs[0]).config.image_size):
        return SCENES[state.view].draw(state)


@contextmanager
def _few_threads(side: int) -> Iterator[None]:
    """One thread for small pictures: their tensors are slower on two, ten times so on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if side <= ONE_THREAD else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def caption(state: State) -> str:
    """What the picture shows, in one line for those who cannot see it. Raises InputError as `render` does."""
    check(state)
    return " ".join([f"{subject(state)}.", *SCENES[state.view].words(state)])


def save_view(state: State, folder: Path) -> Path:
    """Write the view at 200 dpi into a folder, in one piece, and return its path; the name follows from the state.

    Its text chunk "lficam" is JSON: the state, the runs with their configs, the image, the versions. Of an upload it holds the
    checksum, not the name; of the data not the folder.
    """
    runs = dict.fromkeys((*state.runs, *[state.grad_cam] * state.shows_grad_cam))
    record = {
        "state": asdict(state),
        "image": {"upload_sha256" if state.image.startswith(UPLOAD) else "test_image": state.image.removeprefix(UPLOAD)},
        "shows": caption(state),
        "runs": [{"id": id, "config": run_of(id).config.model_dump(exclude={"data"})} for id in runs],
        "environment": environment(),
    }
    digest = hashlib.sha256(json.dumps(asdict(state), sort_keys=True).encode()).hexdigest()[:10]
    target = folder / f"{state.view}_{digest}.png"
    with atomic_file(target) as temporary:
        temporary.write_bytes(draw_view(state).png(DPI, Software="lficam", lficam=json.dumps(record)))
    return target
