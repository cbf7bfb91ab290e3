"""Maintainers only, `make reference`: remake what is committed.

`figures/reference/` gets the embedded figures and what they were made of (`lficam.reproduce.check` makes their numbers again); the
notebooks get the outputs of an embedded run.
The tests compare with these files and never write them.
"""

import shutil
import sys
from collections import Counter, defaultdict
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from lficam.figures.experiments import EXPERIMENTS, experiment
from lficam.figures.outputs import files_of
from lficam.paths import atomic_folder, repository
from lficam.reproduce.check import FROM_MAPS, TRAININGS
from lficam.reproduce.notebooks import QUIET, make_figures
from lficam.reproduce.results import write_training

WIDGET = "application/vnd.jupyter.widget-view+json"


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
            for file in files_of(plan):
                if file.suffix != ".pdf":  # the same picture again
                    shutil.copy(file, target)
        _write_trainings(target / TRAININGS)
        shutil.copy(outcome.report, target)
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
