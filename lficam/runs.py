"""The store of trained runs: a folder each, named by the run's id, written in one piece.

`config.json` and `model.safetensors` are the model, as `from_pretrained` reads it; `run.json` is how it came about.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pydantic import ValidationError
from torch import nn

from lficam.abn import ABN
from lficam.config import RunConfig
from lficam.datasets import load_dataset
from lficam.errors import InputError
from lficam.inference import Explained, explain_samples
from lficam.lfi_cam import LFICAM
from lficam.paths import atomic_folder, lock, runs_dir
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
    classes: names, in the order of the logits. mean, std: per channel, of pixels in [0, 1], by which input is normalised.
    """

    id: str
    config: RunConfig
    model: nn.Module
    history: list[Record]
    metrics: dict[str, float]
    environment: dict[str, object]
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @cached_property
    def dataset(self) -> Dataset:
        return load_dataset(self.config.dataset, self.config.data, self.config.image_size)

    @cached_property
    def explained(self) -> Explained:
        """The model's word on every test image, computed on first use."""
        return explain_samples(self.model, self.dataset.test, self.mean, self.std, self.config.image_size)


def fit_or_load(config: RunConfig) -> Run:
    """The run of a config: from the store if it is there, else trained now and stored."""
    return fit_or_load_all([config])[0]


def fit_or_load_all(configs: Sequence[RunConfig]) -> list[Run]:
    """The runs of many configs, in order; trains what the store lacks, with one progress bar.

    An interrupted call keeps the runs that were finished. A second process that needs the same run waits for it.
    Raises what kept the first of them from being trained.
    """
    for error in fit_missing(configs).values():
        raise error
    # The caller's config, not the stored one: it knows where the data lies now.
    return [replace(load_run(config.run_id()), config=config) for config in configs]


def fit_missing(configs: Sequence[RunConfig]) -> dict[str, Exception]:
    """Train what the store lacks; a run that cannot be trained does not keep the others from it.

    Returns id -> InputError (data that cannot be read) or FloatingPointError (a loss that is not finite) of those.
    """
    missing = {id: config for config in configs if not is_stored(id := config.run_id())}
    if not missing:
        return {}
    failed = {}
    with Progress(len(missing), sum(config.epochs for config in missing.values())) as progress:
        for id, config in missing.items():
            progress.start(id, config.epochs)
            try:
                _fit(id, config, progress)
            except (InputError, FloatingPointError) as error:
                failed[id] = error
    return failed


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
    try:
        stored = json.loads((folder / "run.json").read_text())
        stored["config"] = RunConfig(**stored["config"])
        run = Run(id=id, model=None, **stored)
    except (json.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
        raise InputError(
            f"{folder / 'run.json'} is damaged ({type(error).__name__}): remove {folder} and train it again"
        ) from error
    model_class = ABN if run.config.method == "abn" else LFICAM
    return replace(run, model=model_class.from_pretrained(folder))


def _fit(id: str, config: RunConfig, progress: Progress) -> None:
    with lock(runs_dir(), id, busy=f"waiting for the process that trains {id}", wait=True):
        if is_stored(id):  # another process has trained it meanwhile
            return
        start = time.perf_counter()
        dataset = load_dataset(config.dataset, config.data, config.image_size)
        model, history = train(config, dataset, progress.epoch)
        seconds = round(time.perf_counter() - start, 1)
        test = explain_samples(model, dataset.test, dataset.mean, dataset.std, config.image_size)
        record = {
            "config": config.model_dump(),
            "classes": dataset.classes,
            "mean": dataset.mean,
            "std": dataset.std,
            "metrics": {
                "test_accuracy": test.accuracy(dataset.test.labels),
                "train_accuracy": history[-1]["accuracy"],
                "seconds": seconds,
            },
            "history": history,
            "environment": environment(),
        }
        with atomic_folder(runs_dir() / id) as folder:
            model.save_pretrained(folder)
            (folder / "run.json").write_text(json.dumps(record, indent=2))
