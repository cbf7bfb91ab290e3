"""The SHA-256 of files in a folder, kept beside them: bytes that have changed since are seen before they become a number."""

import json
from collections.abc import Iterable
from pathlib import Path

from lficam.errors import InputError
from lficam.paths import atomic_file
from lficam.provenance import sha256

SUMS = "sha256.json"
CARD = "README.md"  # whoever passes a model on may write into its card


def write_sums(folder: Path, names: Iterable[str] = ()) -> None:
    """Record the sums of these files of a folder, all when left out; those of others stay as they are."""
    there = sorted(file.name for file in folder.iterdir() if file.name not in (SUMS, CARD) and not file.name.startswith("."))
    sums = _read(folder) | {name: sha256(folder / name) for name in names or there}
    with atomic_file(folder / SUMS) as temporary:
        temporary.write_text(json.dumps(dict(sorted(sums.items())), indent=1) + "\n")


def has_sums(folder: Path) -> bool:
    """Whether there are any."""
    return (folder / SUMS).is_file()


def changed(folder: Path, names: Iterable[str] = ()) -> str:
    """What of these files of a folder, all when left out, is not as it was recorded, in a few words; "" if nothing, or no sums."""
    try:
        sums = _read(folder)
    except (ValueError, AttributeError):  # no text, no JSON; JSON of something else
        return f"{SUMS} is damaged"
    for name in names or sums:
        if name in sums and not (folder / name).is_file():
            return f"{name} is missing"
        if name in sums and sha256(folder / name) != sums[name]:
            return f"{name} has changed since it was stored"
    return ""


def check_sums(folder: Path, *names: str, advice: str) -> None:
    """Raise InputError, with an advice, unless these files of a folder are as they were recorded; without sums nothing is known."""
    if why := changed(folder, names):
        raise InputError(f"{folder}/{why}: {advice}")


def _read(folder: Path) -> dict[str, str]:
    """Name -> sum. Raises ValueError or AttributeError for a file that holds something else."""
    return dict(json.loads((folder / SUMS).read_text()).items()) if has_sums(folder) else {}
