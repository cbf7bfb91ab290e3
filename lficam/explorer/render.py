"""The explorer's pictures: `render` draws everything that a `State` says, as PNG, and `caption` says it in words.

One thread at a time: models are shared, and Grad-CAM hooks into them.
Nothing is computed while only the drawing changes (threshold, opacity, colours): networks keep what they have said.
"""

import hashlib
import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from lficam.explorer.own_pictures import UPLOAD
from lficam.explorer.scene import Scene, scene_of
from lficam.explorer.sentences import subject
from lficam.explorer.state import State
from lficam.explorer.views import VIEWS
from lficam.figures.page import DPI, Page
from lficam.model.devices import cpu_threads
from lficam.paths import atomic_file
from lficam.provenance import environment
from lficam.training.config import published

ONE_THREAD = 64  # pixels a side up to which one thread is faster than two
PIXELS = 760  # that a picture is wide


class Drawn(NamedTuple):
    """A view as PNG; where its panels are, as left, top, right and bottom in shares of it; what it shows in words."""

    png: bytes
    panels: tuple[tuple[float, float, float, float], ...]
    words: str


def render(state: State) -> bytes:
    """The view as PNG, 760 pixels wide. Raises InputError for what there is not, or what the runs cannot show."""
    return _drawn(state).png


def caption(state: State) -> str:
    """What the picture shows, in one line for those who cannot see it. Raises InputError as `render` does."""
    return _drawn(state).words


def panel_at(state: State, x: float, y: float) -> tuple[float, float] | None:
    """Where in one of its panels a place of the view lies, from the panel's top left; all in shares. None between the panels.

    x, y: from the top left of what `render` draws.
    """
    for left, top, right, bottom in _drawn(state).panels:
        if left <= x <= right and top <= y <= bottom:
            return (x - left) / (right - left), (y - top) / (bottom - top)
    return None


@lru_cache(maxsize=128)
def _drawn(state: State) -> Drawn:
    scene = scene_of(state)
    page = draw_view(scene)
    w, h = page.width, page.height
    panels = tuple((x / w, y / h, (x + wide) / w, (y + high) / h) for x, y, wide, high in page.crops)
    words = [f"{subject(scene)}.", *VIEWS[state.view].words(scene)]
    return Drawn(page.png(PIXELS / w), panels, " ".join(words))


def draw_view(scene: Scene) -> Page:
    """The view as a page, drawn anew. Raises InputError for channels that there are not."""
    # The tensors of small pictures are slower on two threads, ten times so on a busy machine.
    with cpu_threads(1 if scene.side <= ONE_THREAD else None):
        return VIEWS[scene.state.view].draw(scene)


def save_view(state: State, folder: Path) -> Path:
    """Write the view at 200 dpi into a folder, in one piece, and return its path; the name follows from the state.

    Its text chunk "lficam" is JSON: the state, the runs with their configs, the image, the versions. Of an upload it holds the
    checksum, not the name; of the data not the folder.
    """
    scene = scene_of(state)
    configs = {network.run.id: network.run.config for network in (*scene.networks, scene.explained) if network is not None}
    record = {
        "state": asdict(state),
        "image": {"upload_sha256" if state.image.startswith(UPLOAD) else "test_image": state.image.removeprefix(UPLOAD)},
        "shows": caption(state),
        "runs": [{"id": id, "config": published(config.model_dump())} for id, config in configs.items()],
        "environment": environment(),
    }
    digest = hashlib.sha256(json.dumps(asdict(state), sort_keys=True).encode()).hexdigest()[:10]
    target = folder / f"{state.view}_{digest}.png"
    with atomic_file(target) as temporary:
        temporary.write_bytes(draw_view(scene).png(DPI, Software="lficam", lficam=json.dumps(record)))
    return target
