"""All figures by one call: train what is missing, execute the notebooks with papermill, write the report."""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lficam.errors import InputError, MissingDataError
from lficam.experiments import EXPERIMENTS, Experiment, experiment
from lficam.outputs import SUFFIXES, code_digest
from lficam.paths import repository, runs_dir
from lficam.provenance import sha256
from lficam.report import write_report
from lficam.runs import fit_or_load_all

NOTEBOOKS = {
    "table1": "00_architecture",
    "fig1": "01_fin_effectiveness",
    "fig2": "02_explanations_cifar100",
    "fig3": "03_explanations_stl10",
    "fig4": "04_explanations_imagenet",
    "fig5": "05_stability_stl10",
    "fig6": "06_stability_catdog",
}


# Kernels warn on every start that they talk over TCP; here only this machine listens.
_QUIET = {"extra_arguments": ["--IPKernelApp.log_level=40"]}


@dataclass
class Outcome:
    """What became of each figure.

    made, kept: names of the figures made now, and of those up to date. failed: name -> one line why. without_data: the same for
    figures whose data set is missing.
    """

    report: Path | None = None
    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    without_data: dict[str, str] = field(default_factory=dict)


def make_figures(
    profile: str = "embedded", only: Sequence[str] = (), overrides: Mapping[str, Any] | None = None, fresh: bool = False
) -> Outcome:
    """Make the figures named in `only` (all when empty); a second call does only what is missing or out of date.

    fresh: remove these figures and their trained runs first.
    A notebook that fails, or a data set that is missing, does not keep the other figures from being made.
    Raises InputError, before anything is written, for an unknown profile, figure or override, or while another process makes
    the same figures; pydantic.ValidationError for an override of the wrong type.
    """
    outcome, plans = Outcome(), []
    for name in only or EXPERIMENTS:
        try:
            plans.append(experiment(name, profile, overrides))
        except MissingDataError as error:
            outcome.without_data[name] = str(error)
    if not plans:
        return outcome
    folder = plans[0].stem.parent
    with _only_one(folder):
        if fresh:
            _remove(plans)
        fit_or_load_all(list({config.run_id(): config for plan in plans for config in plan.configs()}.values()))
        for plan in plans:
            if is_current(plan):
                outcome.kept.append(plan.name)
                continue
            error = _execute(plan)
            if error:
                outcome.failed[plan.name] = error
            else:
                outcome.made.append(plan.name)
        outcome.report = write_report(folder, profile)
    return outcome


def notebook(name: str) -> Path:
    """The notebook that makes a figure. Raises InputError in an installation without notebooks."""
    root = repository()
    if root is None:
        raise InputError("the notebooks are not part of the installed package: run this in a checkout of the repository")
    return root / "notebooks" / f"{NOTEBOOKS[name]}.ipynb"


def executed(plan: Experiment) -> Path:
    """Where a notebook's executed copy lies."""
    return plan.stem.parent / "notebooks" / f"{NOTEBOOKS[plan.name]}.ipynb"


def is_current(plan: Experiment) -> bool:
    """Whether a figure's files are whole and were made by this code and this notebook from the runs it needs now."""
    file = plan.stem.with_name(plan.stem.name + ".json")
    if not file.is_file() or not executed(plan).is_file():
        return False
    record = json.loads(file.read_text())
    files = [file.with_suffix(suffix) for suffix in SUFFIXES[:3]]
    return (
        record["code"] == code_digest()
        and [run["id"] for run in record["runs"]] == [config.run_id() for config in plan.configs()]
        and all(f.is_file() and sha256(f) == record["sha256"][f.name] for f in files)
        and _cells(notebook(plan.name)) == _cells(executed(plan))
    )


def _cells(file: Path) -> list[str]:
    """The source of a notebook's cells, without the one papermill adds."""
    cells = json.loads(file.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if "injected-parameters" not in cell["metadata"].get("tags", [])]


def _execute(plan: Experiment) -> str | None:
    """Execute a figure's notebook; one line that says where and why if it fails. Its executed copy stays either way."""
    import papermill  # late: it costs a second

    logging.getLogger("papermill").setLevel(logging.ERROR)
    source, target = notebook(plan.name), executed(plan)
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"{plan.name}: notebooks/{source.name}", flush=True)
    parameters = {"profile": plan.profile, "overrides": dict(plan.overrides)}
    try:
        papermill.execute_notebook(
            source, target, parameters, kernel_name="python3", progress_bar=False, cwd=source.parent, **_QUIET
        )
    except papermill.PapermillExecutionError as error:
        return f"notebooks/{source.name}, cell {error.cell_index}: {error.ename}: {error.evalue} (traceback in {target})"
    return None


def _remove(plans: Sequence[Experiment]) -> None:
    for plan in plans:
        for config in plan.configs():
            shutil.rmtree(runs_dir() / config.run_id(), ignore_errors=True)
        for suffix in SUFFIXES:
            plan.stem.with_name(plan.stem.name + suffix).unlink(missing_ok=True)


def _only_one(folder: Path) -> FileLock:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another process is making the figures in {folder}: wait for it to end") from None
    lock.release()
    return lock
