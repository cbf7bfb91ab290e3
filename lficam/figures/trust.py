"""Extra figures 4 and 5: do the maps explain their models? Faithfulness and a sanity check.

Both are measured on several models of every method, which differ in their seed, and on the same test images; the intervals
are over images and models (`intervals`).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from lficam.data import digits
from lficam.data.augmentation import normalize
from lficam.figures.charts import Chart, Dots, Lines
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.tables import with_interval
from lficam.figures.verdicts import judge
from lficam.metrics import map_names
from lficam.metrics.baselines import BASELINES, baseline_maps, random_maps
from lficam.metrics.faithfulness import blurred, insertion_deletion
from lficam.metrics.intervals import Interval, interval, known_interval, pair_interval
from lficam.metrics.localisation import localisation
from lficam.metrics.sanity import cascade, each_alone
from lficam.metrics.similarity import spearman
from lficam.model.abn import ABN
from lficam.model.devices import on_best_device
from lficam.model.plain import Plain
from lficam.training.explain import BATCH, explain_batches
from lficam.training.runs import Run

# Of a table's quantities, those that the figure shows.
PANELS = {
    "insertion_minus_deletion": "insertion − deletion, mean colour",
    "insertion_minus_deletion_blurred": "the same, blurred",
    "insertion_minus_deletion_black": "the same, black",
    "less_than_own_map_by": "LFI-CAM's own less this one (judged)",
    "pointing": "pointing accuracy",
    "energy": "energy inside the mask",
}


def faithfulness_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Extra figure 4: the models' own maps beside those of other methods for the same models; E4, E5."""
    index = experiment.judged_images(runs[0].dataset)
    sources = runs[0].sources(index)
    scores = _scores(runs, index)
    own = scores[map_names.LFI_CAM]["insertion_minus_deletion"]
    rows = []
    for name, found in scores.items():
        row = {"map": name, "models": len(own), "images": len(index)}
        for metric, values in found.items():
            row |= with_interval(metric, known_interval(values, sources))
        rows.append(row | with_interval("less_than_own_map_by", interval(own - found["insertion_minus_deletion"], sources)))
    table, panels = pd.DataFrame(rows), []
    for metric, label in PANELS.items():
        if metric in table:
            values = table[[metric, f"{metric}_low", f"{metric}_high"]].to_numpy().tolist()
            panels.append(Dots(label, list(scores), values, mark=table.set_index("map")[metric][map_names.RANDOM]))
    footnote = (
        f"{experiment.varied} of each method; {len(index)} test images; bars: 95 % intervals over images and {len(own)} models.\n"
        "Higher is better, but for what is judged, where less means better than LFI-CAM's own; dashed: the random map. A map is\n"
        "judged by its own model and the class that it predicts. Maps of one model compare; ABN, LFI-CAM without FIN and plain\n"
        "are other classifiers, so a difference to their maps is one of models, too. What a hidden pixel shows: the mean colour,\n"
        "the blurred image, black."
    )
    verdicts = [
        judge(question, interval(own - scores[other]["insertion_minus_deletion"], sources))
        for question, other in (("E4", map_names.RANDOM), ("E5", map_names.GRAD_CAM))
    ]
    chart = Chart(experiment.title, experiment.source, panels, footnote)
    return Result(experiment, chart, table, tuple(verdicts), tuple(runs))


def _scores(runs: Sequence[Run], index: Sequence[int]) -> dict[str, dict[str, Tensor]]:
    """Map -> metric -> (S, N)."""
    scores = {}
    for run in runs:
        images, classes = run.inputs(index), run.explained.probabilities[index].argmax(1)
        masks = run.masks(index)
        with on_best_device(run.model):
            for name, cams in _maps_to_judge(run, images, classes, index).items():
                for metric, values in (_faithful(run, images, cams, classes) | localisation(cams, masks)).items():
                    scores.setdefault(name, {}).setdefault(metric, []).append(values)
    return {name: {metric: torch.stack(values) for metric, values in found.items()} for name, found in scores.items()}


def _faithful(run: Run, images: Tensor, cams: Tensor, classes: Tensor) -> dict[str, Tensor]:
    """Insertion and deletion over the mean colour, and their difference over everything that a hidden pixel may show."""
    canvases = {"": None, "_blurred": blurred(images)}
    if run.config.dataset in digits.RECIPES:  # which lie on black
        canvases["_black"] = normalize(torch.zeros(1, 3, 1, 1), run.mean, run.std)
    scores = {}
    for name, under in canvases.items():
        found = insertion_deletion(run.model, images, cams, classes, under=under)
        scores[f"insertion_minus_deletion{name}"] = found["insertion"] - found["deletion"]
        if not name:
            scores |= {metric: found[metric] for metric in ("insertion", "deletion")}
    return scores


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


