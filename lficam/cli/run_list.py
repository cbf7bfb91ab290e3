"""Which runs a profile needs, what is known of each, and whether they are whole."""

import sys
from collections.abc import Iterator
from typing import Any

from lficam.errors import InputError, MissingDataError
from lficam.figures.experiments import EXPERIMENTS, comparison, experiment
from lficam.figures.outputs import code_digest
from lficam.figures.plan import Experiment
from lficam.model.bundled import BUNDLED, bundled
from lficam.paths import runs_dir
from lficam.sums import changed
from lficam.training.config import RunConfig, by_id
from lficam.training.fit import train_again
from lficam.training.runs import is_stored, load_record, record_sums, recorded_config


def state_of(id: str) -> str:
    """Whether a run is trained, and how good it is; what is wrong with it, if it is damaged."""
    if not is_stored(id):
        return "not trained"
    try:
        return f"test accuracy {load_record(id).metrics['test_accuracy']:.3f}"
    except InputError as error:  # one damaged run does not hide the others
        return str(error)


def needed_runs(profile: str, overrides: dict[str, Any], compare: str) -> dict[str, Any]:
    """Id -> config of every run of a profile's figures whose data is there, or of `lficam compare`."""
    plans = [comparison(compare, profile, overrides)] if compare else _plans(profile, overrides)
    return by_id([config for plan in plans for config in plan.configs()])


def as_jobs(profile: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """What there is to do for a profile's figures, as plain values, for an engine that does it job by job.

    runs: id -> config. notebooks: name -> the ids that it needs trained. code: identifies the code that the figures are made by.
    """
    runs, notebooks = {}, {}
    for plan in _plans(profile, overrides):
        configs = by_id(plan.configs())
        runs |= {id: config.model_dump() for id, config in configs.items()}
        notebooks.setdefault(plan.notebook, {}).update(dict.fromkeys(configs))
    return {"runs": runs, "notebooks": {name: list(ids) for name, ids in notebooks.items()}, "code": code_digest()}


def _plans(profile: str, overrides: dict[str, Any]) -> Iterator[Experiment]:
    """The figures of a profile whose data is there; the others are named."""
    for name in EXPERIMENTS:
        try:
            yield experiment(name, profile, overrides)
        except MissingDataError as error:
            print(f"lficam: {name}: {error}", file=sys.stderr)


def damaged_runs() -> dict[str, str]:
    """Id -> what has happened to it, of the runs of the store and models of the package that are not as they were stored.

    A run that an older version stored has no checksums: they are recorded now, and said so.
    """
    found = {}
    for folder in sorted(folder for folder in runs_dir().glob("[!.]*") if folder.is_dir()):
        if is_stored(folder.name):
            record_sums(folder.name)
        if why := changed(folder) or _unreadable(folder.name):
            found[folder.name] = why
    for name in BUNDLED:
        if (folder := bundled(name)) and (why := changed(folder)):
            found[name] = f"{why}: install the package again"
    return found


def _unreadable(id: str) -> str:
    try:
        load_record(id)
    except InputError as error:
        return str(error)
    return ""


def trained_again(id: str, config: RunConfig | None) -> bool:
    """Train a damaged run anew; says why where that cannot be. config: if it is known; else what its own files say."""
    if id in BUNDLED:
        return False
    try:
        train_again(config or recorded_config(id))
    except (InputError, FloatingPointError) as error:
        print(f"lficam: {id} cannot be trained again: {error}", file=sys.stderr)
        return False
    return True
