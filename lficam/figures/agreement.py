"""Figures 5 and 6: do the maps of models that were trained under several settings agree?"""

from collections.abc import Sequence

from lficam.figures.claims import ACCURACY_MARGIN
from lficam.figures.explanations import input_panel, prediction
from lficam.figures.grid import Grid, Panel, in_two_lines, rounded
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.settings import Settings, judge_settings
from lficam.model.methods import METHODS
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
        panels.append(input_panel(runs[0], i, len(methods) * n + (len(methods) - 1) / 2, 0))
        for m, (method, models) in enumerate(methods.items()):
            row_titles.append(in_two_lines(models.title))
            iou = settings.pairs[method].query("metric == 'iou' and id == @id")["value"].mean()
            row_notes.append(f"IoU\n{iou:.2f}")
            for column, run in enumerate(models.runs, 1):
                panels.append(Panel(id, len(methods) * n + m, column, prediction(run, i), rounded(run.explained.cam[i])))
    grid = Grid(
        experiment.title,
        experiment.source,
        ["input", *(_setting_title(k, settings) for k in range(experiment.settings))],
        row_titles,
        panels,
        row_notes,
        footnote="Under each map: predicted class and its probability; × marks a wrong one.\n"
        "IoU: mean over all pairs of settings at threshold 100/255. Above each column: its settings and test accuracies;\n"
        f"* marks one more than {100 * ACCURACY_MARGIN:.0f} points below the best of its method.\n"
        f"Models of one method share beside the training images: {experiment.shared}.",
    )
    pictures = runs[0].pictures(shown)
    return Result(experiment, grid, settings.table, settings.verdicts, tuple(runs), pictures, remarks=settings.remarks)


def _setting_title(k: int, settings: Settings) -> str:
    table = settings.table[settings.table["setting"] == str(k + 1)].set_index("method")
    runs = [models.runs[k] for models in settings.methods.values()]
    lines = [f"setting {k + 1}", *runs[0].config.hyperparameters]
    for run in runs:
        method = METHODS[run.config.method]
        row = table.loc[method.title]
        lines.append(f"{method.short_title} {row['test_accuracy']:.1%}{'' if row['similar'] else '*'}")
    return "\n".join(lines)
