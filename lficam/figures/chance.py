"""Extra figures 1 to 3: how alike the maps of several models are, with intervals, beside what chance would give.

All models see the same images, and pairs of models share models: the intervals resample images, by source, and models, the same
settings or seeds for every method (`bootstrap`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from lficam.figures.agreement import coarsest, maps_of
from lficam.figures.charts import Chart, Dots, Lines
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.tables import with_interval
from lficam.figures.verdicts import judge, similar
from lficam.metrics.bootstrap import Interval, interval, pair_interval
from lficam.metrics.similarity import metrics_at
from lficam.metrics.stability import different_images, null_lines, pair_matrix, pairwise_stability
from lficam.model.cam import resize_map
from lficam.model.devices import on_best_device
from lficam.model.methods import METHODS
from lficam.training.explain import BATCH, explain_batches
from lficam.training.runs import Run

THRESHOLDS = [k / 10 for k in range(1, 10)]


class Compared(NamedTuple):
    """The S models of one method on N images.

    pairs: metric -> (S, S, N), between the models' maps of the same image.
    free: null line -> IoU of each model and image, (S, N), or of each pair of models, (S, S, N).
    similar: positions of the models of similar accuracy.
    curves: what is compared -> mean IoU at each of THRESHOLDS.
    """

    pairs: Mapping[str, Tensor]
    free: Mapping[str, Tensor]
    similar: Sequence[int]
    curves: Mapping[str, list[float]]


def chance_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """How alike the maps of each method's models are, whether LFI-CAM's are more alike than ABN's (E1, E2), and than free (E3)."""
    index = experiment.judged_images(runs[0].dataset)
    sources = runs[0].sources(index)
    own = {method: [run for run in runs if run.config.method == method] for method in experiment.methods}
    compared = {METHODS[method].title: _compare(models, index, sources, coarsest(runs)) for method, models in own.items()}
    ours, theirs = (compared[METHODS[name].title] for name in ("lfi-cam", "abn"))
    gain = {metric: ours.pairs[metric] - theirs.pairs[metric] for metric in ours.pairs}
    both = [k for k in ours.similar if k in theirs.similar]
    rows = [row for name, one in compared.items() for row in _rows(name, one, sources)]
    rows += _rows("LFI-CAM - ABN", Compared(gain, {}, both, {}), sources)
    chart = Chart(experiment.title, experiment.source, _panels(rows, compared), _footnote(experiment, len(index)))
    verdicts = [judge("E1" if experiment.settings > 1 else "E2", pair_interval(gain["iou"], sources, over="images and models"))]
    if experiment.settings > 1:
        verdicts.append(judge("E3", _above_chance(ours, sources)))
    return Result(experiment, chart, pd.DataFrame(rows), tuple(verdicts), tuple(runs))


def _compare(runs: Sequence[Run], index: Sequence[int], sources: Sequence[str], cells: int) -> Compared:
    size = (runs[0].config.image_size,) * 2
    maps = {name: (ids, resize_map(cams, size)) for name, (ids, cams) in maps_of(runs, index).items()}
    pairs = pairwise_stability(maps, metrics=metrics_at(size))
    matrices = {metric: pair_matrix(pairs, metric) for metric in metrics_at(size)}
    matrices["iou_equal_map_size"] = _iou(maps_of(runs, index, cells), size)
    free = {
        null: torch.tensor(part["value"].to_numpy()).view(len(runs), -1)  # (S, N)
        for null, part in null_lines(maps, size, sources).groupby("null", sort=False)
    }
    free["untrained"] = _iou(_untrained(runs, index), size)
    accuracy = {str(k): run.metrics["test_accuracy"] for k, run in enumerate(runs)}
    return Compared(matrices, free, [int(k) for k in similar(accuracy)], _curves(maps, sources))


