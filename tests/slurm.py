#!/usr/bin/env python3
"""A cluster of the tests' own: what stands behind `sbatch`, `sacct` and others, by the name it is called by.

`install` puts it into a folder of the search path. What is submitted is written down; a job is done as soon as it is submitted, by
the marker that the workflow waits for, or fails once where FAIL names it.
"""

import base64
import json
import os
import re
import sys
import zlib
from pathlib import Path

COMMANDS = ("sbatch", "sacct", "sacctmgr", "scancel", "scontrol", "sinfo", "squeue", "sshare")


def install(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in COMMANDS:
        target = folder / name
        target.write_text(f"#!{sys.executable}\n" + Path(__file__).read_text())
        target.chmod(0o755)


def submitted(folder: Path) -> list[dict]:
    """Every call of sbatch: its options, and the targets of its jobs, such as "train:id=...", of an array one each."""
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def _sbatch(folder: Path, arguments: list[str]) -> None:
    options, command = arguments[:-1], arguments[-1].removeprefix("--wrap=")
    commands = [command]
    if found := re.search(r"--slurm-jobstep-array-execs=(\S+)", command):
        payload = found[1].strip("'")
        commands += [zlib.decompress(bytes.fromhex(more)).decode() for more in json.loads(base64.b64decode(payload)).values()]
    targets = [re.search(r"--target-jobs '?(\w+:\w+=[\w.-]+)", command)[1] for command in commands]
    calls = folder / "calls"
    number = 1 + (len(calls.read_text().splitlines()) if calls.is_file() else 0)
    with calls.open("a") as file:
        file.write(json.dumps({"options": options, "targets": targets}) + "\n")
    array = any(option.startswith("--array") for option in options)
    with (folder / "states").open("a") as file:
        for task, target in enumerate(targets, 1):
            failed = folder / "failed"
            fails = target == os.environ.get("FAIL") and not failed.exists()
            if fails:
                failed.touch()
            else:
                rule, name = re.fullmatch(r"(\w+):\w+=(.+)", target).groups()
                marker = Path(os.environ["MARKERS"], {"train": "runs", "notebook": "notebooks"}[rule], name)
                marker.parent.mkdir(parents=True, exist_ok=True)
                marker.touch()
            file.write(f"{number}{f'_{task}' if array else ''}|{'FAILED' if fails else 'COMPLETED'}\n")
    print(number)


def main() -> None:
    folder, name = Path(__file__).parent, Path(__file__).name
    if name == "sbatch":
        _sbatch(folder, sys.argv[1:])
    elif name in ("sacct", "squeue") and (folder / "states").is_file():
        print((folder / "states").read_text(), end="")
    elif name == "scontrol":
        print("MinJobAge = 300 sec\nMaxArraySize = 1001")


if __name__ == "__main__":
    main()
