"""Do explanations generalise, and do they tell right from wrong? MeGe and ReCo of models that each held out another part."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from lficam.data.samples import held_out
from lficam.figures.charts import Chart, Dots
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.metrics.mege_reco import Consistency, distances, mege_reco
from lficam.model.cam import resize_map
from lficam.model.methods import METHODS
from lficam.training.config import RunConfig
from lficam.training.runs import RunRecord

FOLDS = 5


def in_folds(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """The first config of each method trained without each of five parts; each fold has a seed of its own."""
    first = {config.method: config for config in reversed(configs)}.values()
    return [
        config.model_copy(update={"fold": f"{k + 1}/{FOLDS}", "seed": config.seed + k}) for config in first for k in range(FOLDS)
    ]


def folds_figure(experiment: Experiment, runs: Sequence[RunRecord]) -> Result:
    """MeGe and ReCo of each method, from its models of all folds (`RunConfig.fold`) on all training images."""
    found = {METHODS[method].title: _of_method(method, runs) for method in experiment.methods}
    table = pd.DataFrame([{"method": title} | _row(one) for title, one in found.items()])
    names, consistent = [], []
    for title, one in found.items():
        if one.null is not None:
            names += [title, f"{title}, by chance"]
            consistent += [[one.reco] * 3, [one.null.mean().item(), *_bounds(one.null)]]
    panels = [Dots("MeGe", list(found), [[one.mege] * 3 for one in found.values()])]
    panels += [Dots("ReCo", names, consistent, zero=True)] if names else []
    footnote = (
        f"{len(runs) // len(found)} models of each method with seeds of their own, each trained without another fifth. "
        "Higher is better. MeGe: how alike the maps of an image are by a model that learned it and one that did not, where "
        "both are right. ReCo: how well their distance tells whether both are right or one is. By chance: when images "
        "exchange who is right about them (bar: 95 %). Fel et al., WACV 2022."
    )
    return Result(experiment, Chart(experiment.title, experiment.source, [panels], footnote), table, (), tuple(runs))


def _of_method(method: str, runs: Sequence[RunRecord]) -> Consistency:
    runs = [run for run in runs if run.config.method == method]
    train = (runs[0].kept.answers["split"] == "train").tolist()
    answers = [run.kept.answers[train] for run in runs]
    part = torch.empty(len(answers[0]), dtype=torch.int64)
    for k, run in enumerate(runs):
        part[held_out(len(part), run.config.fold)] = k
    size = (runs[0].config.image_size,) * 2
    name = "cam_of_label" if "cam_of_label" in runs[0].kept.maps else "cam"  # of all classes
    maps = torch.stack([resize_map(run.kept.maps[name][train], size) for run in runs])
    right = torch.tensor([(own["predicted"] == own["label"]).tolist() for own in answers])
    return mege_reco(distances(maps, part), right, part)


def _row(one: Consistency) -> dict[str, float | int]:
    row = {"mege": one.mege, "same": one.same, "different": one.different}
    if one.null is not None:
        low, high = _bounds(one.null)
        row |= {"reco": one.reco, "reco_by_chance": one.null.mean().item(), "reco_by_chance_low": low, "reco_by_chance_high": high}
    return row


def _bounds(null: Tensor) -> list[float]:
    """Between which 95 % of it lie."""
    return null.quantile(torch.tensor([0.025, 0.975])).tolist()
