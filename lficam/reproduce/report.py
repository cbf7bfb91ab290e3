"""`REPORT.md` and `report.html`, the same: what became of every claim, then every figure, from the files that are there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lficam.errors import InputError
from lficam.figures.experiments import EXPERIMENTS
from lficam.figures.outputs import SUFFIXES, code_digest
from lficam.figures.tables import markdown
from lficam.figures.verdicts import QUANTITIES, STATEMENTS
from lficam.paths import atomic_file
from lficam.reproduce.html import html_page


def write_report(folder: Path, profile: str) -> Path:
    """Write the report on all figures in `folder` and return the path of `REPORT.md`; `report.html` opens without a server.

    Raises InputError if there is no figure.
    """
    files = {name: folder / f"{plan.stem}.json" for name, plan in EXPERIMENTS.items()}
    whole = {name: all(file.with_suffix(suffix).is_file() for suffix in SUFFIXES) for name, file in files.items()}
    records = {name: json.loads(file.read_text()) for name, file in files.items() if whole[name]}
    if not records:
        raise InputError(f"there is no figure in {folder}: `lficam figures` makes them")
    title = f"LFI-CAM's supplementary material, {profile} profile"
    lines = [f"# {title}", "", *_claims(records)]
    for name, plan in EXPERIMENTS.items():
        lines += ["", f"## {_label(name)}. {plan.title}", ""]
        if name not in records:
            lines.append("Not made.")
            continue
        lines += _figure(records[name], files[name])
    target = folder / "REPORT.md"
    text = "\n".join(lines) + "\n"
    with atomic_file(target) as temporary:
        temporary.write_text(text)
    with atomic_file(folder / "report.html") as temporary:
        temporary.write_text(html_page(text, folder, title))
    return target


def _claims(records: dict[str, dict]) -> list[str]:
    """One row for each verdict: the seed's claims first, then this project's questions."""
    rows = [
        {
            "claim": f"{verdict['claim']}: {STATEMENTS[verdict['claim']]}",
            "figure": f"{_label(name)}, {record['source']}",
            "quantity": QUANTITIES[verdict["claim"]],
            **_measured(verdict),
            "verdict": f"**{verdict['outcome']}**",
        }
        for name, record in records.items()
        for verdict in record["verdicts"]
    ]
    if not rows:
        return ["No figure that judges a claim has been made."]
    return [
        markdown(pd.DataFrame(rows)),
        "",
        "C1 to C3 are the seed's claims, E1 to E8 this project's own questions. Intervals hold 95 % of bootstrap means: over "
        "images where one model is looked at, over images and models where there are several. Over three to five models they are "
        "too narrow: where models differ much they hold the truth in 63 to 80 %, as simulated. The rules of the verdicts were "
        "written before what they judge was measured; they stand with each figure.",
    ]


def _measured(verdict: Mapping[str, Any]) -> dict[str, str]:
    if verdict.get("measured") is None:
        return {"measured": "", "95 % interval": ""}
    mean, low, high = verdict["measured"]
    return {"measured": f"{mean:.3f}", "95 % interval": f"[{low:.3f}, {high:.3f}]"}


def _figure(record: dict, file: Path) -> list[str]:
    table = pd.read_csv(file.with_suffix(".csv"))
    environment, gpu = record["environment"], record["environment"]["gpu"]
    hardware = gpu or f"{environment['processor']}, {environment['cpus']} cores"
    lines = [
        f"> {record['caption']}",
        "",
        f"*{record['source']}*",
        "",
        f"![{record['title']}]({file.with_suffix('.png').name})",
        "",
        markdown(table),
        "",
        *(f"- **{v['claim']} {v['outcome']}**: {v['reason']}." for v in record["verdicts"]),
    ]
    if not record["verdicts"]:
        lines.append("This figure judges no claim.")
    made = f"torch {environment['packages']['torch']}, {hardware}"
    if record["runs"]:
        made += f"; {len(record['runs'])} runs, {record['training_seconds']:.0f} s of training"
        if left_out := record["runs"][0].get("data", {}).get("unreadable"):  # the same for all runs of a figure
            made += f"; {len(left_out)} images that cannot be read were left out"
    if record["code"] != code_digest():
        made += ", by another version of this library: `lficam figures` makes it anew"
    return [*lines, "", f"Made with {made}. Everything else: [`{file.name}`]({file.name})."]


def _label(name: str) -> str:
    return name.replace("table", "Table ").replace("fig", "Figure ").replace("extra", "Extra figure ")
