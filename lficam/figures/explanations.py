"""Figures 1 to 4: where trained models look, on the same test images."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from lficam.figures.grid import Grid, Panel, rounded
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.tables import with_interval
from lficam.figures.verdicts import judge_c1
from lficam.metrics.importance import effective_channels
from lficam.metrics.intervals import known_interval
from lficam.metrics.localisation import localisation
from lficam.metrics.stability import centred_blob
from lficam.model.methods import METHODS
from lficam.training.runs import Run


def effectiveness_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Fig. 1: input, mean feature map without and with FIN, CAM; with C1 judged on all test images that have masks."""
    without, with_fin = runs
    columns = {
        "(b) mean feature map,\ntrained without FIN": (without, without.explained.mean_features),
        "(c) mean feature map,\ntrained with FIN": (with_fin, with_fin.explained.mean_features),
        "(d) CAM of LFI-CAM": (with_fin, with_fin.explained.cam),
    }
    shown, rows, energies = experiment.shown_images(with_fin.dataset), [], []
    panels = [input_panel(with_fin, i, row, 0) for row, i in enumerate(shown)]
    for column, (title, (run, cams)) in enumerate(columns.items(), 1):
        scores = localisation(cams, run.masks())
        energies.append(scores.get("energy"))
        for row, i in enumerate(shown):
            inside = f", inside {scores['energy'][i]:.0%}" if scores and not scores["energy"][i].isnan() else ""
            panels.append(Panel(run.explained.ids[i], row, column, prediction(run, i) + inside, rounded(cams[i])))
        channels = effective_channels(run.explained.importance).mean().item()
        spread = {"effective_channels": channels, "channels": run.model.num_features}
        rows.append({"map": title.replace("\n", " ")} | _table_row(run, scores) | spread)
    known = _anyones_maps(with_fin.masks())
    for name, found in known.items():
        row = {"map": name}
        for metric, values in found.items():
            row |= with_interval(metric, known_interval(values, with_fin.sources()))
        rows.append(row)
    footnote = "Under each map: predicted class and its probability, × marks a wrong one"
    footnote += "; share of the map's sum inside the true mask." if scores else "."
    footnote += _start(experiment)
    grid = Grid(experiment.title, experiment.source, ["(a) input", *columns], [""] * len(shown), panels, footnote=footnote)
    b, c, d = energies
    verdict = judge_c1(d, c, b, with_fin.sources(), {name: found["energy"] for name, found in known.items()})
    return Result(experiment, grid, pd.DataFrame(rows), (verdict,), tuple(runs), with_fin.pictures(shown))


def _anyones_maps(masks: Tensor | None) -> dict[str, dict[str, Tensor]]:
    """What maps that know nothing of the image have inside masks (N, 1, h, w): name -> pointing and energy, (N,)."""
    if masks is None or not masks.any():
        return {}
    blob = centred_blob(masks.shape[-2:]).expand(len(masks), -1, -1, -1)
    inside = masks.float().mean((1, 2, 3)).masked_fill(~masks.flatten(1).any(1), torch.nan)
    return {"a uniform map": {"pointing": inside, "energy": inside}, "a centred blob": localisation(blob, masks)}


def explanation_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Figs. 2-4: the maps of ABN and LFI-CAM on the same test images."""
    shown, rows = experiment.shown_images(runs[0].dataset), []
    panels = [input_panel(runs[0], i, 0, column) for column, i in enumerate(shown)]
    for row, run in enumerate(runs, 1):
        for column, i in enumerate(shown):
            panels.append(Panel(run.explained.ids[i], row, column, prediction(run, i), rounded(run.explained.cam[i])))
        rows.append(_table_row(run, localisation(run.explained.cam, run.masks())) | {"seconds": run.metrics["seconds"]})
    row_titles = ["input", *(METHODS[run.config.method].title for run in runs)]
    footnote = "Under each map: predicted class and its probability; × marks a wrong one." + _start(experiment)
    grid = Grid(experiment.title, experiment.source, [""] * len(shown), row_titles, panels, footnote=footnote)
    return Result(experiment, grid, pd.DataFrame(rows), (), tuple(runs), runs[0].pictures(shown))


def _start(experiment: Experiment) -> str:
    """A line on where trainings began, unless from nothing."""
    return f"\nTrained from {experiment.shared}." if experiment.shared else ""


def input_panel(run: Run, i: int, row: float, column: int) -> Panel:
    """Test image i without a map, its true class below."""
    test = run.dataset.test
    return Panel(test.ids[i], row, column, f"true: {run.classes[test.labels[i]]}")


def prediction(run: Run, i: int) -> str:
    """Predicted class and its probability; a cross marks a wrong one."""
    probability, label = run.explained.probabilities[i].max(0)
    wrong = "" if label == run.dataset.test.labels[i] else " ×"
    return f"{run.classes[label]} {probability:.2f}{wrong}"


def _table_row(run: Run, scores: Mapping[str, Tensor]) -> dict[str, object]:
    """Method, accuracy, and the mean of each score with its interval over images."""
    row = {"method": METHODS[run.config.method].title, "test_accuracy": run.metrics["test_accuracy"]}
    for metric, values in scores.items():
        row |= with_interval(metric, known_interval(values, run.sources()))
    return row
