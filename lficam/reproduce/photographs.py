"""Maintainers only, `make results`: the trainings on photographs, and what each leaves in `figures/results`.

Hours on two cores. A second call goes on where the first one ended; what is written there already is not trained again.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lficam.errors import InputError
from lficam.figures.experiments import comparison, experiment
from lficam.figures.folds import in_folds
from lficam.paths import repository
from lficam.reproduce.judgement import FINE_TUNED, MEASURED, PROFILE, measure, write_judgement
from lficam.reproduce.results import write_training, written
from lficam.training.config import RunConfig
from lficam.training.fit import fit_or_load_all

FIVE_SEEDS, FROM_IMAGENET = "STL10, five seeds of setting 1", "STL10, from ImageNet weights"  # whose maps are kept of all epochs


def trainings() -> dict[str, list[RunConfig]]:
    """What is trained, in the order of its worth, each by seed: what it is -> the configs."""
    cats_and_dogs = experiment("extra2", PROFILE).configs()
    shown = [config for figure in ("fig1", "fig3", "fig4") for config in experiment(figure, PROFILE).configs()]
    rows = {
        "STL10, five settings": comparison("stl10", PROFILE).configs(),
        FIVE_SEEDS: experiment("extra3", PROFILE).configs(),
        "Cat&Dog, five settings": cats_and_dogs,
        "Cat&Dog, five folds": in_folds(cats_and_dogs),
        "Figures 1, 3, 4, from ImageNet weights": shown,
        FROM_IMAGENET: replace(FINE_TUNED, profile=PROFILE).configs(),
    }
    return {name: sorted(configs, key=lambda config: config.seed) for name, configs in rows.items()}


def train_and_write(
    rows: Mapping[str, Sequence[RunConfig]], with_epochs: set[str], measured: Mapping[str, Iterable[str]], folder: Path
) -> None:
    """Train what `folder`/<data set> does not hold, write each training there as soon as it has ended, and what they say.

    with_epochs: ids of the runs whose maps are kept of all epochs. measured: row -> stems of what its models are measured for.
    """
    for name, configs in rows.items():
        for number, config in enumerate(configs, 1):
            target = folder / config.dataset
            if config.run_id() not in written(target):
                print(f"{name}: {number} of {len(configs)}", flush=True)
                (run,) = fit_or_load_all([config], epochs=True)
                write_training(run, target, epochs=None if run.id in with_epochs else (0,))
        for target in {folder / config.dataset for config in configs}:
            for stem in measured.get(name, ()):
                print(stem, flush=True)
                measure(stem, PROFILE, target)
            write_judgement(target, PROFILE)


def main() -> None:
    """Train and write everything. What has been written stays if the data of a later row is missing, or this is interrupted."""
    if (root := repository()) is None:
        sys.exit("lficam: the results belong to a checkout of the repository")
    try:
        rows = trainings()
        learning = {config.run_id() for name in (FIVE_SEEDS, FROM_IMAGENET) for config in rows[name]}
        train_and_write(rows, learning, {FIVE_SEEDS: MEASURED}, root / "figures" / "results")
    except InputError as error:
        sys.exit(f"lficam: {error}")


if __name__ == "__main__":
    main()
