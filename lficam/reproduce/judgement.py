"""What the trainings on photographs say: charts, tables, verdicts and a page, from what they left in `figures/results`.

No training, no model and no photograph is needed, but for what only the models can say: that is measured once (`measure`), and what
was measured lies beside the trainings. A chart is made as soon as all that it needs is there.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lficam.figures.chance import chance_figure
from lficam.figures.class_dependence import measure_two_objects, two_objects_chart
from lficam.figures.experiments import COMPARISON, EXPERIMENTS
from lficam.figures.fin_worth import importance_chart, measure_importance
from lficam.figures.folds import folds_figure, in_folds
from lficam.figures.hidden_pixels import faithfulness_chart, measure_faithfulness
from lficam.figures.learning import learning_figure
from lficam.figures.measured import SUFFIX as VALUES
from lficam.figures.measured import Measured
from lficam.figures.new_weights import measure_sanity, sanity_chart
from lficam.figures.on_object import objects_figure
from lficam.figures.page import DPI
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.settings import settings_figure
from lficam.paths import atomic_file
from lficam.provenance import hardware
from lficam.reproduce.findings import Report, figure_of, scope_of
from lficam.reproduce.report import as_markdown
from lficam.reproduce.results import read_trainings
from lficam.training.config import run_ids
from lficam.training.runs import Run, RunRecord

PROFILE = "photos"
VERDICTS, PAGE = "verdicts.json", "README.md"
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

Measure = Callable[[Experiment, Sequence[Run]], Measured]
Draw = Callable[[Experiment, Measured, Sequence[RunRecord]], Result]

# The same of what needs the models and the photographs: how it is measured, and what follows from that.
MEASURED: dict[str, tuple[Experiment, Measure, Draw]] = {
    "faithfulness_stl10": (EXPERIMENTS["extra4"], measure_faithfulness, faithfulness_chart),
    "sanity_stl10": (EXPERIMENTS["extra5"], measure_sanity, sanity_chart),
    "classes_stl10": (EXPERIMENTS["extra6"], measure_two_objects, two_objects_chart),
    "importance_stl10": (EXPERIMENTS["extra7"], measure_importance, importance_chart),
}


def measure(stem: str, profile: str, folder: Path) -> None:
    """Measure what a figure of `MEASURED` needs, unless it lies in the folder; trains what the store lacks of its runs."""
    plan, measured_of, _ = MEASURED[stem]
    experiment, file = replace(plan, profile=profile), folder / f"{stem}{VALUES}"
    if _measured(file, set(run_ids(experiment.configs()))) is None:
        measured_of(experiment, experiment.runs()).save(file)


def _measured(file: Path, runs: set[str]) -> Measured | None:
    """What was measured of these runs, or of some of them; None if nothing was, or of others too."""
    measured = Measured.load(file) if file.is_file() else None
    return measured if measured and set(measured.runs) <= runs else None


def judge_trainings(folder: Path, profile: str) -> Iterator[Result]:
    """What can be made of the trainings in a folder; each is named by its stem, a key of JUDGED or MEASURED."""
    trainings = read_trainings(folder)
    by_config = {training.config: training for training in trainings}
    images = tuple(max(training.data[split] for training in trainings) for split in ("train", "test"))  # a fold has fewer
    for stem, (plan, make) in JUDGED.items():
        experiment = replace(plan, stem=stem, profile=profile, images=images)
        configs = experiment.configs()
        if make is folds_figure:
            configs = in_folds(configs)
        if all(config in by_config for config in configs):
            yield make(experiment, [by_config[config] for config in configs])
    for stem, (plan, _, draw) in MEASURED.items():
        experiment = replace(plan, stem=stem, profile=profile, images=images)
        runs = [by_config[config] for config in experiment.configs() if config in by_config]
        measured = _measured(folder / f"{stem}{VALUES}", {run.id for run in runs})
        if measured:
            yield draw(experiment, measured, runs)


def write_judgement(folder: Path, profile: str) -> list[str]:
    """Write a chart, a table and the verdicts for all that the trainings in a folder can say, and a page on all of it.

    Returns the stems of what could be said.
    """
    results = list(judge_trainings(folder, profile))
    for result in results:
        stem = result.experiment.stem
        with atomic_file(folder / f"{stem}.png") as temporary:
            temporary.write_bytes(result.png(DPI))
        with atomic_file(folder / f"{stem}.csv") as temporary:
            result.table.to_csv(temporary, index=False, float_format="%.6g")
    if results:
        with atomic_file(folder / VERDICTS) as temporary:
            temporary.write_text(json.dumps(verdicts_of(results), indent=1, ensure_ascii=False) + "\n")
        with atomic_file(folder / PAGE) as temporary:
            temporary.write_text(page_of(results))
    return [result.experiment.stem for result in results]


def verdicts_of(results: Sequence[Result]) -> dict[str, object]:
    """What `verdicts.json` holds: stem -> sentences and verdicts."""
    return {
        result.experiment.stem: {"says": result.says, "verdicts": [verdict.record() for verdict in result.verdicts]}
        for result in results
    }


def page_of(results: Sequence[Result]) -> str:
    """What came out, in sentences, then every verdict, then every chart and table, in Markdown."""
    figures = {}
    for result in results:
        plan = result.experiment
        label = plan.stem.split("_")[0].capitalize()
        figures[f"{label}: {plan.title}"] = figure_of(result, label, Path(f"{plan.stem}.png"), Path(f"{plan.stem}.csv"))
    runs = {run.id: run for result in results for run in result.runs}.values()
    machines = ", ".join(sorted({hardware(run.environment) for run in runs}))
    made = f"{len(runs)} trainings on {machines}; `make results` makes them again, `lficam figures --check` these numbers."
    title = f"Results on {results[0].experiment.source.split(', ')[0]}"
    return as_markdown(Report(title, figures, f"{scope_of([run.config.model_dump() for run in runs])} {made}"))
