"""Extra figure 8: is stability learned, kept or lost? How alike maps are while models that differ in their seed learn."""

from collections.abc import Sequence

import pandas as pd
import torch

from lficam.figures.chance import OF_UNTRAINED
from lficam.figures.charts import Chart, Lines
from lficam.figures.models import models_of, pair_values
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.tables import with_interval
from lficam.metrics.intervals import pair_interval
from lficam.training.runs import RunRecord


def learning_figure(experiment: Experiment, runs: Sequence[RunRecord]) -> Result:
    """Agreement of each method's models after epochs 0, 1, 2, 4, ... and the last, and their accuracy on the training images."""
    rows = []
    for method in experiment.methods:
        models = models_of(method, runs)
        for epoch in models.runs[0].epoch_maps:
            maps = torch.stack([run.epoch_maps[epoch] for run in models.runs])
            accuracy = [run.history[epoch - 1]["accuracy"] for run in models.runs] if epoch else []
            row = {"method": models.title, "epoch": epoch, "number": len(maps), "images": maps.shape[1]}
            row |= {"train_accuracy": sum(accuracy) / len(accuracy)} if accuracy else {}
            for metric, values in pair_values(maps, models.size, OF_UNTRAINED).items():
                row |= with_interval(metric, pair_interval(values, models.sources(maps.shape[1])))
            rows.append(row)
    table = pd.DataFrame(rows)
    panels = [
        _lines(table, "iou", "mean IoU between seeds"),
        _lines(table, "top_overlap", "overlap of the highest tenths"),
        _lines(table.dropna(subset="train_accuracy"), "train_accuracy", "training accuracy"),
    ]
    footnote = (
        f"{experiment.varied} of each method, which share beside the training images: {experiment.shared}. The first "
        f"{table['images'].max()} test images of the "
        "shuffle. Epoch 0: before the first step. Accuracy: of training images as augmented, during the epoch. A plain network's "
        "maps are of the class that it predicts."
    )
    chart = Chart(experiment.title, experiment.source, [panels], footnote)
    return Result(experiment, chart, table, (), tuple(runs), remarks=(_before_and_after(table),))


def _before_and_after(table: pd.DataFrame) -> str:
    parts = []
    for title, rows in table.groupby("method", sort=False):
        iou, overlap = ([f"{value:.2f}" for value in rows[metric].iloc[[0, -1]]] for metric in OF_UNTRAINED)
        parts.append(f"{title} {' and '.join(iou)}, {' and '.join(overlap)}")
    return f"Before training and after it, mean IoU between seeds and overlap of the highest tenths: {'; '.join(parts)}"


def _lines(table: pd.DataFrame, quantity: str, label: str) -> Lines:
    epochs = sorted(table["epoch"].unique())
    lines = {title: rows[quantity].tolist() for title, rows in table.groupby("method", sort=False)}
    return Lines("epochs of training", label, [str(epoch) for epoch in epochs], lines)
