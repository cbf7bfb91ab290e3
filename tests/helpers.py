from pathlib import Path

from lficam.experiments import Experiment
from lficam.paths import figures_dir, repository

REFERENCE = repository() / "figures" / "reference"  # written by `make reference` alone


def file_of(plan: Experiment, suffix: str) -> Path:
    assert plan.folder.is_relative_to(figures_dir())
    return plan.file(suffix)
