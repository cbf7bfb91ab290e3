"""Extra figure 7: what the FIN is worth, by replacing the importance that it learned in a trained network."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from lficam.figures.architecture import fin_share
from lficam.figures.charts import Chart, Dots
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.tables import with_interval
from lficam.figures.verdicts import Verdict, judge
from lficam.metrics.importance import IMPORTANCES, effective_channels, replaced_importance, swap_importance
from lficam.metrics.intervals import interval, known_interval
from lficam.metrics.localisation import localisation
from lficam.metrics.similarity import iou
from lficam.model.cam import resize_map
from lficam.model.devices import on_best_device
from lficam.training.runs import Run


def importance_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """The map and the accuracy under the learned, a uniform, a random and a permuted importance; E7, E8."""
    runs = [run for run in runs if run.config.method in experiment.methods]
    index = experiment.judged_images(runs[0].dataset)
    sources = runs[0].sources(index)
    scores = {kind: _under(kind, runs, index) for kind in IMPORTANCES}
    rows = []
    for kind, found in scores.items():
        row = {"importance": kind, "seed": "all"}
        for metric, values in found.items():
            row |= with_interval(metric, known_interval(values, sources))
        rows.append(row)
    for k, run in enumerate(runs):
        means = {metric: values[k].double().nanmean().item() for metric, values in scores["learned"].items()}
        rows.append({"importance": "learned", "seed": run.config.seed} | means)
    table = pd.DataFrame(rows)
    panels = []
    for metric, label in _LABELS.items():
        if metric in table:
            values = table.loc[table["seed"] == "all", [metric, f"{metric}_low", f"{metric}_high"]].to_numpy().tolist()
            panels.append(Dots(label, list(scores), values, mark=values[0][0]))
    chart = Chart(experiment.title, experiment.source, panels, _footnote(experiment, runs[0], len(index)))
    return Result(experiment, chart, table, _verdicts(scores, sources), tuple(runs))


_LABELS = {
    "accuracy": "test accuracy",
    "energy": "energy inside the mask",
    "iou_with_learned": "IoU with the map as learned",
    "effective_channels": "effective channels",
}


def _under(kind: str, runs: Sequence[Run], index: Sequence[int]) -> dict[str, Tensor]:
    """Metric -> (S, N) of the runs when their importance is replaced by another kind."""
    scores = {}
    for run in runs:
        test, size = run.dataset.test.take(index), (run.config.image_size,) * 2
        importance = replaced_importance(kind, run.explained.importance[index], run.config.seed)
        with on_best_device(run.model):
            cams, probabilities = swap_importance(run.model, run.inputs(index), importance)
        found = {"accuracy": (probabilities.argmax(1) == test.labels).float()} | localisation(cams, run.masks(index))
        found["iou_with_learned"] = iou(resize_map(cams, size), resize_map(run.explained.cam[index], size))
        found["effective_channels"] = effective_channels(importance)
        for metric, values in found.items():
            scores.setdefault(metric, []).append(values)
    return {metric: torch.stack(values) for metric, values in scores.items()}


def _verdicts(scores: Mapping[str, Mapping[str, Tensor]], sources: Sequence[str]) -> tuple[Verdict, Verdict]:
    gain = {metric: values - scores["uniform"][metric] for metric, values in scores["learned"].items()}
    on_object = known_interval(gain["energy"], sources) if "energy" in gain else None
    return (
        judge("E7", on_object, "the data set has no masks of its objects"),
        judge("E8", interval(gain["accuracy"], sources)),
    )


def _footnote(experiment: Experiment, run: Run, images: int) -> str:
    share = fin_share(run.model, run.config.image_size)
    return (
        f"{experiment.varied}; {images} test images; bars: 95 % intervals over images and models; dashed: as learned.\n"
        f"Effective channels: exp of the importance's entropy, {run.model.num_features} when it is uniform.\n"
        f"The FIN holds {share.parameters:.0%} of the parameters and takes {share.multiply_adds:.0%} of the multiply-adds."
    )
