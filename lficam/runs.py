"""The store of trained runs: a folder each, named by the run's id, written in one piece.

`config.json` and `model.safetensors` are the model, as `from_pretrained` reads it; `run.json` is how it came about.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout
from torch import nn

from lficam.abn import ABN
from lficam.config import RunConfig
from lficam.datasets import load_dataset
from lficam.errors import InputError
from lficam.inference import Explained, explain_samples
from lficam.lfi_cam import LFICAM
from lficam.paths import atomic_folder, runs_dir
from lficam.progress import Progress
from lficam.provenance import environment
from lficam.samples import Dataset
from lficam.training import Record, train


@dataclass(frozen=True)
class Run:
    """A trained model and how it came about.

    history: one record an epoch (see `training.Record`).
    metrics: test_accuracy and train_accuracy (shares in [0, 1]; training images as augmented, last epoch), seconds.
    environment: versions and hardware of the training.
    """

    id: str
    config: RunConfig
    model: nn.Module
    history: list[Record]
    metrics: dict[str, float]
    environment: dict[str, object]

    @cached_property
    def dataset(self) -> Dataset:
        return load_dataset(self.config.dataset, self.config.data, self.config.image_size)

    @cached_property
    def explained(self) -> Explained:
        """The model's word on every test image, computed on first use."""
        return explain_samples(self.model, self.dataset.test, self.dataset, self.config.image_size)


def fit_or_load(config: RunConfig) -> Run:
    """The run of a config: from the store if it is there, else trained now and stored."""
    return fit_or_load_all([config])[0]


def fit_or_load_all(configs: Sequence[RunConfig]) -> list[Run]:
    """The runs of many configs, in order; trains what the store lacks, with one progress bar.

    An interrupted call keeps the runs that were finished. A second process that needs the same run waits for it.
    """
    missing = {id: config for config in configs if not is_stored(id := config.run_id())}
    if missing:
        with Progress(len(missing), sum(config.epochs for config in missing.values())) as progress:
            for id, config in missing.items():
                progress.start(id, config.epochs)
                _fit(id, config, progress)
    # The caller's config, not the stored one: it knows where the data lies now.
    return [replace(load_run(config.run_id()), config=config) for config in configs]


def is_stored(id: str) -> bool:
    """Whether a run has been trained and stored."""
    return (runs_dir() / id / "run.json").is_file()


def stored_ids() -> list[str]:
    """The ids of all trained runs, sorted."""
    return sorted(file.parent.name for file in runs_dir().glob("[!.]*/run.json"))


def load_run(id: str) -> Run:
    """Read a run from the store.

    Raises InputError if there is no such run.
    """
    folder = runs_dir() / id
    if not is_stored(id):
        raise InputError(f"no run {id!r} in {runs_dir()}: `lficam runs` lists those there are")
    stored = json.loads((folder / "run.json").read_text())
    config = RunConfig(**stored["config"])
    model_class = ABN if config.method == "abn" else LFICAM
    return Run(id, config, model_class.from_pretrained(folder), stored["history"], stored["metrics"], stored["environment"])


def _fit(id: str, config: RunConfig, progress: Progress) -> None:
    lock = _lock(runs_dir() / ".locks" / f"{id}.lock")
    with lock:
        if is_stored(id):  # another process has trained it meanwhile
            return
        start = time.perf_counter()
        dataset = load_dataset(config.dataset, config.data, config.image_size)
        model, history = train(config, dataset, progress.epoch)
        seconds = round(time.perf_counter() - start, 1)
        test = explain_samples(model, dataset.test, dataset, config.image_size)
        metrics = {
            "test_accuracy": test.accuracy(dataset.test.labels),
            "train_accuracy": history[-1]["accuracy"],
            "seconds": seconds,
        }
        record = {
            "id": id,
            "config": config.model_dump(),
            "metrics": metrics,
            "history": history,
            "environment": environment(),
        }
        with atomic_folder(runs_dir() / id) as folder:
            model.save_pretrained(folder)
            (folder / "run.json").write_text(json.dumps(record, indent=2))


def _lock(file: Path) -> FileLock:
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
        lock.release()
    except Timeout:
        print(f"waiting for the process that trains {file.stem}", flush=True)
    return lock
