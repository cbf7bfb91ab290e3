"""A data set at a glance: some of its test images, with the outline of the object where it is known."""

import torch
from matplotlib.figure import Figure
from torch.nn import functional as F

from lficam.data.samples import Dataset, shuffled
from lficam.figures.grid import DPI, LINE, PAGE_WIDTH, TEXT, headline

COLUMNS, ROWS = 6, 4
SIDE = 160  # pixels
OUTLINE = "#00e5ff"  # which photographs seldom have


def contact_sheet(dataset: Dataset, title: str) -> Figure:
    """The first test images of the shuffle that the figures take theirs from, squashed to squares as the networks see them."""
    chosen = dataset.test.take(shuffled(len(dataset.test))[: COLUMNS * ROWS])
    (pictures,) = chosen.crops(SIDE, "none", len(chosen), torch.device("cpu"))
    masks = chosen.masks(SIDE, "none")
    pitch = (PAGE_WIDTH - 0.2) / COLUMNS
    top, row = 0.52, pitch + LINE
    height = top + row * ROWS + 0.1
    figure = Figure(figsize=(PAGE_WIDTH, height), dpi=DPI)
    known = f"; {dataset.test.objects_known:,} of {len(dataset.test):,} test images say where the object is"
    headline(figure, title, f"test images, drawn at random{known if masks is not None else ''}", height)
    for i, picture in enumerate(pictures):
        x, y, width = 0.1 + (i % COLUMNS) * pitch, top + (i // COLUMNS) * row, pitch - 0.06
        axes = figure.add_axes((x / PAGE_WIDTH, 1 - (y + width) / height, width / PAGE_WIDTH, width / height))
        axes.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
        if masks is not None and masks[i].any():
            outside = F.pad(masks[i, 0].float(), (1, 1, 1, 1))  # an object that fills the picture has an outline, too
            places = range(-1, SIDE + 1)
            axes.contour(places, places, outside.numpy(), levels=[0.5], colors=[OUTLINE], linewidths=1)
            axes.set(xlim=(-0.5, SIDE - 0.5), ylim=(SIDE - 0.5, -0.5))
        axes.set_axis_off()
        name = dataset.classes[chosen.labels[i]]
        figure.text((x + width / 2) / PAGE_WIDTH, 1 - (y + width + 0.02) / height, name[:22], fontsize=TEXT, ha="center", va="top")
    return figure
