"""Maintainers only, `make reference`: remake what is committed.

`figures/reference/` gets the embedded figures, what they were made of (`lficam.reproduce.check` makes their numbers again) and one
figure of synthetic maps; the notebooks get the outputs of an embedded run.
The tests compare with these files and never write them.
"""

import shutil
import sys
from collections import Counter, defaultdict
from pathlib import Path

import nbformat
import torch
from nbclient import NotebookClient

from lficam.figures.experiments import EXPERIMENTS, experiment
from lficam.figures.grid import DPI, Grid, Panel, draw_grid, rounded
from lficam.figures.outputs import MEASURED, SUFFIXES
from lficam.paths import atomic_folder, repository
from lficam.reproduce.check import FROM_MAPS, TRAININGS
from lficam.reproduce.notebooks import QUIET, make_figures
from lficam.reproduce.results import write_training

WIDGET = "application/vnd.jupyter.widget-view+json"


def synthetic() -> tuple[Grid, dict[str, torch.Tensor]]:
    """A grid of fixed pictures and maps with every feature of a stability figure; its pixels must never change unnoticed."""
    ramp = torch.linspace(0, 1, 24)
    pictures = {
        "ramp": torch.stack([ramp.expand(24, 24), ramp.expand(24, 24).T, torch.zeros(24, 24)]),
        "checks": ((torch.arange(24) // 4)[:, None] + (torch.arange(24) // 4) % 2).remainder(2).float().expand(3, 24, 24),
    }
    panels = []
    for row, id in enumerate(pictures):
        panels.append(Panel(id, 2 * row + 0.5, 0, f"true: {id}"))
        for method in range(2):
            for column in range(3):
                cam = torch.zeros(1, 6, 6)
                cam[0, 2 * method : 2 * method + 2, 2 * column : 2 * column + 2] = 1
                panels.append(Panel(id, 2 * row + method, column + 1, f"{id} {column / 2:.2f}", rounded(cam)))
    titles = ["input", *(f"setting {k}\nlr 0.{k}" for k in (1, 2, 3))]
    rows = ["ABN", "LFI-CAM"] * 2
    notes = [f"IoU\n0.{k}0" for k in range(4)]
    return Grid("Synthetic maps", "fixed values, no data set", titles, rows, panels, notes, "A footnote\non two lines."), pictures


def main() -> None:
    """Remake everything; the trained runs in the store are used."""
    root = repository()
    if root is None:
        sys.exit("lficam: the reference belongs to a checkout of the repository")
    outcome = make_figures("embedded")
    if outcome.failed:
        sys.exit(f"lficam: {outcome.failed}")
    notebooks = {file: _executed(file) for file in sorted((root / "notebooks").glob("*.ipynb"))}
    with atomic_folder(root / "figures" / "reference") as target:
        for plan in map(experiment, EXPERIMENTS):
            for suffix in (*SUFFIXES, MEASURED):
                if suffix != ".pdf" and plan.file(suffix).is_file():  # the same picture again; of some only maps were measured
                    shutil.copy(plan.file(suffix), target)
        _write_trainings(target / TRAININGS)
        shutil.copy(outcome.report, target)
        draw_grid(*synthetic()).savefig(target / "synthetic.png", dpi=DPI)
    for file, content in notebooks.items():
        nbformat.write(content, file)


def _write_trainings(folder: Path) -> None:
    """The maps of the trainings whose agreement the figures show, of untrained networks where settings share their seed."""
    runs, learning, untrained = {}, set(), defaultdict(set)
    for plan in map(experiment, FROM_MAPS):
        models = Counter()  # of each method so far
        for run in plan.runs():
            runs[run.id] = run
            if plan.own_starts:
                learning.add(run.id)
            else:
                untrained[run.id].add(models[run.config.method])
            models[run.config.method] += 1
    for id, run in runs.items():
        write_training(run, folder / run.config.dataset, None if id in learning else (), sorted(untrained[id]))


def _executed(file: Path) -> nbformat.NotebookNode:
    """A notebook with the outputs of an embedded run, without times and widgets, so that the same outputs give the same file."""
    content = nbformat.read(file, as_version=4)
    NotebookClient(content, kernel_name="python3", record_timing=False, store_widget_state=False, **QUIET).execute()
    for cell in content.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)  # nothing without its state, and shown in place of the picture
    return content


if __name__ == "__main__":
    main()
