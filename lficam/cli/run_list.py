"""Which runs a profile needs, and what is known of each."""

import sys
from typing import Any

from lficam.errors import InputError, MissingDataError
from lficam.figures.experiments import EXPERIMENTS, comparison, experiment
from lficam.training.runs import is_stored, load_record


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
    if compare:
        return {config.run_id(): config for config in comparison(compare, profile, overrides).configs()}

    needed = {}
    for name in EXPERIMENTS:
        try:
            needed |= {config.run_id(): config for config in experiment(name, profile, overrides).configs()}
        except MissingDataError as error:
            print(f"lficam: {name}: {error}", file=sys.stderr)
    return needed
