"""A data set at a glance: some of its test images, with the outline of the object where it is known."""

import torch
from matplotlib.figure import Figure

from lficam.data.photograph import Photograph
from lficam.data.samples import Dataset, shuffled
from lficam.figures.page import MARGIN, PAGE_WIDTH, SMALL, SMALL_LINE, Page

COLUMNS, ROWS = 6, 4
SIDE = 160  # pixels


def contact_sheet(dataset: Dataset, title: str) -> Figure:
    """The first test images of the shuffle that the figures take theirs from, squashed to squares as the networks see them."""
    chosen = dataset.test.take(shuffled(len(dataset.test))[: COLUMNS * ROWS])
    (pictures,) = chosen.crops(SIDE, "none", len(chosen), torch.device("cpu"))
    masks = chosen.masks(SIDE, "none")
    pitch = (PAGE_WIDTH - 2 * MARGIN) / COLUMNS
    top, row, side = 0.54, pitch + SMALL_LINE, pitch - 0.06
    page = Page(PAGE_WIDTH, top + row * ROWS + 0.1)
    known = f"; {dataset.test.objects_known:,} of {len(dataset.test):,} test images say where the object is"
    page.headline(title, f"test images, drawn at random{known if masks is not None else ''}")
    for i, picture in enumerate(pictures):
        x, y = MARGIN + (i % COLUMNS) * pitch, top + (i // COLUMNS) * row
        page.picture(x, y, side, Photograph(picture, mask=None if masks is None else masks[i]))
        page.text(x + side / 2, y + side + 0.02, dataset.classes[chosen.labels[i]], SMALL, side, ha="center", va="top")
    return page.figure
