"""Extra figure 7: what the FIN is worth, by replacing the importance that it learned in a trained network."""

from collections.abc import Sequence

import pandas as pd
import torch

from lficam.architecture import fin_share
from lficam.bootstrap import interval
from lficam.cam import resize_map
from lficam.charts import Chart, Dots
from lficam.experiments import Experiment
from lficam.figures import Result
from lficam.importance import IMPORTANCES, effective_channels, replaced_importance, swap_importance
from lficam.inference import on_best_device
from lficam.localisation import localisation
from lficam.runs import Run
from lficam.stability import iou
from lficam.tables import with_interval
from lficam.verdicts import judge

IMAGES = 1000  # at most; the first of a seeded shuffle


def importance_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """The map and the accuracy under the learned, a uniform, a random and a permuted importance; E7, E8."""
    runs = [run for run in runs if run.config.method in experiment.methods]
    index = experiment.shown(runs[0].dataset, IMAGES)
    sources = runs[0].sources(index)
    found = {kind: [_under(kind, run, index) for run in runs] for kind in IMPORTANCES}
    scores = {
        kind: {metric: torch.stack([one[metric] for one in own]) for metric in own[0]} for kind, own in found.items()
    }  # (S, N)
    measured = {kind: {metric: interval(values, sources) for metric, values in own.items()} for kind, own in scores.items()}
    rows = [{"importance": kind, "seed": "all"} for kind in IMPORTANCES]
    for row, own in zip(rows, measured.values(), strict=True):
        for metric, value in own.items():
            row |= with_interval(metric, value)
    learned, uniform = scores["learned"], scores["uniform"]
    for run, one in zip(runs, found["learned"], strict=True):
        rows.append(
            {"importance": "learned", "seed": run.config.seed} | {metric: values.mean().item() for metric, values in one.items()}
        )
    share = fin_share(runs[0].model, runs[0].config.image_size)
    panels = [
        Dots(label, list(measured), [list(own[metric]) for own in measured.values()], measured["learned"][metric].mean)
        for metric, label in _LABELS.items()
        if metric in measured["learned"]
    ]
    footnote = (
        f"{experiment.varied}; {len(index)} test images; bars: 95 % intervals over images and models; dashed: as learned.\n"
        f"Effective channels: exp of the importance's entropy, {runs[0].model.num_features} when it is uniform.\n"
        f"The FIN holds {share.parameters:.0%} of the parameters and takes {share.multiply_adds:.0%} of the multiply-adds."
    )
    energies = [own.get("energy") for own in (learned, uniform)]
    on_object = None if energies[0] is None else interval(energies[0] - energies[1], sources)
    verdicts = (
        judge("E7", on_object, "the data set has no masks of its objects"),
        judge("E8", interval(learned["accuracy"] - uniform["accuracy"], sources)),
    )
    return Result(
        experiment, Chart(experiment.title, experiment.source, panels, footnote), pd.DataFrame(rows), verdicts, tuple(runs)
    )


_LABELS = {
    "accuracy": "test accuracy",
    "energy": "energy inside the mask",
    "iou_with_learned": "IoU with the map as learned",
    "effective_channels": "effective channels",
}


def _under(kind: str, run: Run, index: Sequence[int]) -> dict[str, torch.Tensor]:
    """Metric -> (N,) of a run whose importance is replaced by another kind."""
    explained, test = run.explained, run.dataset.test
    importance = replaced_importance(kind, explained.importance[index], run.config.seed)
    with on_best_device(run.model):
        cams, probabilities = swap_importance(run.model, run.inputs(index), importance)
    size = (run.config.image_size,) * 2
    scores = {"accuracy": (probabilities.argmax(1) == test.labels[index]).float()}
    scores |= localisation(cams, None if test.masks is None else test.masks[index])
    scores["iou_with_learned"] = iou(resize_map(cams, size), resize_map(explained.cam[index], size))
    scores["effective_channels"] = effective_channels(importance)
    return scores
