"""Figures 1 to 4: where trained models look, on the same test images."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from lficam.data.samples import shuffled
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
UNIFORM = "a uniform map"
BLOCK = 5  # images side by side in Figures 2 to 4


def effectiveness_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Fig. 1: input, mean feature map without and with FIN, CAM, the difference of the last two; C1 judged on all with masks."""
    without, with_fin = runs
    columns = {
        WITHOUT: (without, without.explained.mean_features),
        WITH_FIN: (with_fin, with_fin.explained.mean_features),
        CAM: (with_fin, with_fin.explained.cam),
    }
    shown, values = experiment.shown_images(with_fin.dataset), {}
    chance = anyones_maps(with_fin.masks())
    panels = [input_panel(with_fin, i, row, 0) for row, i in enumerate(shown)]
    for column, (title, (run, cams)) in enumerate(columns.items(), 1):
        scores = localisation(cams, run.masks())
        for row, i in enumerate(shown):
            caption = prediction(run, i)
            if scores and not scores["energy"][i].isnan():
                caption += f"\ninside {scores['energy'][i]:.0%} ({chance[UNIFORM]['energy'][i]:.0%})"
            panels.append(Panel(run.explained.ids[i], row, column, caption, rounded(cams[i])))
        channels = effective_channels(run.explained.importance)
        spread = {"effective_channels": channels, "channels": torch.full_like(channels, run.model.num_features)}
        values[title] = {"test_accuracy": correct(run.explained.probabilities, run.dataset.test.labels)} | scores | spread
    differences = (columns[CAM][1] - columns[WITH_FIN][1])[shown]
    for row, (i, difference) in enumerate(zip(shown, differences, strict=True)):
        caption = f"differ by up to {difference.abs().max():.2f}"
        panels.append(Panel(with_fin.explained.ids[i], row, 4, caption, difference=rounded(difference)))
    measured = Measured(values | chance, with_fin.sources())
    judged = judge_effectiveness(measured)
    footnote = "Under each map: predicted class and its probability, × marks a wrong one"
    footnote += (
        "; share of the map's sum inside the true object, in brackets of a map that is the same everywhere." if scores else "."
    )
    grid = Grid(
        experiment.title,
        experiment.source,
        ["(a) input", *(name.replace("mean feature", "mean\nfeature") for name in columns), "difference,\n(d) less (c)"],
        [""] * len(shown),
        panels,
        footnote=footnote + _start(experiment),
        limit=round(differences.abs().max().item(), 4),
        difference="(d) less (c)",
    )
    masks = shown_masks(with_fin, shown)
    return Result(experiment, grid, judged.table, judged.verdicts, tuple(runs), with_fin.pictures(shown), masks, measured)


def judge_effectiveness(measured: Measured) -> Judged:
    """One row a map, first those of the columns; C1."""
    methods = {WITHOUT: "lfi-cam-without-fin", WITH_FIN: "lfi-cam", CAM: "lfi-cam"}
    rows = []
    for name, found in measured.values.items():
        row = {"map": name.replace("\n", " ")}
        row |= {"method": METHODS[methods[name]].title} if name in methods else {}
        rows.append(row | means_of(found, measured.sources))
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
    return {UNIFORM: {"pointing": inside, "energy": inside}, "a centred blob": localisation(blob, masks)}


