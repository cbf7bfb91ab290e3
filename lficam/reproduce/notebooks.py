"""All figures by one call: train what is missing, execute the notebooks with papermill, write the report."""

import json
import logging
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from lficam.errors import InputError, MissingDataError
from lficam.figures.experiments import EXPERIMENTS, experiment
from lficam.figures.outputs import code_digest, files_of
from lficam.figures.plan import Experiment
from lficam.paths import atomic_file, figures_dir, lock, notebooks_dir, runs_dir
from lficam.provenance import sha256
from lficam.reproduce.report import write_report
from lficam.training.config import by_id
from lficam.training.fit import fit_missing, unfinished
from lficam.training.runs import damaged, sums_of

# On every start a kernel warns that it talks over TCP, on every end that it was interrupted; what fails shows in the notebook.
QUIET = {"extra_arguments": ["--IPKernelApp.log_level=50"]}


@dataclass
class Outcome:
    """What became of each figure.

    made, kept: names of the figures made now, and of those up to date.
    failed: name -> one line why, where a training or the notebook failed.
    without_data: the same for figures whose data is missing or unreadable.
    report: its path, if there is anything in it.
    """

    report: Path | None = None
    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    without_data: dict[str, str] = field(default_factory=dict)


def make_figures(
    profile: str = "embedded",
    only: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    fresh: bool = False,
    jobs: int | None = None,
) -> Outcome:
    """Make the figures named in `only` (all when empty), and the others that their notebooks make.

    A second call does only what is missing or out of date.

    fresh: remove these figures and their trained runs first. jobs: how many models to train side by side, see `fit_missing`.
    A notebook that fails, a run that cannot be trained or a data set that is missing does not keep the other figures from being
    made. Raises InputError, before anything is written, for an unknown profile, figure or override, or while another process
    makes the same figures.
    """
    outcome, plans = Outcome(), []
    for name in _of_the_same_notebooks(only):
        try:
            plans.append(experiment(name, profile, overrides))
        except MissingDataError as error:
            outcome.without_data[name] = str(error)
    if not plans:
        return outcome
    folder = plans[0].folder
    needed = {plan.name: by_id(plan.configs()) for plan in plans}
    if folder.is_dir() and not os.access(folder, os.W_OK) and all(is_current(plan, needed[plan.name]) for plan in plans):
        outcome.kept, outcome.report = (
            [plan.name for plan in plans],
            folder / "REPORT.md",
        )  # where nothing can be written, nor need be
        return outcome
    with lock(
        figures_dir(), folder.name, busy=f"another process is making the figures in {folder}: wait for it to end", wait=False
    ):
        configs = {id: config for runs in needed.values() for id, config in runs.items()}
        if fresh:
            _remove(plans, configs)
        for stale in folder.rglob(".*.*.*"):  # half-written by a process that was killed
            stale.unlink()
        with_epochs = {id for plan in plans if plan.own_starts for id in needed[plan.name]}
        untrained = {}
        for epochs in (True, False):
            if wanted := [config for id, config in configs.items() if (id in with_epochs) is epochs]:
                untrained |= fit_missing(wanted, jobs, epochs)
        untrained |= damaged(configs)
        for stem in dict.fromkeys(plan.notebook for plan in plans):
            _make([plan for plan in plans if plan.notebook == stem], needed, untrained, outcome)
        if outcome.made or outcome.kept:
            outcome.report = write_report(folder, profile)
    return outcome


def _of_the_same_notebooks(only: Sequence[str]) -> list[str]:
    """The figures named, all when empty, with the others that their notebooks make."""
    stems = {EXPERIMENTS[name].notebook for name in only if name in EXPERIMENTS}
    together = [name for name, plan in EXPERIMENTS.items() if not only or plan.notebook in stems]
    return list(dict.fromkeys([*only, *together]))


