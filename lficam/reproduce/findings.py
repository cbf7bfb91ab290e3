"""The report as data: what became of every claim, then every figure, from the files that are there."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from lficam.errors import InputError
from lficam.figures.claims import QUANTITIES, STATEMENTS
from lficam.figures.experiments import EXPERIMENTS
from lficam.figures.outcomes import outcomes
from lficam.figures.outputs import SUFFIXES, code_digest
from lficam.figures.result import Result
from lficam.figures.tables import in_words, readable
from lficam.figures.verdicts import Verdict
from lficam.metrics.intervals import Interval
from lficam.provenance import hardware

# How to read the claims; stands below them.
NOTES = (
    "C1 to C3 are the supplement's claims, E1 to E11 this project's own questions. C1 to C3 are judged by their means; where their "
    "interval alone would say something else, the verdict adds it. Nothing is adjusted for the number of claims.",
    "IoU: of the areas where two maps are above 100/255, how much of both is common to them.",
    "Intervals are over images where one model or two are looked at, else over images and as many models as stand there; "
    "simulated, they hold the truth in at least 93 % where the models' differences are normal, in 89 % where a few stand out. "
    "With few models they may reach beyond what a quantity can be. Settings were chosen and not drawn by chance: an interval "
    "between them is wider than these settings need, and says nothing of others.",
    "For free is what comes where nothing of what is claimed is at work: between networks that have learned nothing, or from a map "
    "that anyone can draw; of C2, the most inconsistent of the other methods. What is supported is not shown to exceed it unless "
    "the whole interval of the difference lies above 0, which few models can hardly show; that changes no outcome.",
    "What the models of a method share beside their training images stands in the tables; models that began with the same weights, "
    "and where their batch sizes are equal saw the images in the same order, may agree for that reason alone. Where settings share "
    "their initial weights, the untrained networks beside them do not.",
    "The rules of C1 to E8 were written before what they judge was computed, those of E9 to E11 after the figures on digits and "
    "before those on photographs: on digits they describe. What was known by then stands beside them in figures/claims.py.",
)
INTERVAL = "95 % interval (models)"


@dataclass(frozen=True)
class Table:
    """A table as people read it; numbers, verdicts: names of the columns that hold numbers, and outcomes of verdicts."""

    text: pd.DataFrame
    numbers: Sequence[str]
    verdicts: Sequence[str] = ()


@dataclass(frozen=True)
class Figure:
    """One figure, as its files tell it.

    label: such as "Figure 1". source: its data and profile. made: with which versions, hardware and trainings.
    remarks: what came out beside the verdicts, in sentences without their full stop.
    current: whether this version of the library made it. pictures: its PNG, and those beside it. record: its JSON.
    """

    label: str
    title: str
    caption: str
    source: str
    table: Table
    verdicts: Sequence[Verdict]
    made: str
    current: bool
    pictures: Sequence[Path]
    record: Path
    remarks: Sequence[str] = ()

    @property
    def on(self) -> str:
        """Its label and its data."""
        return f"{self.label}, {self.source.split(', ')[0]}"


@dataclass(frozen=True)
class Report:
    """What became of the figures of one profile.

    figures: heading -> figure, None where it was not made. scope: what all of it is about, a sentence.
    """

    title: str
    figures: Mapping[str, Figure | None]
    scope: str = ""

    @property
    def opening(self) -> list[str]:
        """What came out, in sentences; what came out beside it stands with each figure."""
        made = [figure for figure in self.figures.values() if figure]
        return outcomes([(figure.label, verdict) for figure in made for verdict in figure.verdicts])

    def claims(self) -> Table:
        """One row for each verdict, in the order of the figures."""
        rows = [
            {
                "claim": f"{verdict.claim}: {STATEMENTS[verdict.claim]}",
                "figure": figure.on,
                "measured": f"{verdict.measured.mean:z.3f}" if verdict.measured else "",
                INTERVAL: _bounds(verdict.measured) if verdict.measured else "",
                "for free": f"{verdict.free.what}: {_number(verdict.free.measured)}" if verdict.free else "",
                "verdict": verdict.words,
                "quantity": _quantity(verdict),  # last: on a narrow page it is what one has to scroll to
            }
            for figure in self.figures.values()
            if figure
            for verdict in figure.verdicts
        ]
        return Table(pd.DataFrame(rows), numbers=["measured", INTERVAL], verdicts=["verdict"])


def _quantity(verdict: Verdict) -> str:
    return QUANTITIES[verdict.claim] + (f" ({verdict.decides})" if verdict.decides else "")


def _number(interval: Interval) -> str:
    return f"{interval.mean:z.3f} {_bounds(interval)}"


def _bounds(interval: Interval) -> str:
    models = f" ({interval.models})" if interval.models else ""
    return f"[{interval.low:z.3f}, {interval.high:z.3f}]{models}"


def gather(folder: Path, profile: str, suffixes: Sequence[str] = SUFFIXES) -> Report:
    """The report on all figures in `folder` that have all files of these suffixes. Raises InputError if there is none."""
    figures, configs = {}, []
    for name, plan in EXPERIMENTS.items():
        label = name.replace("table", "Table ").replace("fig", "Figure ").replace("extra", "Extra figure ")
        file = folder / f"{plan.stem}.json"
        whole = all(file.with_suffix(suffix).is_file() for suffix in suffixes)
        try:
            figure = _figure(label, file) if whole else None
            configs += [run["config"] for run in json.loads(file.read_text())["runs"] if "config" in run] if whole else []
        except (ValueError, KeyError, TypeError) as error:  # no JSON and no CSV are ValueErrors
            print(
                f"lficam: {file} or its table is damaged ({type(error).__name__}): `lficam figures` makes it anew", file=sys.stderr
            )
            figure = None
        figures[f"{label}. {plan.title}"] = figure
    if not any(figures.values()):
        raise InputError(f"there is no figure in {folder}: `lficam figures` makes them")
    return Report(f"LFI-CAM's supplementary material, {profile} profile", figures, scope_of(configs))


def scope_of(configs: Sequence[Mapping[str, Any]]) -> str:
    """What networks there are, in a sentence. configs: of their trainings."""
    kinds = {
        f"{config['trunk']} on images of {config['image_size']} pixels, {config['epochs']} epochs from "
        f"{'ImageNet weights' if config['pretrained'] else 'a file of weights' if config['weights'] else 'nothing'}"
        for config in configs
    }
    return f"All of this is about networks trained here and on this data alone: {'; '.join(sorted(kinds))}." if kinds else ""


def figure_of(result: Result, label: str, picture: Path, record: Path) -> Figure:
    """The same of a figure that has just been made, whose picture and record lie beside the report."""
    runs = [{"metrics": run.metrics, "environment": run.environment, "data": run.data} for run in result.runs]
    seconds = sum(run.metrics["seconds"] for run in result.runs)
    return Figure(
        label=label,
        title=result.experiment.title,
        caption=result.experiment.caption,
        source=result.experiment.source,
        table=_table(result.table),
        verdicts=result.verdicts,
        remarks=result.remarks,
        made=_made({"environment": result.runs[0].environment, "runs": runs, "training_seconds": seconds}),
        current=True,
        pictures=[picture],
        record=record,
    )


def _figure(label: str, file: Path) -> Figure:
    record = json.loads(file.read_text())
    return Figure(
        label=label,
        title=record["title"],
        caption=record["caption"],
        source=record["source"],
        table=_table(pd.read_csv(file.with_suffix(".csv"))),
        verdicts=[Verdict.from_record(verdict) for verdict in record["verdicts"]],
        remarks=record.get("remarks", []),
        made=_made(record),
        current=record["code"] == code_digest(),
        pictures=[file.with_suffix(".png"), *sorted(file.parent.glob(f"{file.stem}_*.png"))],
        record=file,
    )


def _table(table: pd.DataFrame) -> Table:
    text = readable(table)
    numeric = {in_words(name) for name in table if is_numeric_dtype(table[name]) and not is_bool_dtype(table[name])}
    return Table(text, [name for name in text if name in numeric])


def _made(record: Mapping[str, Any]) -> str:
    environment = record["environment"]
    made = f"torch {environment['packages']['torch']}, {hardware(environment)}"
    if record["runs"]:
        made += f"; {len(record['runs'])} runs, {record['training_seconds']:.0f} s of training"
        if left_out := record["runs"][0].get("data", {}).get("unreadable"):  # the same for all runs of a figure
            made += f"; {len(left_out)} images that cannot be read were left out"
    return made