def _iou(maps: Mapping[str, tuple[Sequence[str], Tensor]], size: tuple[int, int]) -> Tensor:
    """(S, S, N)."""
    return pair_matrix(pairwise_stability(maps, size, metrics=["iou"]), "iou")


def _untrained(runs: Sequence[Run], index: Sequence[int]) -> dict[str, tuple[Sequence[str], Tensor]]:
    """Maps of the same images by the same architectures, which have learned nothing, each with weights of its own."""
    maps = {}
    for k, run in enumerate(runs):
        model = run.untrained(k)
        with on_best_device(model) as device:
            explained = explain_batches(model, (images.to(device) for images in run.inputs(index).split(BATCH)))
        maps[str(k)] = ([str(i) for i in index], explained.cam)
    return maps


def _curves(maps: Mapping[str, tuple[Sequence[str], Tensor]], sources: Sequence[str]) -> dict[str, list[float]]:
    """Mean IoU at each of THRESHOLDS, of maps at the size of the images."""
    same, different = [], []
    for threshold in THRESHOLDS:
        same.append(pairwise_stability(maps, threshold=threshold, metrics=["iou"])["value"].mean())
        free = [different_images(cams, sources, threshold).mean() for _, cams in maps.values()]
        different.append(torch.stack(free).mean().item())
    return {"same image": same, "different images": different}


def _rows(name: str, compared: Compared, sources: Sequence[str]) -> list[dict[str, object]]:
    """Of the table: the same image among all models and among those of similar accuracy, then what is free."""
    everyone = range(len(compared.pairs["iou"]))
    rows = []
    for models, chosen in (("all", everyone), ("similar accuracy", compared.similar)):
        row = {"compared": f"{name}: same image", "models": models, "number": len(chosen)}
        if len(chosen) > 1:
            among = torch.tensor(list(chosen))
            parts = {metric: values[among][:, among] for metric, values in compared.pairs.items()}
            for metric, values in parts.items():
                row |= with_interval(metric, pair_interval(values, sources, over="images and models"))
            row |= with_interval("iou_of_these_models", pair_interval(parts["iou"], sources, over="images"))
        rows.append(row)
    for null, values in compared.free.items():
        row = {"compared": f"{name}: {null}", "models": "all", "number": len(values)}
        measured = interval(values, sources) if values.ndim == 2 else pair_interval(values, sources, over="images and models")
        rows.append(row | with_interval("iou", measured))
    return rows


def _above_chance(compared: Compared, sources: Sequence[str]) -> Interval:
    """IoU of the same image between two models, less the mean of what different images of either give."""
    free = compared.free["different images"]  # (S, N)
    return pair_interval(compared.pairs["iou"] - (free[:, None] + free[None]) / 2, sources, over="images and models")


def _panels(rows: Sequence[Mapping[str, object]], compared: Mapping[str, Compared]) -> list[Dots | Lines]:
    shown = [row for row in rows if row["models"] == "all"]
    values = [[row["iou"], row["iou_low"], row["iou_high"]] for row in shown]
    curves = {f"{name}, {what}": curve for name, one in compared.items() for what, curve in one.curves.items()}
    return [
        Dots("mean IoU at threshold 100/255", [row["compared"] for row in shown], values, mark=0.0),
        Lines("threshold", "mean IoU", THRESHOLDS, curves, [name for name in curves if name.endswith("different images")]),
    ]


def _footnote(experiment: Experiment, images: int) -> str:
    return (
        f"{experiment.varied} of each method; beside the training images they share: {experiment.shared}.\n"
        f"{images} test images; bars: 95 % intervals over images and models. Same image: maps of one image by two models.\n"
        "Null lines: different images, maps of two images by one model; centred blob, a map and a Gaussian in the middle;\n"
        "untrained, maps of one image by two networks that have learned nothing. What is no higher than the first two says\n"
        "nothing about the image, than the third nothing about the training. Dashed, in the colour of its method: different\n"
        "images. The plain network's maps are of the class that it predicts."
    )
