"""Figures 5 and 6: do the maps of models that were trained under several settings agree?"""

from collections.abc import Sequence

import pandas as pd

from lficam.figures.claims import ACCURACY_MARGIN
from lficam.figures.explanations import input_panel, prediction, shown_masks
from lficam.figures.grid import Grid, Panel, in_two_lines, rounded
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.settings import Settings, judge_settings, pair_matrices
from lficam.training.runs import Run


def stability_figure(experiment: Experiment, runs: Sequence[Run]) -> Result:
    """Figs. 5 and 6: the maps of each method under five settings, their IoU, and C2 and C3 judged on the images of `models`."""
    runs = [run for run in runs if run.config.method in experiment.methods]
    dataset = runs[0].dataset
    shown = experiment.shown_images(dataset)
    settings = judge_settings(experiment, runs)
    methods = settings.methods
    panels, row_titles, row_notes = [], [], []
    for n, i in enumerate(shown):
        id = dataset.test.ids[i]
        panels.append(input_panel(runs[0], i, len(methods) * n, 0))
        for m, (method, models) in enumerate(methods.items()):
            alike = _alike(settings, models.title)
            row_titles.append(in_two_lines(models.title))
            row_notes.append(_iou_of_row(settings.pairs[method].query("metric == 'iou' and id == @id"), alike))
            for column, run in enumerate(models.runs, 1):
                cam, pale = rounded(run.explained.cam[i]), str(column) not in alike
                panels.append(Panel(id, len(methods) * n + m, column, prediction(run, i), cam, pale=pale))
    grid = Grid(
        experiment.title,
        experiment.source,
        ["input", *(f"setting {k + 1}" for k in range(experiment.settings))],
        row_titles,
        panels,
        row_notes,
        span=len(methods),
        settings=_settings_table(settings),
        footnote=_footnote(experiment, settings),
    )
    pictures, masks = runs[0].pictures(shown), shown_masks(runs[0], shown)
    return Result(
        experiment,
        grid,
        settings.table,
        settings.verdicts,
        tuple(runs),
        pictures,
        masks,
        remarks=settings.remarks,
        beside={"pairs": pair_matrices(experiment, settings)},
    )


def _alike(settings: Settings, title: str) -> list[str]:
    """The settings of a method that are judged: those of similar accuracy."""
    rows = settings.table[(settings.table["method"] == title) & settings.table["test_accuracy"].notna()]
    return rows.loc[rows["similar"].astype(bool), "setting"].tolist()


def _iou_of_row(pairs: pd.DataFrame, alike: Sequence[str]) -> str:
    """Of an image, over the pairs that are judged, and over all in brackets."""
    judged = pairs.loc[pairs["a"].isin(alike) & pairs["b"].isin(alike), "value"]
    value = f"{judged.mean():.2f}" if len(judged) else "–"
    return f"IoU {value}\n({pairs['value'].mean():.2f})"


def _settings_table(settings: Settings) -> dict[str, list[str]]:
    """What the settings are and how well their models classify; in brackets those that are not judged."""
    configs = [run.config for run in next(iter(settings.methods.values())).runs]
    table = {
        "learning rate": [f"{config.lr:g}" for config in configs],
        "batch size": [str(config.batch_size) for config in configs],
        "weight decay": [f"{config.weight_decay:g}" for config in configs],
    }
    for models in settings.methods.values():
        alike = _alike(settings, models.title)
        cells = [f"{100 * value:.1f} %" for value in models.accuracy.values()]
        cells = [cell if str(k) in alike else f"({cell})" for k, cell in enumerate(cells, 1)]
        table[f"accuracy, {models.title}"] = cells
    return table


def _footnote(experiment: Experiment, settings: Settings) -> str:
    return (
        "Under each map: predicted class and its probability; × marks a wrong one. Pale, accuracy in brackets: more than "
        f"{100 * ACCURACY_MARGIN:.0f} points below the best of its method, and not judged. IoU: how much of the areas on in "
        "two maps both share, mean over the pairs that are judged, in brackets over all. "
        f"{settings.remarks[1]}: where the background of a map is raised, it counts as on. "
        f"Models of one method share beside the training images: {experiment.shared}."
    )
