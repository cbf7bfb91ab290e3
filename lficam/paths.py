"""Where data, trained runs and figures live.

`LFICAM_DATA`, `LFICAM_RUNS` and `LFICAM_FIGURES` set the three folders. Without them they are `data/`, `runs/` and `figures/`
of the repository this package was installed from in editable mode, else of the current folder.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import files
from pathlib import Path

from filelock import FileLock, Timeout

from lficam.errors import InputError


def repository() -> Path | None:
    """The checkout this package runs from, None for an installed copy."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "notebooks").is_dir() else None


def notebooks_dir() -> Path:
    """The notebooks: those of the checkout, or those that the wheel brought, beside the library's environment."""
    if root := repository():
        return root / "notebooks"
    first = next(file for file in files("lficam") if file.match("lficam/notebooks/00_*.ipynb"))
    return Path(first.locate()).resolve().parent


def data_dir() -> Path:
    """Data sets: one folder each."""
    return _folder("LFICAM_DATA", "data")


def runs_dir() -> Path:
    """Trained runs: one folder each, named by the run's id."""
    return _folder("LFICAM_RUNS", "runs")


def figures_dir() -> Path:
    """Figures: one folder a profile."""
    return _folder("LFICAM_FIGURES", "figures")


def _folder(variable: str, name: str) -> Path:
    return Path(os.environ.get(variable) or (repository() or Path.cwd()) / name).absolute()


@contextmanager
def lock(folder: Path, name: str, busy: str, wait: bool) -> Iterator[None]:
    """Keep other processes out of `folder`/.locks/`name` while the block runs.

    busy: said if another process is in there; then this one waits, or without `wait` raises InputError with these words.
    """
    file = folder / ".locks" / f"{name}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(file).acquire(timeout=0)
    except Timeout:
        if not wait:
            raise InputError(busy) from None
        print(busy, flush=True)
        held = FileLock(file).acquire()
    with held:
        yield


def _as_umask_says(written: Path) -> None:
    """Give a file, or a folder and all in it, the mode that the user's umask gives: mkdtemp and safetensors make theirs private."""
    probe = written.with_name(f"{written.name}.probe")
    probe.touch()
    readable = probe.stat().st_mode & 0o666
    probe.unlink()
    for path in (written, *written.rglob("*")):
        path.chmod(readable | (readable & 0o444) >> 2 if path.is_dir() else readable)  # a folder one may read is one to enter


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` (same suffix) that replaces it only if the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        yield temporary
        _as_umask_says(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its place, replacing an older one, only if the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield temporary
        _as_umask_says(temporary)
        if target.exists():
            shutil.rmtree(target)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
