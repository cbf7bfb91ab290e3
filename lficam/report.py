"""`REPORT.md`: every figure of a profile with its caption, verdicts, table and provenance, from the files that are there."""

import json
from pathlib import Path

import pandas as pd

from lficam.experiments import EXPERIMENTS
from lficam.paths import atomic_file
from lficam.tables import markdown
from lficam.verdicts import CLAIMS


def write_report(folder: Path, profile: str) -> Path:
    """Write the report on all figures in `folder` and return its path."""
    files = {name: folder / f"{name}_{plan.slug}.json" for name, plan in EXPERIMENTS.items()}
    records = {name: json.loads(file.read_text()) for name, file in files.items() if file.is_file()}
    lines = [f"# LFI-CAM's supplementary material, {profile} profile", "", *_claims(records)]
    for name, plan in EXPERIMENTS.items():
        lines += ["", f"## {_label(name)}. {plan.title}", ""]
        if name not in records:
            lines.append("Not made.")
            continue
        lines += _figure(records[name], files[name])
    target = folder / "REPORT.md"
    with atomic_file(target) as temporary:
        temporary.write_text("\n".join(lines) + "\n")
    return target


def _claims(records: dict[str, dict]) -> list[str]:
    rows = [
        {"claim": f"{verdict['claim']}: {CLAIMS[verdict['claim']]}", "figure": _label(name), "data": record["source"]}
        | {"verdict": f"**{verdict['outcome']}**", "measured": verdict["reason"]}
        for name, record in records.items()
        for verdict in record["verdicts"]
    ]
    return [markdown(pd.DataFrame(rows))] if rows else ["No figure that judges a claim has been made."]


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
    return [*lines, "", f"Made with {made}. Everything else: `{file.name}`."]


def _label(name: str) -> str:
    return name.replace("table", "Table ").replace("fig", "Figure ")
