"""`lficam figures --check`: are the committed numbers what the committed maps and values say? No training, no photograph."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from lficam.figures.any_trunk import judge_trunks
from lficam.figures.architecture import architecture_figure
from lficam.figures.chance import chance_figure
from lficam.figures.class_dependence import judge_two_objects
from lficam.figures.experiments import EXPERIMENTS
from lficam.figures.explanations import judge_effectiveness, judge_explanations
from lficam.figures.fin_worth import importance_chart
from lficam.figures.hidden_pixels import faithfulness_chart
from lficam.figures.learning import learning_figure
from lficam.figures.measured import Judged, Measured
from lficam.figures.new_weights import sanity_chart
from lficam.figures.outputs import MEASURED
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.figures.settings import Settings, judge_settings
from lficam.reproduce.findings import gather
from lficam.reproduce.judgement import PAGE, PROFILE, VERDICTS, judge_trainings, page_of, verdicts_of
from lficam.reproduce.report import as_markdown
from lficam.reproduce.results import RUNS, TABLE, read_trainings, table_of
from lficam.training.runs import RunRecord

TOLERANCE = 0.001
NO_NUMBERS = ("seconds", "models_share")  # columns: times are others on another machine
TRAININGS = "trainings"  # in the folder of the reference: a folder of trainings for each data set

# How each figure follows from values of every image, without its pictures or with its chart, or from the maps of trainings.
FROM_VALUES: Mapping[str, Callable[[Measured], Judged]] = {
    "fig1": judge_effectiveness,
    "fig2": judge_explanations,
    "fig3": judge_explanations,
    "fig4": judge_explanations,
    "extra6": judge_two_objects,
    "extra9": judge_trunks,
}
CHARTS: Mapping[str, Callable[[Experiment, Measured, Sequence[RunRecord]], Result]] = {
    "extra4": faithfulness_chart,
    "extra5": sanity_chart,
    "extra7": importance_chart,
}
FROM_MAPS: Mapping[str, Callable[[Experiment, Sequence[RunRecord]], Result | Settings]] = {
    "fig5": judge_settings,
    "fig6": judge_settings,
    "extra1": chance_figure,
    "extra2": chance_figure,
    "extra3": chance_figure,
    "extra8": learning_figure,
}


def check(root: Path) -> Iterator[str]:
    """What differs in `figures/reference` and `figures/results` of a checkout of the repository, a line each."""
    yield from check_reference(root / "figures" / "reference")
    for file in sorted((root / "figures" / "results").glob(f"*/{RUNS}")):
        for line in check_results(file.parent, PROFILE):
            yield f"{file.parent.name}: {line}"


def check_reference(folder: Path, names: Sequence[str] = tuple(EXPERIMENTS), profile: str = "embedded") -> Iterator[str]:
    """What differs between the tables, verdicts and sentences of figures in a folder and what they were made of, a line each.

    folder: as `make reference` writes it.
    """
    for name in names:
        plan = replace(EXPERIMENTS[name], profile=profile)
        record, file = json.loads((folder / f"{plan.stem}.json").read_text()), folder / f"{plan.stem}.csv"
        made = _made_again(plan, folder)
        yield from _of_table(file, made.table)
        now = {"verdicts": [verdict.record() for verdict in getattr(made, "verdicts", ())]}
        now["remarks"] = list(getattr(made, "remarks", ()))
        if isinstance(made, Result):
            now["drawing"] = {"kind": type(made.drawing).__name__} | json.loads(json.dumps(asdict(made.drawing)))
        yield from _differences({key: record[key] for key in now}, now, f"{plan.stem}.json")
    if set(names) == set(EXPERIMENTS):
        report = gather(folder, profile, [".png", ".csv", ".json"])  # a PDF is the same picture again
        figures = {heading: figure and replace(figure, current=True) for heading, figure in report.figures.items()}
        now = as_markdown(replace(report, figures=figures))
        yield from _differences((folder / "REPORT.md").read_text().splitlines(), now.splitlines(), "REPORT.md")


def check_results(folder: Path, profile: str) -> Iterator[str]:
    """The same of the trainings in a folder, as `make results` writes it."""
    yield from _of_table(folder / TABLE, table_of(json.loads((folder / RUNS).read_text())))
    results = list(judge_trainings(folder, profile))
    for result in results:
        yield from _of_table(folder / f"{result.experiment.stem}.csv", result.table)
    if results:
        yield from _differences(json.loads((folder / VERDICTS).read_text()), verdicts_of(results), VERDICTS)
        yield from _differences((folder / PAGE).read_text().splitlines(), page_of(results).splitlines(), PAGE)


def _made_again(plan: Experiment, folder: Path) -> Result | Settings | Judged:
    if plan.name in FROM_VALUES:
        return FROM_VALUES[plan.name](Measured.load(folder / f"{plan.stem}{MEASURED}"))
    if plan.name == "table1":
        return architecture_figure(plan)  # counted on the modules
    trainings = {training.config: training for training in read_trainings(folder / TRAININGS / plan.dataset)}
    runs = [trainings[config] for config in plan.configs()]
    if plan.name in CHARTS:
        return CHARTS[plan.name](plan, Measured.load(folder / f"{plan.stem}{MEASURED}"), runs)
    return FROM_MAPS[plan.name](plan, runs)


def _of_table(file: Path, now: pd.DataFrame) -> Iterator[str]:
    """A committed CSV, and the table made again, as it would be committed."""
    again = pd.read_csv(StringIO(now.to_csv(index=False, float_format="%.6g")))
    tables = [table.drop(columns=[name for name in NO_NUMBERS if name in table]) for table in (pd.read_csv(file), again)]
    committed, now = (table.to_dict("records") for table in tables)
    yield from _differences(committed, now, file.name)


def _differences(committed: Any, now: Any, where: str) -> Iterator[str]:
    """Between two values as JSON has them: numbers not within the tolerance, in text as well, and all else that differs."""
    if isinstance(committed, Mapping) and isinstance(now, Mapping) and committed.keys() == now.keys():
        for key in committed:
            yield from _differences(committed[key], now[key], f"{where}, {key}")
    elif isinstance(committed, list | tuple) and isinstance(now, list | tuple) and len(committed) == len(now):
        for k, (a, b) in enumerate(zip(committed, now, strict=True), 1):
            yield from _differences(a, b, f"{where} {k}")
    elif isinstance(committed, str) and isinstance(now, str):
        if not _same_text(committed, now):
            yield f"{where}: committed {committed!r}, now {now!r}"
    elif isinstance(committed, int | float) and isinstance(now, int | float):
        if not (math.isclose(committed, now, rel_tol=0, abs_tol=TOLERANCE) or (math.isnan(committed) and math.isnan(now))):
            yield f"{where}: committed {committed:g}, now {now:g}"
    elif committed != now:
        yield f"{where}: committed {committed!r}, now {now!r}"


_NUMBER = re.compile(r"[-+]?\d+(?:\.(\d+))?")


def _same_text(committed: str, now: str) -> bool:
    """The same words and whole numbers; others may differ by the tolerance, or by what rounding to their decimals hides."""
    if _NUMBER.sub("#", committed) != _NUMBER.sub("#", now):
        return False
    for a, b in zip(_NUMBER.finditer(committed), _NUMBER.finditer(now), strict=True):
        allowed = max(TOLERANCE, 10.0 ** -len(a[1])) if a[1] else 0
        if abs(float(a[0]) - float(b[0])) > allowed * 1.001:
            return False
    return True
