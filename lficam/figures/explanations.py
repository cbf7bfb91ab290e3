"""From trained runs to a figure: the panels, the table and the verdicts of each of the seed's items.

A notebook calls one of `architecture_figure`, `effectiveness_figure`, `explanation_figure`, `stability_figure`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO

import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from lficam.figures.architecture import cost_table, fin_table
from lficam.figures.charts import Agreement, Bars, Drawing, draw
from lficam.figures.experiments import Experiment
from lficam.figures.grid import Grid, Panel, rounded
from lficam.figures.tables import readable, with_interval
from lficam.figures.verdicts import ACCURACY_MARGIN, Verdict, judge_c1, judge_stability, similar
from lficam.metrics.bootstrap import interval, pair_interval
from lficam.metrics.importance import effective_channels
from lficam.metrics.localisation import localisation
from lficam.metrics.stability import pair_matrix, pairwise_stability
from lficam.training.runs import Run

NAMES = {"abn": "ABN", "lfi-cam": "LFI-CAM", "lfi-cam-without-fin": "LFI-CAM without FIN"}

NOTEBOOK_DPI = 110  # on a screen; keeps a notebook small

# Mean IoU between models, from the figure of the authors' release: computed on the real data set with `iou_published`.
PUBLISHED_IOU = {
    ("catdog", "abn"): 0.30,
    ("catdog", "lfi-cam"): 0.73,
    ("cifar10", "abn"): 0.29,
    ("cifar10", "lfi-cam"): 0.60,
    ("stl10", "abn"): 0.32,
    ("stl10", "lfi-cam"): 0.64,
}
_SHORT = {"LFI-CAM without FIN": "no FIN"}  # where there is little room
_CLAIMED = {"abn": "C2", "lfi-cam": "C3"}


@dataclass(frozen=True)
class Result:
    """A finished figure: shown as a picture in a notebook.

    drawing: what it is drawn from. table: its numbers. verdicts: on the claims it can judge, maybe none.
    images: the pictures a grid shows, sample id -> (3, h, w) in [0, 1].
    """

    experiment: Experiment
    drawing: Drawing
    table: pd.DataFrame
    verdicts: tuple[Verdict, ...] = ()
    runs: tuple[Run, ...] = ()
    images: Mapping[str, Tensor] = field(default_factory=dict)

    def draw(self) -> Figure:
        """The matplotlib figure, drawn anew."""
        return draw(self.drawing, self.images)

    def summary(self) -> pd.DataFrame:
        """The table as text, rounded, for reading."""
        return readable(self.table)

    def __repr__(self) -> str:
        return f"<{self.experiment.name}: {self.experiment.title}>"

    def _repr_png_(self) -> bytes:
        drawn, small = BytesIO(), BytesIO()
        self.draw().savefig(drawn, format="png", dpi=NOTEBOOK_DPI)
        picture = Image.open(drawn).convert("RGB")
        if not isinstance(self.drawing, Grid):
            picture = picture.quantize(256)  # enough for a chart, at a third of the size
        picture.save(small, format="png", optimize=True)
        return small.getvalue()


def pictures(run: Run, indices: Sequence[int]) -> dict[str, Tensor]:
    """The test images as the model sees them: id -> (3, h, w) in [0, 1]."""
    shown = run.dataset.test.take(indices)
    (crops,) = shown.crops(run.config.image_size, run.config.augmentation, len(shown), torch.device("cpu"))
    return dict(zip(shown.ids, crops, strict=True))


def architecture_figure(experiment: Experiment) -> Result:
    """Table 1 beside the real modules, and what each part costs."""
    costs = cost_table()
    source = "ResNet-50, K = 2048, one 224×224 image; counted on the modules"
    bars = Bars("What each part costs", source, list(costs.index), costs.round(4).to_dict("list"))
    return Result(experiment, bars, fin_table())


def effectiveness_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Fig. 1: input, mean feature map without and with FIN, CAM; with C1 judged on all test images that have masks."""
    without, with_fin = runs
    columns = {
        "(b) mean feature map,\ntrained without FIN": (without, without.explained.mean_features),
        "(c) mean feature map,\ntrained with FIN": (with_fin, with_fin.explained.mean_features),
        "(d) CAM of LFI-CAM": (with_fin, with_fin.explained.cam),
    }
    shown, rows, energies = experiment.shown(with_fin.dataset), [], []
    panels = [_input_panel(with_fin, i, row, 0) for row, i in enumerate(shown)]
    for column, (title, (run, cams)) in enumerate(columns.items(), 1):
        scores = localisation(cams, run.dataset.test.masks)
        energies.append(scores.get("energy"))
        for row, i in enumerate(shown):
            inside = f", inside {scores['energy'][i]:.0%}" if scores else ""
            panels.append(Panel(run.explained.ids[i], row, column, _prediction(run, i) + inside, rounded(cams[i])))
        channels = effective_channels(run.explained.importance).mean().item()
        spread = {"effective_channels": channels, "channels": run.model.num_features}
        rows.append({"map": title.replace("\n", " ")} | _table_row(run, scores) | spread)
    footnote = "Under each map: predicted class and its probability, × marks a wrong one"
    footnote += "; share of the map's sum inside the true mask." if scores else "."
    grid = Grid(experiment.title, experiment.source, ["(a) input", *columns], [""] * len(shown), panels, footnote=footnote)
    b, c, d = energies
    verdict = judge_c1(d, c, b, with_fin.sources())
    return Result(experiment, grid, pd.DataFrame(rows), (verdict,), tuple(runs), pictures(with_fin, shown))


