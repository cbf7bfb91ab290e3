"""Extra figure 5: do the maps depend on what the networks have learned? What is left of them while weights are drawn anew.

Measured on several models of every method, which differ in their seed, and on the same test images; the intervals are over images
and models (`intervals`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

import pandas as pd
import torch
from torch import Tensor, nn

from lficam.figures.charts import Chart, Dots, Lines, in_rows
from lficam.figures.measured import Judged, Measured, stacked
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.tables import with_interval
from lficam.figures.verdicts import judge
from lficam.metrics import map_names
from lficam.metrics.baselines import baseline_maps
from lficam.metrics.intervals import interval, known_interval, pair_interval
from lficam.metrics.localisation import localisation
from lficam.metrics.sanity import cascade, each_alone
from lficam.metrics.similarity import iou, spearman, top_overlap
from lficam.model.abn import ABN
from lficam.model.cam import resize_map
from lficam.model.devices import on_best_device
from lficam.model.plain import Plain
from lficam.training.explain import BATCH, explain_batches
from lficam.training.runs import Run, RunRecord

# Metrics beside the rank correlation, of the trained network's map and of the one with all weights drawn anew.
_IOU, _TENTHS, _ANEW = "iou", "top_overlap", "drawn anew, "
ON_OBJECT = ("pointing", "energy")  # where there are masks


def sanity_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Extra figure 5: rank correlation with the trained model's map while the weights are drawn anew; E6."""
    return sanity_chart(experiment, measure_sanity(experiment, runs), runs)


def measure_sanity(experiment: Experiment, runs: Sequence[Run]) -> Measured:
    """What is left of the runs' maps while their weights are drawn anew."""
    index = experiment.judged_images(runs[0].dataset)
    return Measured(_randomised(runs, index), runs[0].sources(index), runs=[run.id for run in runs])


def sanity_chart(experiment: Experiment, measured: Measured, runs: Sequence[RunRecord]) -> Result:
    """The figure, from what was measured of the runs."""
    judged = judge_sanity(measured)
    table = judged.table.set_index(["map", "drawn_anew"])
    maps, stages = list(measured.values), _stages(measured, map_names.LFI_CAM, _DOWN_TO)
    down_to, alone = _carried(table["down_to_it"], maps, stages), _unchanged(table["alone"], maps, stages[1:])
    names = [_READ.get(stage, stage.replace("layer", "stage ")) for stage in stages]
    panels = [
        Lines("drawn anew, from the output down to", "rank correlation", names, down_to),
        Lines("drawn anew, alone", "rank correlation", names[1:], alone),
        _dots("rank correlation, all drawn anew", table, maps, stages[-1]),
        _dots("rank correlation, two untrained networks", table, maps, _TWO_UNTRAINED),
    ]
    footnote = (
        f"{experiment.varied} of each method; {len(measured.sources)} test images; bars: 95 % intervals over images and "
        f"{judged.table['models'].max()} models. "
        "1: the map ranks its cells as the trained network's does; 0: nothing in common. Grad-CAM, CAM: of the true class. From "
        "the output down, the stages below go on as trained, which keeps much of a map. Two untrained: maps of one image by "
        "networks that have learned nothing, which agree as far as the image itself decides."
    )
    chart = Chart(experiment.title, experiment.source, in_rows(panels, 2), footnote)
    return Result(experiment, chart, judged.table, judged.verdicts, tuple(runs), measured=measured, remarks=judged.remarks)


def judge_sanity(measured: Measured) -> Judged:
    """One row a map and stage, and one for two untrained networks; E6, and what training does to the map beside its ranks."""
    sources, rows = measured.sources, []
    for name, found in measured.values.items():
        stages = _stages(measured, name, _DOWN_TO)
        for stage in stages:
            down_to, alone = found[_DOWN_TO + stage], found.get(_ALONE + stage)
            row = {"map": name, "drawn_anew": stage, "models": len(down_to), "images": len(sources)}
            row |= with_interval("down_to_it", interval(down_to, sources))
            row |= with_interval("alone", None if alone is None else interval(alone, sources))
            rows.append(row | _beside_the_rank(found, stage == stages[0], stage == stages[-1]))
        between = pair_interval(found[_TWO_UNTRAINED], sources)
        row = {"map": name, "drawn_anew": _TWO_UNTRAINED, "models": between.models, "images": len(sources)}
        rows.append(row | with_interval("down_to_it", between))
    ours = measured.values[map_names.LFI_CAM]
    last = _stages(measured, map_names.LFI_CAM, _DOWN_TO)[-1]
    verdict = judge("E6", interval(1 - ours[_DOWN_TO + last], sources))
    table = pd.DataFrame(rows)
    beside = [name for name in (*ON_OBJECT, _IOU, _TENTHS) if name in table]
    table = table[[*table.columns.drop(beside), *beside]]
    return Judged(table, (verdict,), tuple(_said_beside(measured)))


def _beside_the_rank(found: Mapping[str, Tensor], trained: bool, all_anew: bool) -> dict[str, float]:
    """Means that are known of the trained network's map and of the one with all weights drawn anew: of these rows alone."""
    prefix = "" if trained else _ANEW
    metrics = {metric: prefix + metric for metric in ON_OBJECT if metric in found} if trained or all_anew else {}
    metrics |= {metric: metric for metric in (_IOU, _TENTHS) if all_anew}
    return {metric: found[key].double().nanmean().item() for metric, key in metrics.items()}


def _said_beside(measured: Measured) -> Iterator[str]:
    """A map of which the ranks stay may have moved all the same: its area, its peak, what lies on the object."""
    sources, parts = measured.sources, {}
    for name, found in measured.values.items():
        parts[name] = ", ".join(str(interval(found[metric], sources)) for metric in (_IOU, _TENTHS))
    said = "; ".join(f"{name} {numbers}" for name, numbers in parts.items())
    yield f"With all weights drawn anew, IoU with the trained network's map and overlap of the highest tenths: {said}"
    ours = measured.values[map_names.LFI_CAM]
    if "energy" in ours:
        gains = []
        for metric in ON_OBJECT:
            before, after = ours[_ANEW + metric], ours[metric]
            gains.append(
                f"{metric} from {before.nanmean():.3f} to {after.nanmean():.3f}, more by {known_interval(after - before, sources)}"
            )
        yield f"What training does to LFI-CAM's map, inside the true mask: {', '.join(gains)}"


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
                own, drawn_anew = (maps_of(model, images).cpu() for model in (run.model, untrained))
                for metric, values in _compared(own, drawn_anew, images.shape[-2:], run.masks(index)).items():
                    of_map.setdefault(metric, []).append(values)
                untrained_maps.setdefault(name, []).append(drawn_anew)
    between = {name: {_TWO_UNTRAINED: _between(maps)} for name, maps in untrained_maps.items()}
    return {name: found | between[name] for name, found in stacked(scores).items()}


def _compared(own: Tensor, drawn_anew: Tensor, size: tuple[int, int], masks: Tensor | None) -> dict[str, Tensor]:
    """How alike a network's maps are before and after its weights were drawn anew, (N,), and whether they lie on the object."""
    before, after = (resize_map(cams, size) for cams in (own, drawn_anew))
    alike = {_IOU: iou(before, after), _TENTHS: top_overlap(before, after)}
    anew = {_ANEW + metric: values for metric, values in localisation(drawn_anew, masks).items()}
    return alike | localisation(own, masks) | anew


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
_READ = {"fc": "classifier"}  # in a chart


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
    return Dots(label, list(maps), rows.to_numpy().tolist())


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
