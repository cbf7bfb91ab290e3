"""Extra figure 6: what it means that a map is the same for every class, shown on pictures of two objects.

Source: the grid pointing game of Böhle, Fritz, Schiele, "Convolutional Dynamic Alignment Networks for Interpretable
Classifications", CVPR 2021, with two cells.
"""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from lficam.errors import InputError
from lficam.figures.charts import Chart, Dots
from lficam.figures.grid import Grid, Panel, in_two_lines, rounded
from lficam.figures.measured import Judged, Measured, stacked
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.tables import with_interval
from lficam.metrics import map_names
from lficam.metrics.baselines import baseline_maps
from lficam.metrics.intervals import interval
from lficam.metrics.localisation import energy
from lficam.model.abn import ABN
from lficam.model.cam import resize_map
from lficam.model.devices import on_best_device
from lficam.model.plain import Plain
from lficam.training.explain import BATCH, explain_batches
from lficam.training.runs import Run, RunRecord


def two_objects_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Two test images of different classes side by side, and where the maps look when asked for one of them."""
    runs = [run for run in runs if run.config.method in experiment.methods]
    index, measured, maps = _measured(experiment, runs)
    grid, images = _grid(experiment, runs[0], index[: experiment.shown], maps)
    return Result(experiment, grid, judge_two_objects(measured).table, (), tuple(runs), images, measured=measured)


def measure_two_objects(experiment: Experiment, runs: Sequence[Run]) -> Measured:
    """How much of the runs' maps lies on the object that they are asked for, without a picture."""
    return _measured(experiment, [run for run in runs if run.config.method in experiment.methods])[1]


def two_objects_chart(experiment: Experiment, measured: Measured, runs: Sequence[RunRecord]) -> Result:
    """The same as a chart, which shows no pictures, from what was measured of the runs."""
    judged = judge_two_objects(measured)
    table = judged.table
    panels = [
        Dots(label, table["map"].tolist(), table[[share, f"{share}_low", f"{share}_high"]].to_numpy().tolist(), mark=0.5)
        for share, label in SHARES.items()
    ]
    footnote = (
        f"{experiment.varied} of each method; {len(measured.sources)} pictures of two test images of different classes, side by "
        "side; bars: 95 % intervals over pictures and models. Dashed: half of the map, as of one that does not tell the two apart."
    )
    chart = Chart(experiment.title, experiment.source, [panels], footnote)
    by_id = {run.id: run for run in runs}
    return Result(experiment, chart, table, (), tuple(by_id[id] for id in measured.runs), measured=measured)


SHARES = {
    "share_in_asked_half": "share of the map on the object asked for",
    "share_in_more_probable_half": "share on the more probable one",
}


def _measured(experiment: Experiment, runs: Sequence[Run]) -> tuple[Tensor, Measured, dict[str, tuple[Tensor, Tensor]]]:
    """Positions (N, 2) of the images left and right, what was measured, and each map of its first model."""
    index = torch.tensor(experiment.judged_images(runs[0].dataset))
    index = index[pairs_of_classes(runs[0].dataset.test.labels[index])]
    labels = runs[0].dataset.test.labels[index]
    scores, shown = {}, {}
    for run in runs:
        images = side_by_side(run.inputs(index.flatten().tolist()))
        probabilities, maps = _look(run, images, labels)
        more_probable = probabilities.gather(1, labels).argmax(1)  # (N,): 0 left, 1 right
        for name, cams in maps.items():
            halves = shares_of_halves(cams, images.shape[-2:])
            found = scores.setdefault(name, {share: [] for share in SHARES})
            found["share_in_asked_half"].append(halves.mean(1))
            found["share_in_more_probable_half"].append(halves.gather(1, more_probable[:, None])[:, 0])
            shown.setdefault(name, cams)
    sources = runs[0].sources(index[:, 0].tolist())
    return index, Measured(stacked(scores), sources, runs=[run.id for run in runs]), shown


def judge_two_objects(measured: Measured) -> Judged:
    """One row a map."""
    rows = []
    for name, found in measured.values.items():
        row = {"map": name, "models": len(found["share_in_asked_half"])}
        for share, values in found.items():
            row |= with_interval(share, interval(values, measured.sources))
        rows.append(row)
    return Judged(pd.DataFrame(rows))


def pairs_of_classes(labels: Tensor) -> Tensor:
    """Positions of pairs of different labels (N,), (M, 2): each with the next one that is left; none is used twice.

    Raises InputError if all are the same.
    """
    left, pairs = list(range(len(labels))), []
    while left:
        first = left.pop(0)
        partner = next((k for k in left if labels[k] != labels[first]), None)
        if partner is not None:
            left.remove(partner)
            pairs.append((first, partner))
    if not pairs:
        raise InputError(f"all {len(labels)} images are of one class: two are needed to show them side by side")
    return torch.tensor(pairs)


def side_by_side(images: Tensor) -> Tensor:
    """(2N, c, h, w), left and right one in turn -> (N, c, h, 2w)."""
    return torch.cat([images[::2], images[1::2]], 3)


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
        if isinstance(run.model, ABN):
            return explained.probabilities, {map_names.ABN: (explained.cam,) * 2}
        if isinstance(run.model, Plain):
            images, labels = images.to(device), labels.to(device)
            of_class = (explain_batches(run.model, images.split(BATCH), classes=labels[:, side]).cam for side in (0, 1))
            return explained.probabilities, {map_names.PLAIN: tuple(of_class)}
        of_class = tuple(baseline_maps(map_names.GRAD_CAM, run.model, images, labels[:, side]) for side in (0, 1))
    return explained.probabilities, {map_names.LFI_CAM: (explained.cam,) * 2, map_names.GRAD_CAM_OF_LFI_CAM: of_class}


def _grid(
    experiment: Experiment, run: Run, index: Tensor, maps: dict[str, tuple[Tensor, Tensor]]
) -> tuple[Grid, dict[str, Tensor]]:
    """The first pictures (M, 2) with the maps of one model each, and the pictures."""
    alone = side_by_side(torch.stack(list(run.pictures(index.flatten().tolist()).values())))
    columns = {"input": None}
    columns |= {f"{in_two_lines(name)},\nany class": (name, 0) for name in (map_names.LFI_CAM, map_names.ABN)}
    columns |= {
        f"{in_two_lines(name)},\nclass on the {side}": (name, k)
        for name in (map_names.GRAD_CAM_OF_LFI_CAM, map_names.PLAIN)
        for k, side in enumerate(("left", "right"))
    }
    images, panels = {}, []
    for row, (picture, pair) in enumerate(zip(alone, index.tolist(), strict=True)):
        id = " | ".join(run.dataset.test.ids[i] for i in pair)
        images[id] = picture
        names = [run.classes[run.dataset.test.labels[i]] for i in pair]
        panels.append(Panel(id, row, 0, " and ".join(names)))
        for column, (name, side) in enumerate(list(columns.values())[1:], 1):
            cams = tuple(cam[row : row + 1] for cam in maps[name])
            share = shares_of_halves(cams, picture.shape[-2:])[0, side]
            panels.append(Panel(id, row, column, f"{share:.0%} on {names[side]}", rounded(cams[side][0])))
    footnote = "Under each map: how much of its sum lies on the half with the class named."
    titles = [""] * len(index)
    return Grid(experiment.title, experiment.source, list(columns), titles, panels, footnote=footnote), images
