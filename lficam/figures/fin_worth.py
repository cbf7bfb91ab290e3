"""Extra figure 7: what the FIN is worth, by replacing the importance that it learned, and by training without it."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from lficam.figures.architecture import cost_of
from lficam.figures.charts import Chart, Dots, in_rows
from lficam.figures.measured import Judged, Measured
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.tables import with_interval
from lficam.figures.verdicts import judge
from lficam.metrics.importance import IMPORTANCES, effective_channels, replaced_importance, swap_importance
from lficam.metrics.intervals import interval, known_interval
from lficam.metrics.localisation import localisation
from lficam.metrics.similarity import iou
from lficam.model.cam import resize_map
from lficam.model.devices import on_best_device
from lficam.training.explain import correct
from lficam.training.runs import Run, RunRecord

WITHOUT = "trained without FIN"
_LABELS = {
    "accuracy": "test accuracy",
    "energy": "energy inside the mask",
    "iou_with_learned": "IoU with the map as learned",
    "effective_channels": "effective channels",
}


def importance_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """The map and the accuracy under the learned, a uniform, a random and a permuted importance, and without a FIN; E7, E8."""
    return importance_chart(experiment, measure_importance(experiment, runs), runs)


def measure_importance(experiment: Experiment, runs: Sequence[Run]) -> Measured:
    """What becomes of the runs' maps and answers when their importance is replaced, and what those without FIN answer."""
    without = [run for run in runs if run.config.method == "lfi-cam-without-fin"]
    runs = [run for run in runs if run.config.method == "lfi-cam"]
    index = experiment.judged_images(runs[0].dataset)
    labels = runs[0].dataset.test.labels[index]
    scores = {kind: _under(kind, runs, index) for kind in IMPORTANCES}
    scores[WITHOUT] = {"accuracy": torch.stack([correct(run.explained.probabilities[index], labels) for run in without])}
    return Measured(scores, runs[0].sources(index), [run.config.seed for run in runs], [run.id for run in (*runs, *without)])


def importance_chart(experiment: Experiment, measured: Measured, runs: Sequence[RunRecord]) -> Result:
    """The figure, from what was measured of the runs."""
    judged, panels = judge_importance(measured), []
    means = judged.table[judged.table["seed"] == "all"]
    for metric, label in _LABELS.items():
        if metric in means:
            rows = means.dropna(subset=metric)
            values = rows[[metric, f"{metric}_low", f"{metric}_high"]].to_numpy().tolist()
            names = [kind if kind == WITHOUT else f"LFI-CAM, {kind}" for kind in rows["importance"]]
            panels.append(Dots(label, names, values))
    by_id = {run.id: run for run in runs}
    runs = [by_id[id] for id in measured.runs]
    chart = Chart(experiment.title, experiment.source, in_rows(panels, 2), _footnote(experiment, runs, len(measured.sources)))
    return Result(experiment, chart, judged.table, judged.verdicts, tuple(runs), measured=measured, remarks=judged.remarks)


def judge_importance(measured: Measured) -> Judged:
    """One row a kind of importance, and the learned one by seed; E7, E8, and what training with the FIN is worth."""
    values, sources, rows = measured.values, measured.sources, []
    for kind, found in values.items():
        row = {"importance": kind, "seed": "all"}
        for metric, scores in found.items():
            row |= with_interval(metric, known_interval(scores, sources))
        rows.append(row)
    for k, seed in enumerate(measured.seeds):
        means = {metric: scores[k].double().nanmean().item() for metric, scores in values["learned"].items()}
        rows.append({"importance": "learned", "seed": seed} | means)
    gain = {metric: scores - values["uniform"][metric] for metric, scores in values["learned"].items()}
    on_object = known_interval(gain["energy"], sources) if "energy" in gain else None
    verdicts = (
        judge("E7", on_object, "the data set has no masks of its objects"),
        judge("E8", interval(gain["accuracy"], sources)),
    )
    return Judged(pd.DataFrame(rows), verdicts, (_worth_of_training(values, sources),))


def _worth_of_training(values: Mapping[str, Mapping[str, Tensor]], sources: Sequence[str]) -> str:
    learned, without = values["learned"]["accuracy"], values[WITHOUT]["accuracy"]
    gain = interval(learned - without, sources)
    differ = "more with it" if gain.low > 0 else "less with it" if gain.high < 0 else "which may be chance"
    return (
        f"Trained with the FIN, accuracy is {learned.mean():.3f} against {without.mean():.3f} of networks trained without it: a "
        f"difference of {gain}, {differ} ({len(learned)} seeds)"
    )


def _under(kind: str, runs: Sequence[Run], index: Sequence[int]) -> dict[str, Tensor]:
    """Metric -> (S, N) of the runs when their importance is replaced by another kind."""
    scores = {}
    for run in runs:
        size = (run.config.image_size,) * 2
        importance = replaced_importance(kind, run.explained.importance[index], run.config.seed)
        with on_best_device(run.model):
            cams, probabilities = swap_importance(run.model, run.inputs(index), importance)
        found = {"accuracy": correct(probabilities, run.dataset.test.labels[index])} | localisation(cams, run.masks(index))
        found["iou_with_learned"] = iou(resize_map(cams, size), resize_map(run.explained.cam[index], size))
        found["effective_channels"] = effective_channels(importance)
        for metric, values in found.items():
            scores.setdefault(metric, []).append(values)
    return {metric: torch.stack(values) for metric, values in scores.items()}


def _footnote(experiment: Experiment, runs: Sequence[RunRecord], images: int) -> str:
    run = next(run for run in runs if run.config.method == "lfi-cam")
    with torch.device("meta"):  # its shape alone
        model = run.architecture()
    cost = cost_of(model, run.config.image_size)
    return (
        f"{experiment.varied}; {images} test images; bars: 95 % intervals over images and models. "
        f"Effective channels: exp of the importance's entropy, {model.num_features} when it is uniform. "
        f"The FIN holds {cost.fin_share_of_parameters:.0%} of the parameters and takes {cost.fin_share:.0%} of the multiply-adds."
    )