def explanation_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Figs. 2-4: the maps of ABN and LFI-CAM on the same test images."""
    shown, rows = experiment.shown(runs[0].dataset), []
    panels = [_input_panel(runs[0], i, 0, column) for column, i in enumerate(shown)]
    for row, run in enumerate(runs, 1):
        for column, i in enumerate(shown):
            panels.append(Panel(run.explained.ids[i], row, column, _prediction(run, i), rounded(run.explained.cam[i])))
        rows.append(_table_row(run, localisation(run.explained.cam, run.dataset.test.masks)) | {"seconds": run.metrics["seconds"]})
    row_titles = ["input", *(NAMES[run.config.method] for run in runs)]
    footnote = "Under each map: predicted class and its probability; × marks a wrong one."
    grid = Grid(experiment.title, experiment.source, [""] * len(shown), row_titles, panels, footnote=footnote)
    return Result(experiment, grid, pd.DataFrame(rows), (), tuple(runs), pictures(runs[0], shown))


def stability_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Figs. 5 and 6: the maps of each method under five settings, their IoU, and C2 and C3 judged on all test images."""
    dataset = runs[0].dataset
    shown = experiment.shown(dataset)
    methods = {method: [run for run in runs if run.config.method == method] for method in experiment.methods}
    pairs = {method: stability_pairs(own) for method, own in methods.items()}
    coarse = {method: stability_pairs(own, coarsest(runs)) for method, own in methods.items()}
    panels, row_titles, row_notes = [], [], []
    for n, i in enumerate(shown):
        id = dataset.test.ids[i]
        panels.append(_input_panel(runs[0], i, len(methods) * n + (len(methods) - 1) / 2, 0))
        for m, (method, own) in enumerate(methods.items()):
            row_titles.append(NAMES[method].replace(" ", "\n", 1))
            iou = pairs[method].query("metric == 'iou' and id == @id")["value"].mean()
            row_notes.append(f"IoU\n{iou:.2f}")
            for column, run in enumerate(own, 1):
                panels.append(Panel(id, len(methods) * n + m, column, _prediction(run, i), rounded(run.explained.cam[i])))
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
        f"* marks one more than {100 * ACCURACY_MARGIN:.0f} points below the best of its method.",
    )
    sources = runs[0].sources()
    verdicts = {method: _judge(claim, method, table, pairs[method], sources) for method, claim in _CLAIMED.items()}
    for method, verdict in verdicts.items():
        decided = (table["method"] == NAMES[method]) & (table["setting"] == "similar")
        table.loc[decided, "verdict"] = f"{verdict.claim} {verdict.outcome}"
    return Result(experiment, grid, table, tuple(verdicts.values()), tuple(runs), pictures(runs[0], shown))


