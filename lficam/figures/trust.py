"""Extra figures 4 and 5: do the maps explain their models? Faithfulness and a sanity check.

Both are measured on several models of every method, which differ in their seed, and on the same test images; the intervals
are over images and models (`intervals`).
"""

from collections.abc import Callable, Sequence
from itertools import combinations

import pandas as pd
import torch
from torch import Tensor, nn

from lficam.data import digits
from lficam.data.augmentation import normalize
from lficam.figures.charts import Chart, Dots, Lines
from lficam.figures.measured import Judged, Measured, stacked
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.tables import with_interval
from lficam.figures.verdicts import judge
from lficam.metrics import map_names
from lficam.metrics.baselines import BASELINES, baseline_maps, random_maps
from lficam.metrics.faithfulness import blurred, insertion_deletion
from lficam.metrics.intervals import interval, known_interval, pair_interval
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
    measured = Measured(_scores(runs, index), runs[0].sources(index))
    judged, panels = judge_faithfulness(measured), []
    table = judged.table
    for metric, label in PANELS.items():
        if metric in table:
            values = table[[metric, f"{metric}_low", f"{metric}_high"]].to_numpy().tolist()
            panels.append(Dots(label, table["map"].tolist(), values, mark=table.set_index("map")[metric][map_names.RANDOM]))
    footnote = (
        f"{experiment.varied} of each method; {len(index)} test images; bars: 95 % intervals over images and "
        f"{table['models'].max()} models.\n"
        "Higher is better, but for what is judged, where less means better than LFI-CAM's own; dashed: the random map. A map is\n"
        "judged by its own model and the class that it predicts. Maps of one model compare; ABN, LFI-CAM without FIN and plain\n"
        "are other classifiers, so a difference to their maps is one of models, too. What a hidden pixel shows: the mean colour,\n"
        "the blurred image, black."
    )
    chart = Chart(experiment.title, experiment.source, panels, footnote)
    return Result(experiment, chart, table, judged.verdicts, tuple(runs), measured=measured)


def judge_faithfulness(measured: Measured) -> Judged:
    """One row a map; E4, E5."""
    values, sources, rows = measured.values, measured.sources, []
    own = values[map_names.LFI_CAM]["insertion_minus_deletion"]
    for name, found in values.items():
        row = {"map": name, "models": len(own), "images": len(sources)}
        for metric, scores in found.items():
            row |= with_interval(metric, known_interval(scores, sources))
        rows.append(row | with_interval("less_than_own_map_by", interval(own - found["insertion_minus_deletion"], sources)))
    verdicts = (
        judge(question, interval(own - values[other]["insertion_minus_deletion"], sources))
        for question, other in (("E4", map_names.RANDOM), ("E5", map_names.GRAD_CAM))
    )
    return Judged(pd.DataFrame(rows), tuple(verdicts))


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
    return stacked(scores)


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


def sanity_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Extra figure 5: rank correlation with the trained model's map while the weights are drawn anew; E6."""
    index = experiment.judged_images(runs[0].dataset)
    measured = Measured(_randomised(runs, index), runs[0].sources(index))
    judged = judge_sanity(measured)
    table = judged.table.set_index(["map", "drawn_anew"])
    maps, stages = list(measured.values), _stages(measured, map_names.LFI_CAM, _DOWN_TO)
    panels = [
        Lines("drawn anew, from the output down to", "rank correlation", stages, _carried(table["down_to_it"], maps, stages)),
        Lines("drawn anew, alone", "rank correlation", stages[1:], _unchanged(table["alone"], maps, stages[1:])),
        _dots("rank correlation, all drawn anew", table, maps, stages[-1]),
        _dots("rank correlation, two untrained networks", table, maps, _TWO_UNTRAINED),
    ]
    footnote = (
        f"{experiment.varied} of each method; {len(index)} test images; bars: 95 % intervals over images and "
        f"{table['models'].max()} models.\n"
        "1: the map ranks its cells as the trained network's does; 0: nothing in common. Grad-CAM, CAM: of the true class. From\n"
        "the output down, the stages below go on as trained, which keeps much of a map. Two untrained: maps of one image by\n"
        "networks that have learned nothing, which agree as far as the image itself decides."
    )
    chart = Chart(experiment.title, experiment.source, panels, footnote)
    return Result(experiment, chart, judged.table, judged.verdicts, tuple(runs), measured=measured)


