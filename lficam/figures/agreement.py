"""Figures 5 and 6: do the maps of models that were trained under several settings agree?"""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from lficam.figures.charts import PairMatrices
from lficam.figures.explanations import input_panel, prediction
from lficam.figures.grid import Grid, Panel, in_two_lines, rounded
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.verdicts import ACCURACY_MARGIN, Verdict, judge_stability, similar
from lficam.metrics.bootstrap import pair_interval
from lficam.metrics.stability import pair_matrix, pairwise_stability
from lficam.model.methods import METHODS
from lficam.training.runs import Run

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


def stability_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Figs. 5 and 6: the maps of each method under five settings, their IoU, and C2 and C3 judged on all test images."""
    runs = [run for run in runs if run.config.method in experiment.methods]
    dataset = runs[0].dataset
    shown = experiment.shown_images(dataset)
    methods = {method: [run for run in runs if run.config.method == method] for method in experiment.methods}
    pairs = {method: stability_pairs(own) for method, own in methods.items()}
    coarse = {method: stability_pairs(own, coarsest(runs)) for method, own in methods.items()}
    panels, row_titles, row_notes = [], [], []
    for n, i in enumerate(shown):
        id = dataset.test.ids[i]
        panels.append(input_panel(runs[0], i, len(methods) * n + (len(methods) - 1) / 2, 0))
        for m, (method, own) in enumerate(methods.items()):
            row_titles.append(in_two_lines(METHODS[method].title))
            iou = pairs[method].query("metric == 'iou' and id == @id")["value"].mean()
            row_notes.append(f"IoU\n{iou:.2f}")
            for column, run in enumerate(own, 1):
                panels.append(Panel(id, len(methods) * n + m, column, prediction(run, i), rounded(run.explained.cam[i])))
    tables = [_stability_table(experiment, own, pairs[method], coarse[method]) for method, own in methods.items()]
    table = pd.concat(tables, ignore_index=True)
    grid = Grid(
        experiment.title,
        experiment.source,
        ["input", *(_setting_title(k, [own[k] for own in methods.values()], table) for k in range(experiment.settings))],
        row_titles,
        panels,
        row_notes,
        footnote="Under each map: predicted class and its probability; × marks a wrong one.\n"
        "IoU: mean over all pairs of settings at threshold 100/255. Above each column: its settings and test accuracies;\n"
        f"* marks one more than {100 * ACCURACY_MARGIN:.0f} points below the best of its method.\n"
        f"Models of one method share beside the training images: {experiment.shared}.",
    )
    sources = runs[0].sources()
    verdicts = {method: _judge(claim, method, table, pairs[method], sources) for method, claim in _CLAIMED.items()}
    for method, verdict in verdicts.items():
        decided = (table["method"] == METHODS[method].title) & (table["setting"] == "similar")
        table.loc[decided, "verdict"] = f"{verdict.claim} {verdict.outcome}"
    return Result(experiment, grid, table, tuple(verdicts.values()), tuple(runs), runs[0].pictures(shown))


def pair_matrix_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Mean IoU between every two settings: a heat map a method, and as a table with one row a pair."""
    methods, tables = {}, []
    for method in experiment.methods:
        own = [run for run in runs if run.config.method == method]
        pairs = stability_pairs(own).query("metric == 'iou'")
        means = pairs.groupby(["a", "b"], as_index=False)["value"].mean().rename(columns={"value": "iou"})
        matrix = torch.eye(len(own))
        for a, b, value in means.itertuples(index=False):
            matrix[int(a) - 1, int(b) - 1] = matrix[int(b) - 1, int(a) - 1] = value
        methods[METHODS[method].title] = matrix.tolist()
        tables.append(means.assign(method=METHODS[method].title))
    return Result(experiment, PairMatrices(experiment.source, methods), pd.concat(tables, ignore_index=True))