class _Randomised(NamedTuple):
    """What becomes of one map when weights are drawn anew, of S models on N images.

    down_to, alone: stage -> rank correlations (N,) with each trained model's map: from the output down to it, it alone.
    untrained: the maps (N, 1, u, v) of each model's untrained network.
    """

    down_to: dict[str, list[Tensor]]
    alone: dict[str, list[Tensor]]
    untrained: list[Tensor]


def sanity_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Extra figure 5: rank correlation with the trained model's map while the weights are drawn anew; E6."""
    index = experiment.judged_images(runs[0].dataset)
    sources = runs[0].sources(index)
    found = _randomised(runs, index)
    down_to = {name: _intervals(one.down_to, sources) for name, one in found.items()}
    alone = {name: _intervals(one.alone, sources) for name, one in found.items()}
    alike = {name: _between(one.untrained, sources) for name, one in found.items()}
    rows = []
    for name in found:
        for stage in [*down_to[name], "two untrained networks"]:
            value = down_to[name].get(stage, alike[name])
            row = {"map": name, "drawn_anew": stage, "models": value.models, "images": len(index)}
            rows.append(row | with_interval("down_to_it", value) | with_interval("alone", alone[name].get(stage)))
    stages = list(down_to[map_names.LFI_CAM])
    models = alike[map_names.LFI_CAM].models
    last = [list(of_map[stages[-1]][:3]) for of_map in down_to.values()]
    panels = [
        Lines("drawn anew, from the output down to", "rank correlation", stages, _carried(down_to, stages)),
        Lines("drawn anew, alone", "rank correlation", stages[1:], _unchanged(alone, stages[1:])),
        Dots("rank correlation, all drawn anew", list(found), last, mark=0.0),
        Dots("rank correlation, two untrained networks", list(found), [list(one[:3]) for one in alike.values()], mark=0.0),
    ]
    footnote = (
        f"{experiment.varied} of each method; {len(index)} test images; bars: 95 % intervals over images and {models} models.\n"
        "1: the map ranks its cells as the trained network's does; 0: nothing in common. Grad-CAM, CAM: of the true class. From\n"
        "the output down, the stages below go on as trained, which keeps much of a map. Two untrained: maps of one image by\n"
        "networks that have learned nothing, which agree as far as the image itself decides."
    )
    verdict = judge("E6", interval(1 - torch.stack(found[map_names.LFI_CAM].down_to[stages[-1]]), sources))
    chart = Chart(experiment.title, experiment.source, panels, footnote)
    return Result(experiment, chart, pd.DataFrame(rows), (verdict,), tuple(runs))


def _randomised(runs: Sequence[Run], index: Sequence[int]) -> dict[str, _Randomised]:
    """By the names of the maps."""
    found = {}
    for run in runs:
        classes = run.dataset.test.labels[index]
        with on_best_device(run.model) as device:
            images, untrained = run.inputs(index).to(device), run.untrained().to(device)
            for name, maps_of in _maps_to_check(run, classes).items():
                one = found.setdefault(name, _Randomised({}, {}, []))
                for measure, stages in ((cascade, one.down_to), (each_alone, one.alone)):
                    for stage, values in measure(run.model, untrained, images, maps_of).items():
                        stages.setdefault(_STAGES.get(stage, stage.removeprefix("trunk.")), []).append(values)
                one.untrained.append(maps_of(untrained, images).cpu())
    return found


def _intervals(stages: Mapping[str, Sequence[Tensor]], sources: Sequence[str]) -> dict[str, Interval]:
    return {stage: interval(torch.stack(values), sources) for stage, values in stages.items()}


def _between(maps: Sequence[Tensor], sources: Sequence[str]) -> Interval:
    """Rank correlation between S networks' maps (N, 1, u, v) of the same images, over all pairs."""
    values = torch.zeros(len(maps), len(maps), len(maps[0]))
    for a, b in combinations(range(len(maps)), 2):
        values[a, b] = values[b, a] = spearman(maps[a], maps[b])
    return pair_interval(values, sources)


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


def _carried(measured: Mapping[str, Mapping[str, Interval]], stages: Sequence[str]) -> dict[str, list[float]]:
    """Map -> means; a stage that its model lacks changes nothing."""
    lines = {}
    for name, of_map in measured.items():
        means = []
        for stage in stages:
            means.append(of_map[stage].mean if stage in of_map else means[-1])
        lines[name] = means
    return lines


def _unchanged(measured: Mapping[str, Mapping[str, Interval]], stages: Sequence[str]) -> dict[str, list[float]]:
    """Map -> means; a stage that its model lacks leaves the map as it is."""
    return {name: [of_map[stage].mean if stage in of_map else 1.0 for stage in stages] for name, of_map in measured.items()}
