"""Extra figures 1 to 3: how alike the maps of several models are, with intervals, beside what comes for free.

All models see the same images, and pairs of models share models: the intervals resample images, by source, and models, the same
settings or seeds for every method (`bootstrap`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from lficam.bootstrap import Interval, interval, pair_interval
from lficam.charts import Chart, Dots, Lines
from lficam.experiments import Experiment
from lficam.figures import NAMES, Result, coarsest, maps_of
from lficam.inference import explain_batches, on_best_device
from lficam.runs import Run
from lficam.stability import METRICS, THRESHOLD, null_lines, pair_matrix, pairwise_stability
from lficam.tables import with_interval
from lficam.verdicts import judge, similar

IMAGES = 1000  # at most: to rank the pixels of STL10's 8,000 test images for every pair would take half an hour
BATCH = 64
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


def stability_evidence(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """How alike the maps of each method's models are, whether LFI-CAM's are more alike than ABN's (E1, E2), and than free (E3)."""
    index = experiment.shown(runs[0].dataset, IMAGES)
    sources = runs[0].sources(index)
    own = {method: [run for run in runs if run.config.method == method] for method in experiment.methods}
    compared = {NAMES[method]: _compare(models, index, sources, coarsest(runs)) for method, models in own.items()}
    ours, theirs = compared["LFI-CAM"], compared["ABN"]
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
    maps = maps_of(runs, index)
    pairs = pairwise_stability(maps, size, metrics=tuple(METRICS))
    matrices = {metric: pair_matrix(pairs, metric) for metric in METRICS}
    matrices["iou_equal_map_size"] = pair_matrix(pairwise_stability(maps_of(runs, index, cells), size, metrics=["iou"]), "iou")
    accuracy = {str(k): run.metrics["test_accuracy"] for k, run in enumerate(runs)}
    curves = {"same image": [], "different images": []}
    for threshold in THRESHOLDS:
        same = pairwise_stability(maps, size, threshold, metrics=["iou"])
        curves["same image"].append(same["value"].mean())
        curves["different images"].append(_free(maps, size, sources, threshold)["different images"].mean().item())
    free = _free(maps, size, sources, THRESHOLD) | {"untrained": pair_matrix(_untrained(runs, index, size), "iou")}
    return Compared(matrices, free, [int(k) for k in similar(accuracy)], curves)


def _untrained(runs: Sequence[Run], index: Sequence[int], size: tuple[int, int]) -> pd.DataFrame:
    """`pairwise_stability` of the same networks before their training, each with weights of its own."""
    maps = {}
    for k, run in enumerate(runs):
        model = run.untrained(k)
        with on_best_device(model) as device:
            explained = explain_batches(model, (images.to(device) for images in run.inputs(index).split(BATCH)))
        maps[str(k)] = ([str(i) for i in index], explained.cam)
    return pairwise_stability(maps, size, metrics=["iou"])


def _free(
    maps: Mapping[str, tuple[Sequence[str], Tensor]], size: tuple[int, int], sources: Sequence[str], threshold: float
) -> dict[str, Tensor]:
    """Null line -> (S, N)."""
    table = null_lines(maps, size, sources, threshold)
    return {
        null: torch.tensor(values["value"].to_numpy()).view(len(maps), -1) for null, values in table.groupby("null", sort=False)
    }


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
        f"Models: {experiment.varied} of each method; {images} test images. Bars: 95 % intervals over images and models.\n"
        "Same image: maps of one image by two models. Null lines: different images, maps of two images by one model; centred\n"
        "blob, a map and a Gaussian in the middle; untrained, maps of one image by two networks that have learned nothing. What\n"
        "is no higher than the first two says nothing about the image, than the third nothing about the training."
    )
