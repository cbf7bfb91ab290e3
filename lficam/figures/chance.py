"""Extra figures 1 to 3: how alike the maps of several models are, with intervals, beside what chance and no training would give.

All models see the same images, and pairs of models share models (`intervals`). Between settings an interval counts the settings'
differences as chance: it is wider than these settings need, and says nothing of others.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from lficam.figures.charts import Chart, Dots, Lines
from lficam.figures.claims import METRICS
from lficam.figures.models import Models, models_of, pair_values, untrained_maps
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.tables import with_interval
from lficam.figures.verdicts import Free, Verdict, for_free, judge, judge_both, similar
from lficam.metrics.intervals import Interval, interval, pair_interval
from lficam.metrics.similarity import metrics_at
from lficam.metrics.stability import different_images, null_lines, pairwise_stability
from lficam.model.cam import resize_map
from lficam.model.methods import METHODS
from lficam.training.runs import RunRecord

THRESHOLDS = [k / 10 for k in range(1, 10)]


class Compared(NamedTuple):
    """The S models of one method on N images, or the difference of two methods, model by model.

    pairs: metric -> (S, S, N), between the models' maps of the same image. untrained: the same between networks that have learned
    nothing, on the first n images; untrained_apart: (S, n), IoU of their maps of different images.
    free: null line -> IoU of each model and image, (S, N).
    similar: positions of the models of similar accuracy. curves: what is compared -> mean IoU at each of THRESHOLDS.
    """

    pairs: Mapping[str, Tensor]
    untrained: Mapping[str, Tensor]
    similar: Sequence[int]
    untrained_apart: Tensor | None = None
    free: Mapping[str, Tensor] = {}
    curves: Mapping[str, list[float]] = {}

    def more_than(self, other: "Compared") -> "Compared":
        """The difference of two methods; of similar accuracy in both."""
        return Compared(
            {metric: values - other.pairs[metric] for metric, values in self.pairs.items()},
            {metric: values - other.untrained[metric] for metric, values in self.untrained.items()},
            [k for k in self.similar if k in other.similar],
        )

    def than_untrained(self) -> dict[str, Tensor]:
        """Metric -> (S, S, n), by how much trained models agree more than untrained ones."""
        return {metric: _first(self.pairs[metric], values) - values for metric, values in self.untrained.items()}

    def about_the_image(self) -> Tensor:
        """(S, S, N): IoU of the same image between two models, less the mean of what different images of either give."""
        return _less_apart(self.pairs["iou"], self.free["different images"])

    def about_the_image_untrained(self) -> Tensor:
        """The same between untrained networks, (S, S, n)."""
        return _less_apart(self.untrained["iou"], self.untrained_apart)


def _less_apart(pairs: Tensor, apart: Tensor) -> Tensor:
    """Pairs (S, S, n) less the mean of what each of the two models has by itself, (S, n)."""
    return pairs - (apart[:, None] + apart[None]) / 2


def _first(values: Tensor, others: Tensor) -> Tensor:
    """Of as many images as the others are."""
    return values[..., : others.shape[-1]]


def chance_figure(experiment: Experiment, runs: Sequence[RunRecord]) -> Result:
    """How alike the maps of each method's models are, and whether LFI-CAM's are more alike than others: E1 to E3, E9 to E11."""
    models = {method: models_of(method, runs) for method in experiment.methods}
    cells = min(one.own.shape[-1] for one in models.values())
    compared = {method: _compare(one, cells) for method, one in models.items()}
    ours, sources = compared["lfi-cam"], models["lfi-cam"].sources()
    over_abn, over_plain = ours.more_than(compared["abn"]), ours.more_than(compared["plain"])
    rows = [row for method, one in compared.items() for row in _rows(models[method].title, one, sources)]
    features = pair_values(models["plain"].maps["mean_features"], models["plain"].size, METRICS)
    rows += _rows_of_plain(models["plain"], features, sources)
    rows += _rows("LFI-CAM - ABN", over_abn, sources) + _rows("LFI-CAM - plain", over_plain, sources)
    over_features = {metric: ours.pairs[metric] - values for metric, values in features.items()}  # which know no class either
    rows.append(_row("LFI-CAM - plain's mean feature map: same image", over_features, sources))
    table = pd.DataFrame(rows)
    chart = Chart(
        experiment.title, experiment.source, _rows_of_panels(table, models, compared), _footnote(experiment, models["lfi-cam"])
    )
    question, verdicts = ("E1" if experiment.settings > 1 else "E2"), []
    verdicts.append(judge(question, pair_interval(over_abn.pairs["iou"], sources), free=_free(over_abn, "iou", sources)))
    if experiment.settings > 1:
        verdicts.append(judge("E3", _pairs(ours.about_the_image(), sources), free=_free_of_the_image(ours, sources)))
    else:
        gain = ours.than_untrained()
        verdicts.append(judge_both("E9", {metric: _pairs(values, sources) for metric, values in gain.items()}))
    verdicts += _against_plain(over_plain, models, sources)
    return Result(
        experiment, chart, table, tuple(verdicts), tuple(runs), remarks=_remarks(compared, over_abn, over_features, sources)
    )


def _compare(models: Models, cells: int) -> Compared:
    size = models.size
    shown = torch.stack([resize_map(cams, size) for cams in models.own])  # (S, N, 1, h, w)
    pairs = pair_values(shown, size, metrics_at(size))
    smaller = torch.stack([adaptive_avg_pool2d(cams, cells) for cams in models.own])
    pairs["iou_equal_map_size"] = pair_values(smaller, size, ["iou"])["iou"]
    named = {str(k): (models.ids, cams) for k, cams in enumerate(shown)}
    free = {
        null: torch.tensor(part["value"].to_numpy()).view(len(shown), -1)  # (S, N)
        for null, part in null_lines(named, size, models.sources()).groupby("null", sort=False)
    }
    untrained = untrained_maps(models)
    sources = models.sources(untrained.shape[1])
    apart = torch.stack([different_images(resize_map(cams, size), sources) for cams in untrained])
    alike = [int(k) for k in similar(models.accuracy)]
    return Compared(pairs, pair_values(untrained, size, METRICS), alike, apart, free, _curves(shown, models.sources()))


def _curves(shown: Tensor, sources: Sequence[str]) -> dict[str, list[float]]:
    """Mean IoU of maps (S, N, 1, h, w) at each of THRESHOLDS."""
    same, different = [], []
    named = {str(k): (range(shown.shape[1]), cams) for k, cams in enumerate(shown)}
    for threshold in THRESHOLDS:
        same.append(pairwise_stability(named, threshold=threshold, metrics=["iou"])["value"].mean())
        different.append(torch.stack([different_images(cams, sources, threshold).mean() for cams in shown]).mean().item())
    return {"same image": same, "different images": different}


def _remarks(
    compared: Mapping[str, Compared], over_abn: Compared, over_features: Mapping[str, Tensor], sources: Sequence[str]
) -> tuple[str, ...]:
    """What other measures, fewer models and other counterparts say of the same question."""
    names = METRICS | {"iou_equal_map_size": "mean IoU at equal map size"}
    by_metric = [f"{name} {pair_interval(over_abn.pairs[metric], sources)}" for metric, name in names.items()]
    alike = torch.tensor(over_abn.similar)
    if 2 < len(alike) < len(over_abn.pairs["iou"]):
        agreed = pair_interval(over_abn.pairs["iou"][alike][:, alike], sources)
        by_metric.append(f"mean IoU of the {len(alike)} models of similar accuracy in both {agreed}")
    learned = [f"{names[metric]} {_pairs(values, sources)}" for metric, values in compared["lfi-cam"].than_untrained().items()]
    features = [f"{names[metric]} {pair_interval(values, sources)}" for metric, values in over_features.items()]
    about = _about_the_image(compared, sources)
    return (
        f"Agreement of LFI-CAM's maps less that of ABN's: {', '.join(by_metric)}",
        f"Agreement of LFI-CAM's maps less that of a plain network's mean feature maps: {', '.join(features)}",
        f"Agreement of LFI-CAM's maps less that of untrained networks' maps: {', '.join(learned)}",
        f"IoU of the same image between two models less that of different images in one: {'; '.join(about)}",
        _by_threshold(compared),
    )


def _about_the_image(compared: Mapping[str, Compared], sources: Sequence[str]) -> Iterator[str]:
    """What of each method's agreement is about the image, also before training."""
    for method, one in compared.items():
        trained, untrained = _pairs(one.about_the_image(), sources), _pairs(one.about_the_image_untrained(), sources)
        yield f"{METHODS[method].title} {trained}, untrained {untrained}"