def judge_sanity(measured: Measured) -> Judged:
    """One row a map and stage, and one for two untrained networks; E6."""
    sources, rows = measured.sources, []
    for name, found in measured.values.items():
        for stage in _stages(measured, name, _DOWN_TO):
            down_to, alone = found[_DOWN_TO + stage], found.get(_ALONE + stage)
            row = {"map": name, "drawn_anew": stage, "models": len(down_to), "images": len(sources)}
            row |= with_interval("down_to_it", interval(down_to, sources))
            rows.append(row | with_interval("alone", None if alone is None else interval(alone, sources)))
        between = pair_interval(found[_TWO_UNTRAINED], sources)
        row = {"map": name, "drawn_anew": _TWO_UNTRAINED, "models": between.models, "images": len(sources)}
        rows.append(row | with_interval("down_to_it", between))
    last = _stages(measured, map_names.LFI_CAM, _DOWN_TO)[-1]
    verdict = judge("E6", interval(1 - measured.values[map_names.LFI_CAM][_DOWN_TO + last], sources))
    return Judged(pd.DataFrame(rows), (verdict,))


# Rank correlation with the trained model's map after weights were drawn anew, from the output down to a stage, and of it alone;
# and between the maps that every two models' untrained networks draw of one image.
_DOWN_TO, _ALONE, _TWO_UNTRAINED = "down to ", "alone ", "two untrained networks"


def _randomised(runs: Sequence[Run], index: Sequence[int]) -> dict[str, dict[str, Tensor]]:
    """Map -> what it is -> (S, N), of two untrained networks (S, S, N)."""
    scores, untrained_maps = {}, {}
    for run in runs:
        classes = run.dataset.test.labels[index]
        with on_best_device(run.model) as device:
            images, untrained = run.inputs(index).to(device), run.untrained().to(device)
            for name, maps_of in _maps_to_check(run, classes).items():
                of_map = scores.setdefault(name, {})
                for measure, how in ((cascade, _DOWN_TO), (each_alone, _ALONE)):
                    for stage, values in measure(run.model, untrained, images, maps_of).items():
                        stage = _STAGES.get(stage, stage.removeprefix("trunk."))
                        of_map.setdefault(how + stage, []).append(values)
                untrained_maps.setdefault(name, []).append(maps_of(untrained, images).cpu())
    between = {name: {_TWO_UNTRAINED: _between(maps)} for name, maps in untrained_maps.items()}
    return {name: found | between[name] for name, found in stacked(scores).items()}


def _stages(measured: Measured, name: str, how: str) -> list[str]:
    return [metric.removeprefix(how) for metric in measured.values[name] if metric.startswith(how)]


def _between(maps: Sequence[Tensor]) -> Tensor:
    """(S, S, N), rank correlation between S networks' maps (N, 1, u, v) of the same images."""
    values = torch.zeros(len(maps), len(maps), len(maps[0]))
    for a, b in combinations(range(len(maps)), 2):
        values[a, b] = values[b, a] = spearman(maps[a], maps[b])
    return values


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


def _dots(label: str, table: pd.DataFrame, maps: Sequence[str], stage: str) -> Dots:
    rows = table.loc[[(name, stage) for name in maps], ["down_to_it", "down_to_it_low", "down_to_it_high"]]
    return Dots(label, list(maps), rows.to_numpy().tolist(), mark=0.0)


def _carried(means: pd.Series, maps: Sequence[str], stages: Sequence[str]) -> dict[str, list[float]]:
    """Map -> its means, by map and stage; a stage that its model lacks changes nothing."""
    lines = {}
    for name in maps:
        line = []
        for stage in stages:
            line.append(means.get((name, stage), line[-1] if line else 1.0))
        lines[name] = line
    return lines


def _unchanged(means: pd.Series, maps: Sequence[str], stages: Sequence[str]) -> dict[str, list[float]]:
    """The same; a stage that its model lacks leaves the map as it is."""
    return {name: [means.get((name, stage), 1.0) for stage in stages] for name in maps}
