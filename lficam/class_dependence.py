"""Extra figure 6: what it means that a map is the same for every class, shown on pictures of two objects.

Source: the grid pointing game of Böhle, Fritz, Schiele, "Convolutional Dynamic Alignment Networks for Interpretable
Classifications", CVPR 2021, with two cells.
"""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from lficam.baselines import baseline_maps
from lficam.bootstrap import interval
from lficam.cam import resize_map
from lficam.experiments import Experiment
from lficam.figures import Result, pictures
from lficam.inference import explain_batches, on_best_device
from lficam.localisation import energy
from lficam.plots import Grid, Panel, rounded
from lficam.runs import Run
from lficam.tables import with_interval

IMAGES = 100  # the first of a seeded shuffle; each is the left one of a picture
BATCH = 64
OWN, ABN, GRAD_CAM = "LFI-CAM's own map", "ABN's own map", "Grad-CAM of LFI-CAM"


def two_objects_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Two test images of different classes side by side, and where the maps look when asked for one of them."""
    runs = [run for run in runs if run.config.method in experiment.methods]
    index = experiment.shown(runs[0].dataset, IMAGES)
    left = runs[0].dataset.test.labels[index]
    partner = partners(left)
    labels = torch.stack([left, left[partner]], 1)  # (N, 2): left and right
    shares, shown = {}, {}  # map -> one (asked, more probable) a model; map -> those of the first model
    for run in runs:
        images = run.inputs(index)
        images = torch.cat([images, images[partner]], 3)  # (N, 3, h, 2w)
        probabilities, maps = _look(run, images, labels)
        more_probable = probabilities.gather(1, labels).argmax(1)  # (N,): 0 left, 1 right
        for name, cams in maps.items():
            halves = shares_of_halves(cams, images.shape[-2:])
            shares.setdefault(name, []).append((halves.mean(1), halves.gather(1, more_probable[:, None])[:, 0]))
            shown.setdefault(name, cams)
    sources, rows = runs[0].sources(index), []
    for name, found in shares.items():
        asked, likely = (torch.stack(values) for values in zip(*found, strict=True))  # (S, N)
        row = {"map": name, "models": len(found)} | with_interval("share_in_asked_half", interval(asked, sources))
        rows.append(row | with_interval("share_in_more_probable_half", interval(likely, sources)))
    grid, images = _grid(experiment, runs[0], index, partner, labels, shown)
    return Result(experiment, grid, pd.DataFrame(rows), (), tuple(runs), images)


def partners(labels: Tensor) -> Tensor:
    """For each of the labels (N,) the position of the next image of another class, (N,); after the last comes the first.

    With a single class each image gets itself.
    """
    count = len(labels)
    order = (torch.arange(count)[:, None] + torch.arange(count)) % count  # row i: i, i + 1, ..., i - 1
    first = (labels[order] != labels[:, None]).int().argmax(1)
    return order[torch.arange(count), first]


def shares_of_halves(cams: tuple[Tensor, Tensor], size: tuple[int, int]) -> Tensor:
    """Of maps (N, 1, u, v) for the left and for the right object, the share of the sum that is in the half asked for: (N, 2)."""
    h, w = size
    in_left = (torch.arange(w) < w // 2).expand(len(cams[0]), 1, h, w)
    left, right = (resize_map(cam, size) for cam in cams)
    return torch.stack([energy(left, in_left), energy(right, ~in_left)], 1)


def _look(run: Run, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """Probabilities (N, C), and name -> the maps for the left and for the right object."""
    with on_best_device(run.model) as device:
        explained = explain_batches(run.model, (part.to(device) for part in images.split(BATCH)))
        if run.config.method == "abn":
            return explained.probabilities, {ABN: (explained.cam,) * 2}
        of_class = tuple(baseline_maps("Grad-CAM", run.model, images, labels[:, side]) for side in (0, 1))
    return explained.probabilities, {OWN: (explained.cam,) * 2, GRAD_CAM: of_class}


def _grid(
    experiment: Experiment, run: Run, index: Sequence[int], partner: Tensor, labels: Tensor, maps: dict[str, tuple[Tensor, Tensor]]
) -> tuple[Grid, dict[str, Tensor]]:
    """The first pictures with the maps of one model each, and the pictures."""
    alone = list(pictures(run, index).values())
    columns = {"input": None, f"{OWN},\nany class": (OWN, 0), f"{ABN},\nany class": (ABN, 0)}
    columns |= {f"{GRAD_CAM},\nclass on the {side}": (GRAD_CAM, k) for k, side in enumerate(("left", "right"))}
    images, panels = {}, []
    for row in range(experiment.rows):
        id = f"{run.dataset.test.ids[index[row]]} | {run.dataset.test.ids[index[partner[row]]]}"
        images[id] = torch.cat([alone[row], alone[partner[row]]], 2)
        left, right = (run.classes[label] for label in labels[row])
        for column, which in enumerate(columns.values()):
            if which is None:
                panels.append(Panel(id, row, column, f"{left} and {right}"))
            else:
                cams = maps[which[0]]
                half = shares_of_halves(tuple(cam[row : row + 1] for cam in cams), images[id].shape[-2:])[0, which[1]]
                caption = f"{half:.0%} on {(left, right)[which[1]]}"
                panels.append(Panel(id, row, column, caption, rounded(cams[which[1]][row])))
    footnote = "Under each map: how much of its sum lies on the half with the class named."
    return Grid(
        experiment.title, experiment.source, list(columns), [""] * experiment.rows, panels, footnote=footnote, aspect=0.5
    ), images
