"""A benchmark in stages: each writes what it finds as it finds it, so that what was cut off goes on, and a report has all of them.

A stage is a function whose docstring says what it measures; it yields what is measured and how.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import pandas as pd

Work = Iterator[tuple[str, Callable[[], dict[str, Any]]]]  # what is measured, and how
Stage = Callable[[], Work]
Record = dict[str, Any]  # found: what -> quantity -> value; hardware; left out


def run_stage(stage: Stage, output: Path, seconds: float) -> None:
    """Write what a stage finds as it finds it. What an earlier call found stays; after its time it stops, and the next goes on."""
    name = stage.__name__
    file = output / f"{name}.json"
    record = _found(output, stage) or {"found": {}}
    record |= {"hardware": hardware(), "left out": []}
    start = time.monotonic()
    for what, work in stage():
        if what in record["found"]:
            continue
        if time.monotonic() - start > seconds:
            record["left out"].append(f"{what}: no time left, the same command goes on")
            continue
        try:
            record["found"][what] = work()
            print(f"{name}: {what}: {json.dumps(record['found'][what])}", flush=True)
        except (ImportError, torch.OutOfMemoryError) as error:
            record["left out"].append(f"{what}: {str(error).splitlines()[0]}")
            print(f"{name}: left out: {record['left out'][-1]}", flush=True)
        _write(file, record)


def hardware() -> dict[str, Any]:
    """What computed."""
    known = {"cpus": os.cpu_count(), "torch": torch.__version__, "python": platform.python_version()}
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        known = {"gpu": torch.cuda.get_device_name(), "gpu_memory_gb": memory / 1e9} | known
    return known


def _write(file: Path, record: Record) -> None:
    temporary = file.with_name(f".{file.name}")
    temporary.write_text(json.dumps(record, indent=1))
    temporary.replace(file)


def write_report(title: str, stages: Iterable[Stage], output: Path) -> None:
    """Write what all stages found: report.md and report.csv."""
    found = [(stage, _found(output, stage)) for stage in stages]
    (output / "report.md").write_text(_in_markdown(title, found))
    _table(found).to_csv(output / "report.csv", index=False)


def _in_markdown(title: str, found: Iterable[tuple[Stage, Record | None]]) -> str:
    lines = [f"# {title}", ""]
    for stage, record in found:
        lines += [f"## {stage.__name__.replace('_', ' ').capitalize()}", "", stage.__doc__, ""]
        if not record:
            lines += ["Not run.", ""]
            continue
        lines += [f"On {_in_words(record['hardware'])}.", ""]
        lines += [f"- {what}: {_in_words(values)}" for what, values in record["found"].items()]
        lines += [f"- left out: {why}" for why in record["left out"]]
        lines.append("")
    return "\n".join(lines)


def _table(found: Iterable[tuple[Stage, Record | None]]) -> "pd.DataFrame":
    """A number a row."""
    import pandas as pd

    rows = [
        {"stage": stage.__name__, "what": what, "quantity": name, "value": _short(value), "hardware": _machine(record["hardware"])}
        for stage, record in found
        if record
        for what, values in record["found"].items()
        for name, value in values.items()
    ]
    return pd.DataFrame(rows)


def _machine(known: dict[str, Any]) -> str:
    return f"{known.get('gpu', 'no GPU')}, {known['cpus']} cores"


def _found(output: Path, stage: Stage) -> Record | None:
    file = output / f"{stage.__name__}.json"
    return json.loads(file.read_text()) if file.is_file() else None


def _in_words(values: dict[str, Any]) -> str:
    return "; ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in values.items())


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
