"""Extra figure 8: is stability learned, kept or lost? How alike maps are while models that differ in their seed learn."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from lficam.figures.charts import Chart, Lines
from lficam.figures.claims import METRICS
from lficam.figures.models import models_of, pair_values
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.tables import with_interval
from lficam.metrics.intervals import pair_interval
from lficam.training.runs import RunRecord


def learning_figure(experiment: Experiment, runs: Sequence[RunRecord]) -> Result:
    """Agreement of each method's models after epochs 0, 1, 2, 4, ... and the last, and their accuracy on the training images."""
    rows, trends = [], []
    for method in experiment.methods:
        models, agreed = models_of(method, runs), []
        for epoch in models.runs[0].epoch_maps:
            maps = torch.stack([run.epoch_maps[epoch] for run in models.runs])
            accuracy = [run.history[epoch - 1]["accuracy"] for run in models.runs] if epoch else []
            row = {"method": models.title, "epoch": epoch, "number": len(maps), "images": maps.shape[1]}
            row |= {"train_accuracy": sum(accuracy) / len(accuracy)} if accuracy else {}
            agreed.append(pair_values(maps, models.size, METRICS))
            sources = models.sources(maps.shape[1])
            for metric, values in agreed[-1].items():
                row |= with_interval(metric, pair_interval(values, sources))
            rows.append(row)
        trends.append(_trend(models.title, agreed[0], agreed[-1], sources))
    table = pd.DataFrame(rows)
    panels = [
        _lines(table, "iou", "mean IoU between seeds"),
        _lines(table, "top_overlap", "overlap of the highest tenths"),
        _lines(table.dropna(subset="train_accuracy"), "train_accuracy", "training accuracy"),
    ]
    footnote = (
        f"{experiment.varied} of each method, which share beside the training images: {experiment.shared}. The first "
        f"{table['images'].max()} test images of the "
        "shuffle; bands: 95 % intervals over images and models. Epoch 0: before the first step. Accuracy: of training images as "
        "augmented, during the epoch. A plain network's maps are of the class that it predicts."
    )
    chart = Chart(experiment.title, experiment.source, [panels], footnote)
    return Result(experiment, chart, table, (), tuple(runs), remarks=(_before_and_after(table), *trends))


def _trend(title: str, before: Mapping[str, Tensor], after: Mapping[str, Tensor], sources: Sequence[str]) -> str:
    """Whether agreement is learned, kept or lost: by the intervals of what the last epoch has more than none."""
    parts = []
    for metric, name in METRICS.items():
        more = pair_interval(after[metric] - before[metric], sources)
        word = "learned" if more.low > 0 else "lost" if more.high < 0 else "neither learned nor lost for sure"
        parts.append(f"by {name} {word}, {more}")
    return f"Agreement of {title}'s maps, after training less before it: {'; '.join(parts)}"


def _before_and_after(table: pd.DataFrame) -> str:
    parts = []
    for title, rows in table.groupby("method", sort=False):
        iou, overlap = ([f"{value:.2f}" for value in rows[metric].iloc[[0, -1]]] for metric in METRICS)
        parts.append(f"{title} {' and '.join(iou)}, {' and '.join(overlap)}")
    return f"Before training and after it, mean IoU between seeds and overlap of the highest tenths: {'; '.join(parts)}"


def _lines(table: pd.DataFrame, quantity: str, label: str) -> Lines:
    epochs = sorted(table["epoch"].unique())
    by_method = table.groupby("method", sort=False)
    lines = {title: rows[quantity].tolist() for title, rows in by_method}
    bounds = [f"{quantity}_low", f"{quantity}_high"]
    bands = {title: rows[bounds].to_numpy().tolist() for title, rows in by_method} if bounds[0] in table else {}
    return Lines("epochs of training", label, [str(epoch) for epoch in epochs], lines, bands=bands)
