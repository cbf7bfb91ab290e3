"""Extra figure 9: LFI-CAM on small networks of every kind that the supplement names, and on a customised one."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from lficam.figures.architecture import cost_of
from lficam.figures.explanations import anyones_maps, input_panel, means_of, prediction, shown_masks
from lficam.figures.grid import Grid, Panel, rounded
from lficam.figures.measured import Judged, Measured
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.small_trunks import SMALL_TRUNKS
from lficam.metrics.localisation import localisation
from lficam.training.explain import correct
from lficam.training.runs import Run


def trunks_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """The maps of one network of each kind on the same test images, with what it costs and how well it classifies."""
    first = runs[0]
    shown, values = experiment.shown_images(first.dataset), {}
    panels = [input_panel(first, i, row, 0) for row, i in enumerate(shown)]
    for column, run in enumerate(runs, 1):
        values[SMALL_TRUNKS[run.config.trunk]] = _measure(run)
        for row, i in enumerate(shown):
            panels.append(Panel(run.explained.ids[i], row, column, prediction(run, i), rounded(run.explained.cam[i])))
    measured = Measured(values, first.sources())
    judged = judge_trunks(measured)
    chance = anyones_maps(first.masks())
    footnote = (
        "Under each map: predicted class and its probability; × marks a wrong one. M: millions, multiply-adds of one image. "
        "What each classifies without LFI-CAM is not measured here."
    )
    if chance:
        inside = next(iter(chance.values()))["energy"].nanmean()
        footnote += f" Inside: mean share of the map's sum on the true object; of a map that is the same everywhere {inside:.2f}."
    grid = Grid(
        experiment.title,
        experiment.source,
        ["input", *values],
        [""] * len(shown),
        panels,
        settings=_over_the_columns(judged.table),
        footnote=footnote,
    )
    pictures, masks = first.pictures(shown), shown_masks(first, shown)
    return Result(experiment, grid, judged.table, (), tuple(runs), pictures, masks, measured, judged.remarks)


def judge_trunks(measured: Measured) -> Judged:
    """One row a trunk."""
    table = pd.DataFrame([{"trunk": name} | means_of(found, measured.sources) for name, found in measured.values.items()])
    accuracy, share = 100 * table["test_accuracy"], 100 * table["fin_share"]
    remark = (
        f"LFI-CAM on {len(table)} kinds of trunks: test accuracy {accuracy.min():.1f} to {accuracy.max():.1f} %, "
        f"{share.min():.0f} to {share.max():.0f} % of the multiply-adds are the FIN's"
    )
    return Judged(table, (), (remark,))


def _measure(run: Run) -> Mapping[str, Tensor]:
    """For each test image; what all have in common, too."""
    right, cells = correct(run.explained.probabilities, run.dataset.test.labels), run.explained.cam.shape[-1]
    cost = cost_of(run.model, run.config.image_size)
    common = {
        "features": run.model.num_features,
        "map_side": cells,
        "parameters_millions": cost.parameters,
        "multiply_adds_millions": 1000 * cost.multiply_adds,
        "fin_share": cost.fin_share,
    }
    scores = localisation(run.explained.cam, run.masks())
    return {"test_accuracy": right} | scores | {name: torch.full((len(right),), float(value)) for name, value in common.items()}


def _over_the_columns(table: pd.DataFrame) -> dict[str, list[str]]:
    """What stands over the maps of each trunk."""
    rows = {
        "features, map": [f"{row.features:.0f}, {row.map_side:.0f}×{row.map_side:.0f}" for row in table.itertuples()],
        "parameters": [f"{value:.2f} M" for value in table["parameters_millions"]],
        "multiply-adds": [f"{value:.1f} M" for value in table["multiply_adds_millions"]],
        "accuracy": [f"{100 * value:.1f} %" for value in table["test_accuracy"]],
    }
    if "energy" in table:
        rows["inside"] = [f"{value:.2f}" for value in table["energy"]]
    return rows
