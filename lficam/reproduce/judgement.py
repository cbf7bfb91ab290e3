"""What the trainings on photographs say: charts, tables and verdicts, from what they left in `figures/results`.

No training, no model and no photograph is needed. A chart is made as soon as all of its trainings are there.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lficam.figures.chance import chance_figure
from lficam.figures.experiments import COMPARISON, EXPERIMENTS
from lficam.figures.folds import folds_figure, in_folds
from lficam.figures.grid import DPI
from lficam.figures.learning import learning_figure
from lficam.figures.on_object import objects_figure
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.settings import settings_figure
from lficam.paths import atomic_file
from lficam.reproduce.results import Training, read_trainings
from lficam.training.runs import RunRecord

PROFILE = "photos"
VERDICTS = "verdicts.json"
_CATDOG = EXPERIMENTS["extra2"]  # whose methods are trained on cats and dogs

# Three seeds from ImageNet weights: what their maps have in common before training is what the weights give them.
FINE_TUNED = replace(
    EXPERIMENTS["extra8"],
    stem="finetuned_stl10",
    title="How alike are the maps of networks that start from the same weights?",
    methods=("lfi-cam", "plain"),
    seeds=3,
)

# How each is made: charts alone, since pictures would show the photographs.
JUDGED: dict[str, tuple[Experiment, Callable[[Experiment, Sequence[RunRecord]], Result]]] = {
    "settings_stl10": (replace(COMPARISON, supplement_dataset="stl10"), settings_figure),
    "agreement_stl10": (EXPERIMENTS["extra1"], chance_figure),
    "seeds_stl10": (EXPERIMENTS["extra3"], chance_figure),
    "learning_stl10": (EXPERIMENTS["extra8"], learning_figure),
    "objects_stl10": (replace(EXPERIMENTS["extra3"], title="Do the maps lie on the object?"), objects_figure),
    FINE_TUNED.stem: (FINE_TUNED, learning_figure),
    "settings_catdog": (replace(COMPARISON, supplement_dataset="catdog", methods=_CATDOG.methods), settings_figure),
    "agreement_catdog": (_CATDOG, chance_figure),
    "folds_catdog": (replace(_CATDOG, title="Do explanations generalise, and tell right from wrong?"), folds_figure),
}


def judge_trainings(trainings: Sequence[Training], profile: str) -> Iterator[Result]:
    """What can be made of them; each is named by its stem, a key of JUDGED."""
    by_config = {training.config: training for training in trainings}
    for stem, (plan, make) in JUDGED.items():
        experiment = replace(plan, stem=stem, profile=profile)
        configs = experiment.configs()
        if make is folds_figure:
            configs = in_folds(configs)
        if all(config in by_config for config in configs):
            yield make(experiment, [by_config[config] for config in configs])


def write_judgement(folder: Path, profile: str) -> list[str]:
    """Write a chart, a table and the verdicts for all that the trainings in a folder can say; returns their stems."""
    verdicts = {}
    for result in judge_trainings(read_trainings(folder), profile):
        stem = result.experiment.stem
        with atomic_file(folder / f"{stem}.png") as temporary:
            result.draw().savefig(temporary, dpi=DPI, format="png")
        with atomic_file(folder / f"{stem}.csv") as temporary:
            result.table.to_csv(temporary, index=False, float_format="%.6g")
        verdicts[stem] = {"says": result.says, "verdicts": [verdict.record() for verdict in result.verdicts]}
    if verdicts:
        with atomic_file(folder / VERDICTS) as temporary:
            temporary.write_text(json.dumps(verdicts, indent=1, ensure_ascii=False) + "\n")
    return list(verdicts)