def maps_of(
    runs: Sequence[Run], index: Sequence[int] | None = None, cells: int | None = None
) -> dict[str, tuple[Sequence[str], Tensor]]:
    """The maps of some runs' test images as `pairwise_stability` takes them; the runs are named "1", "2", ...

    index: positions of the test images; all when left out.
    cells: average the maps over areas down to cells x cells first, so that methods with maps of different size can be compared.
    """
    maps = {}
    for k, run in enumerate(runs, 1):
        ids, cam = run.explained.ids, run.explained.cam
        if index is not None:
            ids, cam = [ids[i] for i in index], cam[index]
        maps[str(k)] = (ids, cam if cells is None else adaptive_avg_pool2d(cam, cells))
    return maps


def coarsest(runs: Sequence[Run]) -> int:
    """Cells a side of the smallest map."""
    return min(run.explained.cam.shape[-1] for run in runs)


def stability_pairs(runs: Sequence[Run], cells: int | None = None) -> pd.DataFrame:
    """`pairwise_stability` of `maps_of` the runs, at the size of the images."""
    return pairwise_stability(maps_of(runs, cells=cells), (runs[0].config.image_size,) * 2)


def _stability_table(experiment: Experiment, runs: Sequence[Run], pairs: pd.DataFrame, coarse: pd.DataFrame) -> pd.DataFrame:
    """One row a setting (its mean over the pairs it is part of), then one for all settings and one for the similar ones.

    pairs: as the maps are; coarse: with the maps of both methods averaged to one size.
    """
    method, cam = runs[0].config.method, runs[0].explained.cam
    accuracy = {str(k): run.metrics["test_accuracy"] for k, run in enumerate(runs, 1)}
    alike = similar(accuracy)
    pairs = pd.concat([pairs, coarse[coarse["metric"] == "iou"].assign(metric="iou_equal_map_size")])
    rows = []
    for (setting, value), run in zip(accuracy.items(), runs, strict=True):
        of_setting = pairs[(pairs["a"] == setting) | (pairs["b"] == setting)]
        hyper = {key: getattr(run.config, key) for key in ("lr", "batch_size", "weight_decay")}
        row = {"method": METHODS[method].title, "setting": setting, **hyper, "test_accuracy": value, "similar": setting in alike}
        rows.append(row | _mean_metrics(of_setting) | {"seconds": run.metrics["seconds"]})
    common = {
        "map": f"{cam.shape[-2]}x{cam.shape[-1]}",
        "published_iou_on_other_data": PUBLISHED_IOU.get((experiment.supplement_dataset, method)),
    }
    rows.append({"method": METHODS[method].title, "setting": "all", "settings": len(runs)} | _mean_metrics(pairs) | common)
    pairs = pairs[pairs["a"].isin(alike) & pairs["b"].isin(alike)]
    rows.append({"method": METHODS[method].title, "setting": "similar", "settings": len(alike)} | _mean_metrics(pairs))
    # Nullable integers: the rows that summarise have no batch size, and 32 must not become 32.0.
    return pd.DataFrame(rows).astype({"batch_size": "Int64", "settings": "Int64"})


def _mean_metrics(pairs: pd.DataFrame) -> dict[str, float]:
    return pairs.groupby("metric")["value"].mean().to_dict()


def _judge(claim: str, method: str, table: pd.DataFrame, pairs: pd.DataFrame, sources: Sequence[str]) -> Verdict:
    own = table[(table["method"] == METHODS[method].title) & table["similar"].notna()]
    alike = own.loc[own["similar"].astype(bool), "setting"].tolist()
    iou = None
    if len(alike) > 1:
        among = pairs["a"].isin(alike) & pairs["b"].isin(alike)
        iou = pair_interval(pair_matrix(pairs[among], "iou"), sources, over="images and models")
    return judge_stability(claim, METHODS[method].title, iou, len(alike), len(own))


def _setting_title(k: int, runs: Sequence[Run], table: pd.DataFrame) -> str:
    lines = [f"setting {k + 1}", *runs[0].config.hyperparameters]
    for run in runs:
        method = METHODS[run.config.method]
        row = table[(table["method"] == method.title) & (table["setting"] == str(k + 1))].iloc[0]
        lines.append(f"{method.short_title} {row['test_accuracy']:.1%}{'' if row['similar'] else '*'}")
    return "\n".join(lines)