def _by_threshold(compared: Mapping[str, Compared]) -> str:
    """Whose maps have the larger mean IoU at which threshold, LFI-CAM's or ABN's."""
    larger = {"LFI-CAM's": [], "ABN's": []}
    ours, theirs = (compared[method].curves["same image"] for method in ("lfi-cam", "abn"))
    for threshold, a, b in zip(THRESHOLDS, ours, theirs, strict=True):
        larger["LFI-CAM's" if a > b else "ABN's"].append(f"{threshold:g}")
    parts = [f"that of {whose} maps at {', '.join(where)}" for whose, where in larger.items() if where]
    return f"By the threshold above which a map counts as on, the larger mean IoU is {' and '.join(parts)}"


def _pairs(values: Tensor, sources: Sequence[str]) -> Interval:
    """Of values (S, S, n) of the first n images."""
    return pair_interval(values, sources[: values.shape[-1]])


def _free(difference: Compared, metric: str, sources: Sequence[str]) -> Free:
    """The same difference between untrained networks, and by how much the trained ones' is larger."""
    excess = difference.than_untrained()[metric]
    return for_free("untrained networks", _pairs(difference.untrained[metric], sources), _pairs(excess, sources))


def _free_of_the_image(ours: Compared, sources: Sequence[str]) -> Free:
    """What of the agreement of untrained networks is about the image."""
    untrained = ours.about_the_image_untrained()
    excess = _first(ours.about_the_image(), untrained) - untrained
    return for_free("untrained networks", _pairs(untrained, sources), _pairs(excess, sources))


