"""Figures 1 to 4: where trained models look, on the same test images."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from lficam.figures.grid import Grid, Panel, rounded
from lficam.figures.measured import Judged, Measured
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.tables import with_interval
from lficam.figures.verdicts import judge_c1
from lficam.metrics.importance import effective_channels
from lficam.metrics.intervals import known_interval
from lficam.metrics.localisation import localisation
from lficam.metrics.stability import centred_blob
from lficam.model.methods import METHODS
from lficam.training.explain import correct
from lficam.training.runs import Run

# Columns of Fig. 1, in its order: maps of a network trained without FIN, and of one trained with it.
WITHOUT = "(b) mean feature map,\ntrained without FIN"
WITH_FIN = "(c) mean feature map,\ntrained with FIN"
CAM = "(d) CAM of LFI-CAM"


def effectiveness_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Fig. 1: input, mean feature map without and with FIN, CAM; with C1 judged on all test images that have masks."""
    without, with_fin = runs
    columns = {
        WITHOUT: (without, without.explained.mean_features),
        WITH_FIN: (with_fin, with_fin.explained.mean_features),
        CAM: (with_fin, with_fin.explained.cam),
    }
    shown, values = experiment.shown_images(with_fin.dataset), {}
    panels = [input_panel(with_fin, i, row, 0) for row, i in enumerate(shown)]
    for column, (title, (run, cams)) in enumerate(columns.items(), 1):
        scores = localisation(cams, run.masks())
        for row, i in enumerate(shown):
            inside = f", inside {scores['energy'][i]:.0%}" if scores and not scores["energy"][i].isnan() else ""
            panels.append(Panel(run.explained.ids[i], row, column, prediction(run, i) + inside, rounded(cams[i])))
        channels = effective_channels(run.explained.importance)
        spread = {"effective_channels": channels, "channels": torch.full_like(channels, run.model.num_features)}
        values[title] = {"test_accuracy": correct(run.explained.probabilities, run.dataset.test.labels)} | scores | spread
    measured = Measured(values | anyones_maps(with_fin.masks()), with_fin.sources())
    judged = judge_effectiveness(measured)
    footnote = "Under each map: predicted class and its probability, × marks a wrong one"
    footnote += "; share of the map's sum inside the true mask." if scores else "."
    footnote += _start(experiment)
    grid = Grid(experiment.title, experiment.source, ["(a) input", *columns], [""] * len(shown), panels, footnote=footnote)
    return Result(experiment, grid, judged.table, judged.verdicts, tuple(runs), with_fin.pictures(shown), measured)


def judge_effectiveness(measured: Measured) -> Judged:
    """One row a map, first those of the columns; C1."""
    methods = {WITHOUT: "lfi-cam-without-fin", WITH_FIN: "lfi-cam", CAM: "lfi-cam"}
    rows = []
    for name, found in measured.values.items():
        row = {"map": name.replace("\n", " ")}
        row |= {"method": METHODS[methods[name]].title} if name in methods else {}
        rows.append(row | _row(found, measured.sources))
    energies = {name: found["energy"] for name, found in measured.values.items() if "energy" in found}
    known = {name: energy for name, energy in energies.items() if name not in methods}
    verdict = judge_c1(energies.get(CAM), energies.get(WITH_FIN), energies.get(WITHOUT), measured.sources, known)
    return Judged(pd.DataFrame(rows), (verdict,))


def anyones_maps(masks: Tensor | None) -> dict[str, dict[str, Tensor]]:
    """What maps that know nothing of the image have inside masks (N, 1, h, w): name -> pointing and energy, (N,)."""
    if masks is None or not masks.any():
        return {}
    blob = centred_blob(masks.shape[-2:]).expand(len(masks), -1, -1, -1)
    inside = masks.float().mean((1, 2, 3)).masked_fill(~masks.flatten(1).any(1), torch.nan)
    return {"a uniform map": {"pointing": inside, "energy": inside}, "a centred blob": localisation(blob, masks)}


def explanation_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Figs. 2-4: the maps of ABN and LFI-CAM on the same test images."""
    shown, values = experiment.shown_images(runs[0].dataset), {}
    panels = [input_panel(runs[0], i, 0, column) for column, i in enumerate(shown)]
    for row, run in enumerate(runs, 1):
        for column, i in enumerate(shown):
            panels.append(Panel(run.explained.ids[i], row, column, prediction(run, i), rounded(run.explained.cam[i])))
        right = correct(run.explained.probabilities, run.dataset.test.labels)
        values[METHODS[run.config.method].title] = {"test_accuracy": right} | localisation(run.explained.cam, run.masks())
    measured = Measured(values, runs[0].sources())
    table = judge_explanations(measured).table.assign(seconds=[run.metrics["seconds"] for run in runs])
    footnote = "Under each map: predicted class and its probability; × marks a wrong one." + _start(experiment)
    grid = Grid(experiment.title, experiment.source, [""] * len(shown), ["input", *values], panels, footnote=footnote)
    return Result(experiment, grid, table, (), tuple(runs), runs[0].pictures(shown), measured)


def judge_explanations(measured: Measured) -> Judged:
    """One row a method."""
    rows = [{"method": method} | _row(found, measured.sources) for method, found in measured.values.items()]
    return Judged(pd.DataFrame(rows))


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


def _row(found: Mapping[str, Tensor], sources: Sequence[str]) -> dict[str, float]:
    """The mean of each metric (N,), of those that need a mask with its interval over images."""
    row = {}
    for metric, values in found.items():
        if metric in ("pointing", "energy"):
            row |= with_interval(metric, known_interval(values, sources))
        else:
            row[metric] = values.double().mean().item()
    return row
