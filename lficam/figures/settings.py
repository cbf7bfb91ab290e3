"""Do the maps of models that were trained under several settings agree? The numbers of Figures 5 and 6, C2 and C3."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from lficam.figures.charts import PairMatrices
from lficam.figures.claims import UNSTABLE_BELOW
from lficam.figures.models import Models, models_of, pair_values, untrained_maps
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.verdicts import Free, Verdict, for_free, judge_stability, similar
from lficam.metrics.intervals import Interval, pair_interval
from lficam.metrics.similarity import THRESHOLD
from lficam.metrics.stability import pair_matrix, pairwise_stability
from lficam.model.cam import resize_map
from lficam.model.methods import METHODS
from lficam.training.runs import RunRecord

# Mean IoU between models, from the figure of the authors' release: computed on the real data set with `iou_published`.
PUBLISHED_IOU = {
    ("catdog", "abn"): 0.30,
    ("catdog", "lfi-cam"): 0.73,
    ("cifar10", "abn"): 0.29,
    ("cifar10", "lfi-cam"): 0.60,
    ("stl10", "abn"): 0.32,
    ("stl10", "lfi-cam"): 0.64,
}
_CLAIMED = {"abn": "C2", "lfi-cam": "C3"}


class Settings(NamedTuple):
    """Several methods, each trained under the same settings.

    methods, pairs: method -> its models, and `pairwise_stability` of their maps; settings are named "1", "2", ...
    table: one row a setting, one for all settings and one for those of similar accuracy of each method. verdicts: C2, C3.
    remarks: what else came out, in sentences without their full stop.
    """

    methods: Mapping[str, Models]
    pairs: Mapping[str, pd.DataFrame]
    table: pd.DataFrame
    verdicts: tuple[Verdict, ...]
    remarks: tuple[str, ...]


def judge_settings(experiment: Experiment, runs: Sequence[RunRecord]) -> Settings:
    """Compare the maps of each method's models, on the images of `models`, and judge C2 and C3."""
    methods = {method: models_of(method, runs) for method in experiment.methods}
    cells = min(models.maps["cam"].shape[-1] for models in methods.values())
    pairs = {method: _pairs(models) for method, models in methods.items()}
    coarse = {method: _pairs(models, cells) for method, models in methods.items()}
    tables = [_stability_table(experiment, models, pairs[method], coarse[method]) for method, models in methods.items()]
    table = pd.concat(tables, ignore_index=True)
    agreed = {method: _among_similar(models, pairs[method]) for method, models in methods.items()}
    verdicts = {method: _judge(claim, methods[method], agreed) for method, claim in _CLAIMED.items()}
    for method, verdict in verdicts.items():
        decided = (table["method"] == METHODS[method].title) & (table["setting"] == "similar")
        table.loc[decided, "verdict"] = f"{verdict.claim} {verdict.words}"
    titles = [models.title for models in methods.values()]
    remarks = (_beside_accuracy(table, titles), _above_threshold(table, titles))
    return Settings(methods, pairs, table, tuple(verdicts.values()), remarks)


def settings_figure(experiment: Experiment, runs: Sequence[RunRecord]) -> Result:
    """As Figures 5 and 6, without pictures: a heat map of the mean IoU between every two settings for each method."""
    settings = judge_settings(experiment, runs)
    drawing = _matrices(experiment, settings.methods, settings.pairs)
    return Result(experiment, drawing, settings.table, settings.verdicts, tuple(runs), remarks=settings.remarks)


def pair_matrices(experiment: Experiment, settings: Settings) -> Result:
    """The same heat maps, with a table of one row a pair."""
    drawing = _matrices(experiment, settings.methods, settings.pairs)
    tables = []
    for title, matrix in drawing.methods.items():
        a, b = torch.triu_indices(len(matrix), len(matrix), 1)
        tables.append(pd.DataFrame({"a": a + 1, "b": b + 1, "iou": torch.tensor(matrix)[a, b], "method": title}))
    return Result(experiment, drawing, pd.concat(tables, ignore_index=True))


def _matrices(experiment: Experiment, methods: Mapping[str, Models], pairs: Mapping[str, pd.DataFrame]) -> PairMatrices:
    matrices, left_out = {}, {}
    for method, models in methods.items():
        means = pair_matrix(pairs[method], "iou").mean(-1)  # (S, S)
        matrices[models.title] = (means + torch.eye(len(means))).tolist()
        judged = {int(k) + 1 for k in similar(models.accuracy)}
        left_out[models.title] = [k for k in range(1, len(means) + 1) if k not in judged]
    return PairMatrices(experiment.source, matrices, left_out)


def _pairs(models: Models, cells: int | None = None) -> pd.DataFrame:
    """`pairwise_stability` of settings named "1", "2", ..., at the size of the images.

    cells: average the maps over areas down to cells x cells first, so that methods with maps of different size can be compared.
    """
    maps = {}
    for k, cams in enumerate(models.maps["cam"], 1):
        maps[str(k)] = (models.ids, cams if cells is None else adaptive_avg_pool2d(cams, cells))
    return pairwise_stability(maps, models.size)