def _against_plain(difference: Compared, models: Mapping[str, Models], sources: Sequence[str]) -> list[Verdict]:
    """E10, E11."""
    more_alike = {metric: pair_interval(difference.pairs[metric], sources) for metric in METRICS}
    free = {metric: _free(difference, metric, sources) for metric in METRICS}
    better = models["lfi-cam"].correct.float() - models["plain"].correct.float()  # (S, N)
    return [judge_both("E10", more_alike, free), judge("E11", interval(better, sources))]


def _rows(name: str, compared: Compared, sources: Sequence[str]) -> list[dict[str, object]]:
    """Of the table: the same image among all models and among those of similar accuracy, then what is free."""
    rows = []
    for models, chosen in (("all", range(len(compared.pairs["iou"]))), ("similar accuracy", compared.similar)):
        row = {"compared": f"{name}: same image", "models": models, "number": len(chosen), "images": len(sources)}
        if len(chosen) > 1:
            among = torch.tensor(list(chosen))
            for metric, values in compared.pairs.items():
                agreed = pair_interval(values[among][:, among], sources)
                row |= with_interval(metric, agreed) if agreed.models else {metric: agreed.mean}  # one pair says nothing of others
        rows.append(row)
    for null, values in compared.free.items():
        row = {"compared": f"{name}: {null}", "models": "all", "number": len(values), "images": len(sources)}
        rows.append(row | with_interval("iou", interval(values, sources)))
    for what, found in (("untrained", compared.untrained), ("trained - untrained", compared.than_untrained())):
        row = {"compared": f"{name}: {what}", "models": "all"}
        for metric, values in found.items():
            row |= {"number": len(values), "images": values.shape[-1]} | with_interval(metric, _pairs(values, sources))
        rows.append(row)
    return rows


def _row(compared: str, pairs: Mapping[str, Tensor], sources: Sequence[str]) -> dict[str, object]:
    """Of the table: metric -> (S, S, N), among all models."""
    row = {"compared": compared, "models": "all", "number": len(pairs["iou"]), "images": len(sources)}
    for metric, values in pairs.items():
        row |= with_interval(metric, pair_interval(values, sources))
    return row


def _rows_of_plain(models: Models, features: Mapping[str, Tensor], sources: Sequence[str]) -> list[dict[str, object]]:
    """What else a plain network shows: the CAMs of the predicted class where both models predict the same, its mean feature map."""
    row = {"models": "all", "number": len(models.runs)}
    predicted = pair_values(models.maps["cam"], models.size, METRICS)
    both = models.predicted[:, None] == models.predicted[None]  # (S, S, N)
    both &= ~torch.eye(len(both), dtype=torch.bool)[..., None]
    means = {metric: values[both].mean().item() for metric, values in predicted.items()}  # of each pair other images: no interval
    rows = [row | {"compared": f"{models.title}: same image, of the class that both predict"} | means]
    return [*rows, _row(f"{models.title}: same image, mean feature map", features, sources)]


def _rows_of_panels(
    table: pd.DataFrame, models: Mapping[str, Models], compared: Mapping[str, Compared]
) -> list[list[Dots | Lines]]:
    shown = table[(table["models"] == "all") & ~table["compared"].str.contains("trained - untrained|that both predict")]
    plain = METHODS["plain"]
    curves = {f"{models[method].title}, {what}": curve for method, one in compared.items() for what, curve in one.curves.items()}

    def dots(rows: pd.DataFrame, label: str, difference: bool) -> Dots:
        names = [name.replace(plain.title, plain.short_title) for name in rows["compared"]]
        return Dots(label, names, rows[["iou", "iou_low", "iou_high"]].to_numpy().tolist(), zero=difference)

    difference = shown["compared"].str.contains(" - ")
    lines = Lines("threshold", "mean IoU", THRESHOLDS, curves, [name for name in curves if name.endswith("different images")])
    return [
        [dots(shown[~difference], "mean IoU at threshold 100/255", False), lines],
        [dots(shown[difference], "difference in mean IoU", True)],
    ]


def _footnote(experiment: Experiment, models: Models) -> str:
    between = ", wider than these settings need, which were chosen and not drawn" if experiment.settings > 1 else ""
    return (
        f"{experiment.varied} of each method; beside the training images they share: {experiment.shared}. "
        f"{len(models.ids)} test images; bars: 95 % intervals over images and {len(models.runs)} models{between}. "
        "Same image: maps of one image by two models. What comes by chance: different images, maps of two images by one model; "
        "centred blob, a map and a Gaussian in the middle; untrained, maps of one image by two networks that have learned nothing. "
        "What is no higher than the first two says nothing about the image, than the third nothing about the training. Dashed, in "
        "the colour of its method: different images. A plain network's maps are of the true class, untrained of the predicted one."
    )