def agreement_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Mean IoU between every two settings: a heat map a method, and as a table with one row a pair."""
    methods, tables = {}, []
    for method in experiment.methods:
        own = [run for run in runs if run.config.method == method]
        pairs = stability_pairs(own).query("metric == 'iou'")
        means = pairs.groupby(["a", "b"], as_index=False)["value"].mean().rename(columns={"value": "iou"})
        matrix = torch.eye(len(own))
        for a, b, value in means.itertuples(index=False):
            matrix[int(a) - 1, int(b) - 1] = matrix[int(b) - 1, int(a) - 1] = value
        methods[NAMES[method]] = matrix.tolist()
        tables.append(means.assign(method=NAMES[method]))
    return Result(experiment, Agreement(experiment.source, methods), pd.concat(tables, ignore_index=True))


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
        row = {"method": NAMES[method], "setting": setting, **hyper, "test_accuracy": value, "similar": setting in alike}
        rows.append(row | _mean_metrics(of_setting) | {"seconds": run.metrics["seconds"]})
    common = {
        "map": f"{cam.shape[-2]}x{cam.shape[-1]}",
        "published_iou_on_other_data": PUBLISHED_IOU.get((experiment.seed_dataset, method)),
    }
    rows.append({"method": NAMES[method], "setting": "all", "settings": len(runs)} | _mean_metrics(pairs) | common)
    pairs = pairs[pairs["a"].isin(alike) & pairs["b"].isin(alike)]
    rows.append({"method": NAMES[method], "setting": "similar", "settings": len(alike)} | _mean_metrics(pairs))
    # Nullable integers: the rows that summarise have no batch size, and 32 must not become 32.0.
    return pd.DataFrame(rows).astype({"batch_size": "Int64", "settings": "Int64"})


def _mean_metrics(pairs: pd.DataFrame) -> dict[str, float]:
    return pairs.groupby("metric")["value"].mean().to_dict()


def _judge(claim: str, method: str, table: pd.DataFrame, pairs: pd.DataFrame, sources: Sequence[str]) -> Verdict:
    own = table[(table["method"] == NAMES[method]) & table["similar"].notna()]
    alike = own.loc[own["similar"].astype(bool), "setting"].tolist()
    iou = None
    if len(alike) > 1:
        among = pairs["a"].isin(alike) & pairs["b"].isin(alike)
        iou = pair_interval(pair_matrix(pairs[among], "iou"), sources, over="images and models")
    return judge_stability(claim, NAMES[method], iou, len(alike), len(own))


def _setting_title(k: int, runs: Sequence[Run], table: pd.DataFrame) -> str:
    config = runs[0].config
    lines = [f"setting {k + 1}", f"lr {config.lr:g}", f"batch {config.batch_size}", f"decay {config.weight_decay:g}"]
    for run in runs:
        name = NAMES[run.config.method]
        row = table[(table["method"] == name) & (table["setting"] == str(k + 1))].iloc[0]
        lines.append(f"{_SHORT.get(name, name)} {row['test_accuracy']:.1%}{'' if row['similar'] else '*'}")
    return "\n".join(lines)


def _input_panel(run: Run, i: int, row: float, column: int) -> Panel:
    """Test image i without a map, its true class below."""
    test = run.dataset.test
    return Panel(test.ids[i], row, column, f"true: {run.classes[test.labels[i]]}")


def _prediction(run: Run, i: int) -> str:
    """Predicted class and its probability; a cross marks a wrong one."""
    probability, label = run.explained.probabilities[i].max(0)
    wrong = "" if label == run.dataset.test.labels[i] else " ×"
    return f"{run.classes[label]} {probability:.2f}{wrong}"


def _table_row(run: Run, scores: Mapping[str, Tensor]) -> dict[str, object]:
    """Method, accuracy, and the mean of each score with its interval over images."""
    row = {"method": NAMES[run.config.method], "test_accuracy": run.metrics["test_accuracy"]}
    for metric, values in scores.items():
        row |= with_interval(metric, interval(values, run.sources()))
    return row