def _stability_table(experiment: Experiment, models: Models, pairs: pd.DataFrame, coarse: pd.DataFrame) -> pd.DataFrame:
    """One row a setting (its mean over the pairs it is part of), then one for all settings and one for the similar ones.

    pairs: as the maps are; coarse: with the maps of both methods averaged to one size.
    """
    cells = models.maps["cam"].shape[-2:]
    accuracy = {str(k): run.metrics["test_accuracy"] for k, run in enumerate(models.runs, 1)}
    alike = similar(accuracy)
    pairs = pd.concat([pairs, coarse[coarse["metric"] == "iou"].assign(metric="iou_equal_map_size")])
    on = (torch.stack([resize_map(cams, models.size) for cams in models.maps["cam"]]) > THRESHOLD).float().mean((1, 2, 3, 4))
    rows = []
    for (setting, value), run, above in zip(accuracy.items(), models.runs, on.tolist(), strict=True):
        of_setting = pairs[(pairs["a"] == setting) | (pairs["b"] == setting)]
        hyper = {key: getattr(run.config, key) for key in ("lr", "batch_size", "weight_decay")}
        row = {"method": models.title, "setting": setting, **hyper, "test_accuracy": value, "similar": setting in alike}
        rows.append(row | _mean_metrics(of_setting) | {"above_threshold": above, "seconds": run.metrics["seconds"]})
    common = {
        "map": f"{cells[0]}x{cells[1]}",
        "published_iou_on_other_data": PUBLISHED_IOU.get((experiment.supplement_dataset, models.method)),
    }
    rows.append({"method": models.title, "setting": "all", "settings": len(models.runs)} | _mean_metrics(pairs) | common)
    pairs = pairs[pairs["a"].isin(alike) & pairs["b"].isin(alike)]
    rows.append({"method": models.title, "setting": "similar", "settings": len(alike)} | _mean_metrics(pairs))
    # Nullable integers: the rows that summarise have no batch size, and 32 must not become 32.0.
    return pd.DataFrame(rows).astype({"batch_size": "Int64", "settings": "Int64"})


def _mean_metrics(pairs: pd.DataFrame) -> dict[str, float]:
    return pairs.groupby("metric")["value"].mean().to_dict()


def _beside_accuracy(table: pd.DataFrame, titles: Sequence[str]) -> str:
    """IoU over all settings and over those of similar accuracy, beside the accuracies."""
    parts = []
    for title in titles:
        rows = table[table["method"] == title].set_index("setting")
        accuracy, (settings, alike) = rows["test_accuracy"].dropna(), rows.loc[["all", "similar"], "settings"]
        part = f"{title} {rows.loc['all', 'iou']:.2f} over all {settings} settings"
        if 1 < alike < settings:
            part += f", {rows.loc['similar', 'iou']:.2f} over the {alike} of similar accuracy"
        parts.append(f"{part}, test accuracy {100 * accuracy.min():.1f} to {100 * accuracy.max():.1f} %")
    return f"Mean IoU between settings, beside how well the networks classify: {'; '.join(parts)}"


def _above_threshold(table: pd.DataFrame, titles: Sequence[str]) -> str:
    """How much of an image a method's maps cover, by setting: a raised background covers most of it."""
    shares = {title: table.loc[table["method"] == title, "above_threshold"].dropna() for title in titles}
    parts = [f"{', '.join(f'{100 * share:.0f}' for share in values)} % in {title}'s maps" for title, values in shares.items()]
    return f"Above the threshold of 100/255 lies, by setting, a share of the image of {' and '.join(parts)}"


class _Agreed(NamedTuple):
    """IoU of the models of similar accuracy: their positions, (s, s, N), and over pairs and images; None of fewer than two."""

    models: Tensor
    values: Tensor
    mean: Interval | None


def _among_similar(models: Models, pairs: pd.DataFrame) -> _Agreed:
    alike = torch.tensor([int(k) for k in similar(models.accuracy)])
    values = pair_matrix(pairs, "iou")[alike][:, alike]
    return _Agreed(alike, values, pair_interval(values, models.sources()) if len(alike) > 1 else None)


def _judge(claim: str, models: Models, agreed: Mapping[str, _Agreed]) -> Verdict:
    own = agreed[models.method]
    free = None
    if own.mean and claim == "C3":
        free = _untrained(models, own)
    elif own.mean:
        free = _another(models, agreed)
    return judge_stability(claim, models.title, own.mean, len(own.models), len(models.runs), free)


def _untrained(models: Models, own: _Agreed) -> Free:
    """C3: pairs of networks that have learned nothing."""
    values = pair_values(untrained_maps(models), models.size, ["iou"])["iou"][own.models][:, own.models]  # (s, s, n)
    sources = models.sources(values.shape[-1])
    excess = own.values[..., : values.shape[-1]] - values
    return for_free("untrained networks", pair_interval(values, sources), pair_interval(excess, sources))


def _another(models: Models, agreed: Mapping[str, _Agreed]) -> Free | None:
    """C2: the most inconsistent of the other methods."""
    others = {method: one.mean for method, one in agreed.items() if method != models.method and one.mean}
    if not others:
        return None
    lowest = min(others, key=lambda method: others[method].mean)
    return Free(METHODS[lowest].title, others[lowest], others[lowest].mean < UNSTABLE_BELOW)