def explanation_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Figs. 2-4: the maps of ABN and LFI-CAM on the same test images, each of another class."""
    labels = runs[0].dataset.test.labels.tolist()
    shown, values = one_of_each(labels, shuffled(len(labels)), experiment.shown), {}
    chance = anyones_maps(runs[0].masks())
    panels, rows = [], 1 + len(runs)  # of a block of images
    for k, i in enumerate(shown):
        block, column = divmod(k, BLOCK)
        panels.append(input_panel(runs[0], i, rows * block, column))
        for row, run in enumerate(runs, 1):
            cam = rounded(run.explained.cam[i])
            panels.append(Panel(run.explained.ids[i], rows * block + row, column, prediction(run, i), cam))
    for run in runs:
        right = correct(run.explained.probabilities, run.dataset.test.labels)
        values[METHODS[run.config.method].title] = {"test_accuracy": right} | localisation(run.explained.cam, run.masks())
    measured = Measured(values | chance, runs[0].sources())
    judged = judge_explanations(measured)
    table = judged.table.assign(seconds=pd.Series([run.metrics["seconds"] for run in runs]))  # the maps of nobody took none
    blocks = -(-len(shown) // BLOCK)
    footnote = "Under each map: predicted class and its probability; × marks a wrong one."
    notes = []
    if chance:
        notes = _notes(values | {UNIFORM: chance[UNIFORM]}) + [""] * rows * (blocks - 1)
        footnote += " Right, means over all test images: how often the peak of the map lies on the true object (pointing), and the"
        footnote += " share of its sum that does (energy); the same of a map that is the same everywhere (chance)."
    grid = Grid(
        experiment.title,
        experiment.source,
        [""] * min(BLOCK, len(shown)),
        ["input", *values] * blocks,
        panels,
        notes,
        footnote=footnote + _start(experiment),
    )
    pictures, masks = runs[0].pictures(shown), shown_masks(runs[0], shown)
    return Result(experiment, grid, table, (), tuple(runs), pictures, masks, measured, judged.remarks)


def one_of_each(labels: Sequence[int], order: Sequence[int], most: int) -> list[int]:
    """Positions of images of different classes, as they come in an order: the first of each class, at most so many."""
    found = {}
    for i in order:
        found.setdefault(labels[i], i)
    return list(found.values())[:most]


def _notes(values: Mapping[str, Mapping[str, Tensor]]) -> list[str]:
    """What stands beside the rows of the first block: chance beside the input, then each method."""
    means = {name: {metric: found[metric].nanmean() for metric in ("pointing", "energy")} for name, found in values.items()}
    chance = means.pop(UNIFORM)
    return [f"chance {chance['energy']:.2f}"] + [
        f"pointing {one['pointing']:.2f}\nenergy {one['energy']:.2f}" for one in means.values()
    ]


def shown_masks(run: Run, index: Sequence[int]) -> dict[str, Tensor]:
    """Where the object is in these test images, as the model sees them: id -> (1, h, w) bool, of those of which it is known."""
    masks = run.masks(index)
    if masks is None:
        return {}
    return {run.dataset.test.ids[i]: mask for i, mask in zip(index, masks, strict=True) if mask.any()}


def judge_explanations(measured: Measured) -> Judged:
    """One row a method, then what comes by chance."""
    rows = [{"method": method} | means_of(found, measured.sources) for method, found in measured.values.items()]
    table = pd.DataFrame(rows)
    right = table[["method", "test_accuracy"]].dropna().itertuples(index=False)
    remarks = [f"Rightly classified: {', '.join(f'{100 * share:.1f} % by {method}' for method, share in right)}"]
    if "energy" in table:
        for metric, words in (("energy", "Share of a map's sum inside the true object"), ("pointing", "Peaks inside it")):
            shares = ", ".join(
                f"{method} {100 * share:.1f} %" for method, share in table[["method", metric]].itertuples(index=False)
            )
            remarks.append(f"{words}: {shares}")
    return Judged(table, (), tuple(remarks))


def _start(experiment: Experiment) -> str:
    """Where trainings began, unless from nothing."""
    return f" Trained from {experiment.shared}." if experiment.shared else ""


def input_panel(run: Run, i: int, row: int, column: int) -> Panel:
    """Test image i without a map, its true class below."""
    test = run.dataset.test
    return Panel(test.ids[i], row, column, f"true: {run.classes[test.labels[i]]}")


def prediction(run: Run, i: int) -> str:
    """Predicted class and its probability; a cross marks a wrong one."""
    probability, label = run.explained.probabilities[i].max(0)
    wrong = "" if label == run.dataset.test.labels[i] else " ×"
    return f"{run.classes[label]}: {probability:.2f}{wrong}"


def means_of(found: Mapping[str, Tensor], sources: Sequence[str]) -> dict[str, float]:
    """The mean of each metric (N,), of those that need a mask with its interval over images."""
    row = {}
    for metric, values in found.items():
        if metric in ("pointing", "energy"):
            row |= with_interval(metric, known_interval(values, sources))
        else:
            row[metric] = values.double().mean().item()
    return row
