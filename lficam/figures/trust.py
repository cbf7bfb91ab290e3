"""Extra figures 4 and 5: do the maps explain their models? Faithfulness and a sanity check.

Both are measured on several models of every method, which differ in their seed, and on the same test images; the intervals
resample models and images (`bootstrap`).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import pandas as pd
import torch
from torch import Tensor, nn

from lficam.figures.charts import Chart, Dots, Lines
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.tables import with_interval
from lficam.figures.verdicts import judge
from lficam.metrics import map_names
from lficam.metrics.baselines import BASELINES, baseline_maps, random_maps
from lficam.metrics.bootstrap import Interval, interval, known_interval, pair_interval
from lficam.metrics.faithfulness import faithfulness
from lficam.metrics.localisation import localisation
from lficam.metrics.sanity import cascade
from lficam.metrics.similarity import spearman
from lficam.model.abn import ABN
from lficam.model.devices import on_best_device
from lficam.model.plain import Plain
from lficam.training.explain import BATCH, explain_batches
from lficam.training.runs import Run

LABELS = {
    "insertion": "insertion AUC (higher is better)",
    "deletion": "deletion AUC (lower is better)",
    "average_drop": "average drop (lower is better)",
    "increase": "increase in confidence (higher)",
    "pointing": "pointing accuracy (higher)",
    "energy": "energy inside the mask (higher)",
}


def faithfulness_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Extra figure 4: the models' own maps beside those of other methods for the same models; E4, E5."""
    index = experiment.judged_images(runs[0].dataset)
    sources = runs[0].sources(index)
    scores = _scores(runs, index)
    gain = {name: found["insertion"] - found["deletion"] for name, found in scores.items()}
    rows = []
    for name, found in scores.items():
        row = {"map": name, "models": len(gain[name])}
        for metric, values in (found | {"insertion_minus_deletion": gain[name]}).items():
            row |= with_interval(metric, known_interval(values, sources))
        rows.append(row | with_interval("less_than_own_map_by", interval(gain[map_names.LFI_CAM] - gain[name], sources)))
    table = pd.DataFrame(rows)
    panels = []
    for metric in scores[map_names.LFI_CAM]:
        values = table[[metric, f"{metric}_low", f"{metric}_high"]].to_numpy().tolist()
        panels.append(Dots(LABELS[metric], list(scores), values, mark=scores[map_names.RANDOM][metric].nanmean().item()))
    footnote = (
        f"{experiment.varied} of each method; {len(index)} test images; bars: 95 % intervals over images and models.\n"
        "Dashed: the random map. A map is judged by its own model and the class that it predicts; ABN, LFI-CAM without FIN and\n"
        "plain are other classifiers, so a difference to their maps is one of models, too. Hidden pixels are 0 in the input."
    )
    verdicts = (
        judge("E4", interval(gain[map_names.LFI_CAM] - gain[map_names.RANDOM], sources)),
        judge("E5", interval(gain[map_names.LFI_CAM] - gain[map_names.GRAD_CAM], sources)),
    )
    chart = Chart(experiment.title, experiment.source, panels, footnote)
    return Result(experiment, chart, table, verdicts, tuple(runs))


def _scores(runs: Sequence[Run], index: Sequence[int]) -> dict[str, dict[str, Tensor]]:
    """Map -> metric -> (S, N)."""
    scores = {}
    for run in runs:
        images, classes = run.inputs(index), run.explained.probabilities[index].argmax(1)
        masks = run.masks(index)
        with on_best_device(run.model):
            for name, cams in _maps_to_judge(run, images, classes, index).items():
                found = faithfulness(run.model, images, cams, classes) | localisation(cams, masks)
                for metric, values in found.items():
                    scores.setdefault(name, {}).setdefault(metric, []).append(values)
    return {name: {metric: torch.stack(values) for metric, values in found.items()} for name, found in scores.items()}


def _maps_to_judge(run: Run, images: Tensor, classes: Tensor, index: Sequence[int]) -> dict[str, Tensor]:
    """Name -> (N, 1, u, v)."""
    cams, mean_features = run.explained.cam[index], run.explained.mean_features[index]
    if isinstance(run.model, ABN):
        return {map_names.ABN: cams}
    if isinstance(run.model, Plain):
        return {map_names.PLAIN: cams}
    if run.model.fin is None:
        return {map_names.MEAN_WITHOUT_FIN: mean_features}
    return {
        map_names.LFI_CAM: cams,
        map_names.MEAN_WITH_FIN: mean_features,
        **{name: baseline_maps(name, run.model, images, classes) for name in BASELINES},
        map_names.RANDOM: random_maps(len(images), cams.shape[-1], run.config.seed),
    }


