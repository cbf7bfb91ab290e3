"""The files of a figure: `<stem>.png`, `.pdf`, `.csv` and `.json`, the last with everything needed to draw it again.

Where its numbers were made of values of every image, these lie beside them, as `.safetensors`.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from lficam.figures.measured import SUFFIX as MEASURED
from lficam.figures.page import DPI
from lficam.figures.plan import Experiment
from lficam.figures.result import Result
from lficam.paths import atomic_file, figures_dir
from lficam.provenance import environment, sha256
from lficam.training.config import published
from lficam.training.runs import Run, sums_of

SUFFIXES = (".png", ".pdf", ".csv", ".json")
MAKE_NO_FIGURE = ("reproduce", "explorer", "cli")  # packages whose changes leave every figure as it is


def save(result: Result) -> list[str]:
    """Write a figure's files, each in one piece, and return their paths inside the figures folder.

    The JSON holds the verdicts, the panels with their maps, the runs with config, metrics and hardware, the versions, and the
    SHA-256 of the other files. It is written last, so that a figure with a JSON is complete.
    """
    files = {suffix: result.experiment.file(suffix) for suffix in SUFFIXES}
    figure = result.draw()
    for suffix, metadata in ((".png", None), (".pdf", {"CreationDate": None})):  # no date: the same figure, the same bytes
        with atomic_file(files[suffix]) as temporary:
            figure.savefig(temporary, dpi=DPI, metadata=metadata)
    with atomic_file(files[".csv"]) as temporary:
        result.table.to_csv(temporary, index=False, float_format="%.6g")
    for name, other in result.beside.items():
        files[f"_{name}.png"] = result.experiment.file(f"_{name}.png")
        with atomic_file(files[f"_{name}.png"]) as temporary:
            temporary.write_bytes(other.png(DPI))
    if result.measured:
        files = {MEASURED: result.experiment.file(MEASURED)} | files
        result.measured.save(files[MEASURED])
    with atomic_file(files[".json"]) as temporary:
        made = [file for suffix, file in files.items() if suffix != ".json"]
        record = _provenance(result) | {"sha256": {file.name: sha256(file) for file in made}}
        temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False))
    return [file.relative_to(figures_dir()).as_posix() for file in files.values()]


def files_of(plan: Experiment) -> list[Path]:
    """What `save` wrote of a figure, as far as it is there."""
    return sorted([*plan.folder.glob(f"{plan.stem}.*"), *plan.folder.glob(f"{plan.stem}_*.png")])


def _provenance(result: Result) -> dict[str, object]:
    """Where a figure comes from, as JSON; without the folder of the data, which is the user's own."""
    experiment = result.experiment
    return {
        "name": experiment.name,
        "title": experiment.title,
        "caption": experiment.caption,
        "source": experiment.source,
        "profile": experiment.profile,
        "overrides": published(experiment.overrides),
        "verdicts": [verdict.record() for verdict in result.verdicts],
        "remarks": result.remarks,
        "training_seconds": sum(run.metrics["seconds"] for run in result.runs),
        "environment": environment(),
        "code": code_digest(),
        **({"objects": experiment.objects} if experiment.objects else {}),
        "runs": [_run_record(run) for run in result.runs],
        "drawing": {"kind": type(result.drawing).__name__} | asdict(result.drawing),
    }


def code_digest(package: Path = Path(__file__).parents[1]) -> str:
    """Identifies the library's source, as far as figures are made by it: a figure made by other code is out of date."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        path = file.relative_to(package)
        if path.parts[0] not in MAKE_NO_FIGURE:
            digest.update(path.as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _run_record(run: Run) -> dict[str, object]:
    return {
        "id": run.id,
        "sha256": sums_of(run.id),
        "config": published(run.config.model_dump()),
        "data": run.data,
        "metrics": run.metrics,
        "environment": run.environment,
    }