def _make(
    plans: Sequence[Experiment], needed: Mapping[str, Iterable[str]], untrained: Mapping[str, Exception], outcome: Outcome
) -> None:
    """Make the figures of one notebook, unless they are up to date.

    needed: figure -> ids of its runs. untrained: id -> why it could not be trained.
    """
    names = [plan.name for plan in plans]
    causes = [untrained[id] for name in names for id in needed[name] if id in untrained]
    if causes:
        kind = outcome.without_data if isinstance(causes[0], InputError) else outcome.failed
        kind.update(dict.fromkeys(names, str(causes[0])))
    elif all(is_current(plan, needed[plan.name]) for plan in plans):
        outcome.kept += names
    else:
        before = {plan.name: _version(plan) for plan in plans}
        error = _execute(plans)
        for plan in plans:
            if error and _version(plan) == before[plan.name]:  # others were saved before one failed
                outcome.failed[plan.name] = error
            else:
                outcome.made.append(plan.name)


def notebook(plan: Experiment) -> Path:
    """The notebook that makes a figure."""
    return notebooks_dir() / f"{plan.notebook}.ipynb"


def executed(plan: Experiment) -> Path:
    """Where a notebook's executed copy lies."""
    return plan.folder / "notebooks" / f"{plan.notebook}.ipynb"


def is_current(plan: Experiment, run_ids: Iterable[str]) -> bool:
    """Whether a figure's files are whole and were made by this code and this notebook from the runs as they are now.

    run_ids: of the plan's configs, in their order.
    """
    if not plan.file(".json").is_file() or not executed(plan).is_file():
        return False
    try:
        record, cells = json.loads(plan.file(".json").read_text()), _cells(executed(plan))
        code = record["code"]
    except (ValueError, KeyError, TypeError):  # half-written, or damaged
        return False
    return (
        code == code_digest()
        and record.get("objects") == plan.objects
        and [run["sha256"] for run in record["runs"]] == [sums_of(id) for id in run_ids]
        and all((file := plan.folder / name).is_file() and sha256(file) == sha for name, sha in record["sha256"].items())
        and _cells(notebook(plan)) == cells
    )


def _version(plan: Experiment) -> int | None:
    """Tells a figure that has been saved again from the older one; None if there is none."""
    file = plan.file(".json")  # written last
    return file.stat().st_mtime_ns if file.is_file() else None


def _cells(file: Path) -> list[str]:
    """The source of a notebook's cells, without the one papermill adds."""
    cells = json.loads(file.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if "injected-parameters" not in cell["metadata"].get("tags", [])]


def _execute(plans: Sequence[Experiment]) -> str | None:
    """Execute the notebook of some figures; one line that says where and why if it fails. Its executed copy stays either way."""
    import papermill  # late: it costs a second
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    plan = plans[0]
    source, target = notebook(plan), executed(plan)
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"{', '.join(plan.name for plan in plans)}: notebooks/{source.name}", flush=True)
    parameters = {"profile": plan.profile, "overrides": dict(plan.overrides)}
    failed = None
    with atomic_file(target) as temporary:  # papermill writes it again after every cell
        try:
            papermill.execute_notebook(source, temporary, parameters, kernel_name="python3", progress_bar=False, **QUIET)
        except papermill.PapermillExecutionError as error:
            failed = f"notebooks/{source.name}, In [{error.exec_count}]: {error.ename}: {error.evalue} (traceback in {target})"
        except DeadKernelError:
            failed = f"notebooks/{source.name}: its kernel died, by Ctrl-C or for want of memory: the same command goes on"
        _without_folders(temporary, source.name, target.name)
    return failed


def _without_folders(file: Path, source: str, target: str) -> None:
    """Take this machine's folders out of what papermill says of itself in an executed notebook."""
    import nbformat

    content = nbformat.read(file, as_version=4)
    content.metadata["papermill"] |= {"input_path": source, "output_path": target}
    nbformat.write(content, file)


def _remove(plans: Sequence[Experiment], run_ids: Iterable[str]) -> None:
    for id in run_ids:
        with lock(runs_dir(), id, busy=f"waiting for the process that trains {id}", wait=True):
            shutil.rmtree(runs_dir() / id, ignore_errors=True)
            shutil.rmtree(unfinished(id), ignore_errors=True)
    for file in chain.from_iterable(map(files_of, plans)):
        file.unlink()