def sanity_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Extra figure 5: rank correlation with the trained model's map while the weights are drawn anew, from the output on; E6."""
    index = experiment.judged_images(runs[0].dataset)
    sources = runs[0].sources(index)
    found, untrained = _cascades(runs, index)
    measured = {name: {stage: interval(values, sources) for stage, values in of_map.items()} for name, of_map in found.items()}
    alike = {name: _between(maps, sources) for name, maps in untrained.items()}
    stages = list(measured[map_names.LFI_CAM])
    rows = [
        {"map": name, "drawn_anew_down_to": stage} | with_interval("rank_correlation", value)
        for name, of_map in measured.items()
        for stage, value in (of_map | {"two untrained networks": alike[name]}).items()
    ]
    lines = {name: _carried(of_map, stages) for name, of_map in measured.items()}
    last = {name: of_map[stages[-1]] for name, of_map in measured.items()}
    last |= {f"{name}, two untrained": value for name, value in alike.items()}
    panels = [
        Lines("weights drawn anew, from the output down to", "rank correlation with the trained map", stages, lines),
        Dots("rank correlation, all weights drawn anew", list(last), [list(value) for value in last.values()], mark=0.0),
    ]
    footnote = (
        f"{experiment.varied} of each method; {len(index)} test images; bars: 95 % intervals over images and models.\n"
        "1: the map ranks its cells as the trained network's does; 0: nothing in common. Grad-CAM, CAM: of the true class.\n"
        "Two untrained: maps of one image by networks that have learned nothing, which agree as far as the image itself decides."
    )
    verdict = judge("E6", interval(1 - found[map_names.LFI_CAM][stages[-1]], sources))
    chart = Chart(experiment.title, experiment.source, panels, footnote)
    return Result(experiment, chart, pd.DataFrame(rows), (verdict,), tuple(runs))


def _cascades(runs: Sequence[Run], index: Sequence[int]) -> tuple[dict[str, dict[str, Tensor]], dict[str, list[Tensor]]]:
    """Map -> stage -> rank correlations (S, N); map -> that of each run's untrained network (N, 1, u, v)."""
    found, untrained_maps = {}, {}
    for run in runs:
        classes = run.dataset.test.labels[index]
        with on_best_device(run.model) as device:
            images, untrained = run.inputs(index).to(device), run.untrained().to(device)
            for name, maps_of in _maps_to_check(run, classes).items():
                for stage, values in cascade(run.model, untrained, images, maps_of).items():
                    found.setdefault(name, {}).setdefault(_STAGES.get(stage, stage), []).append(values)
                untrained_maps.setdefault(name, []).append(maps_of(untrained, images).cpu())
    found = {name: {stage: torch.stack(values) for stage, values in of_map.items()} for name, of_map in found.items()}
    return found, untrained_maps


def _between(maps: Sequence[Tensor], sources: Sequence[str]) -> Interval:
    """Rank correlation between S networks' maps (N, 1, u, v) of the same images, over all pairs."""
    values = torch.zeros(len(maps), len(maps), len(maps[0]))
    for a, b in combinations(range(len(maps)), 2):
        values[a, b] = values[b, a] = spearman(maps[a], maps[b])
    return pair_interval(values, sources, over="images and models")


# What stands between trunk and classifier: LFI-CAM has a FIN there, ABN an attention branch.
_STAGES = {"fin": "FIN or branch", "attention_branch": "FIN or branch"}


def _maps_to_check(run: Run, classes: Tensor) -> dict[str, Callable[[nn.Module, Tensor], Tensor]]:
    """Name -> (model, images) -> (N, 1, u, v)."""

    def own(model: nn.Module, images: Tensor) -> Tensor:
        return explain_batches(model, images.split(BATCH)).cam

    if isinstance(run.model, ABN):
        return {map_names.ABN: own}
    if isinstance(run.model, Plain):
        return {map_names.PLAIN: lambda model, images: explain_batches(model, images.split(BATCH), classes=classes).cam}
    if run.model.fin is None:
        return {map_names.MEAN_WITHOUT_FIN: own}
    return {
        map_names.LFI_CAM: own,
        map_names.GRAD_CAM: lambda model, images: baseline_maps(map_names.GRAD_CAM, model, images, classes),
    }


def _carried(measured: Mapping[str, Interval], stages: Sequence[str]) -> list[float]:
    """The means; a stage that a model lacks changes nothing."""
    means = []
    for stage in stages:
        means.append(measured[stage].mean if stage in measured else means[-1])
    return means
