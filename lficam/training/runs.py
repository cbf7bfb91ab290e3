"""The store of trained runs: a folder each, named by the run's id, written in one piece (`fit`).

`config.json` and `model.safetensors` are the model, as `from_pretrained` reads it; `run.json` is how it came about; its maps lie
beside them (`kept_maps`).
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from lficam.data.augmentation import normalize
from lficam.data.datasets import load_dataset, sources_of
from lficam.data.samples import Dataset, shuffled
from lficam.errors import InputError
from lficam.model.devices import on_best_device
from lficam.model.initialization import initialize
from lficam.model.metadata import Metadata
from lficam.model.methods import METHODS
from lficam.model.weights import statistics_of
from lficam.paths import lock, runs_dir
from lficam.provenance import sha256
from lficam.sums import SUMS, changed, check_sums, has_sums, write_sums
from lficam.training.checkpoint import Record
from lficam.training.config import RunConfig, describe
from lficam.training.explain import BATCH, Explained, Trained, explain_batches
from lficam.training.kept_maps import ANSWERS, EPOCH_IMAGES, MAPS, KeptMaps, as_levels, as_maps, keep_maps, load_epochs, load_maps
from lficam.training.loop import build_model

UNTRAINED_SEED = 1000  # added to a run's own
LONGEST_ID = 200  # letters: a file system has a limit as well
REPAIR = "`lficam runs --repair` trains it again"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """How a trained model came about, without the model, which can be hundreds of megabytes.

    history: one record an epoch (see `checkpoint.Record`).
    metrics: test_accuracy and train_accuracy (shares in [0, 1]; training images as augmented, last epoch), seconds.
    environment: versions and hardware of the training.
    data: how many images there were to train and to test, and which of all were unreadable and left out (id -> why).
    classes: names, in the order of the logits. mean, std: per channel, of pixels in [0, 1], by which input is normalised.
    """

    id: str
    config: RunConfig
    history: list[Record]
    metrics: dict[str, float]
    environment: dict[str, object]
    data: dict[str, object]
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def metadata(self) -> Metadata:
        """What one needs to know to use the model elsewhere."""
        return metadata_of(self.config, self)

    def architecture(self) -> nn.Module:
        """The model's modules with weights that come from nowhere else."""
        return build_model(self.config.model_copy(update={"pretrained": False, "weights": None}), len(self.classes))


@dataclass(frozen=True, kw_only=True)
class Run(RunRecord, Trained):
    """A trained model and how it came about."""

    model: nn.Module

    @cached_property
    def dataset(self) -> Dataset:
        return dataset_of(self.config)

    @cached_property
    def explained(self) -> Explained:
        """The model's word on every test image, computed on first use."""
        return self.explain(self.dataset.test)

    @cached_property
    def kept(self) -> KeptMaps:
        """The maps that lie beside the model, of the first test images of the shuffle; made now if it was stored without them."""
        folder = runs_dir() / self.id
        with lock(runs_dir(), self.id, busy=f"waiting for the process that works on {self.id}", wait=True):
            if (found := load_maps(folder, self.config)) is None:
                keep_maps(folder, self.model, self.dataset, self.config, self.explained)
                write_sums(folder, (MAPS, ANSWERS))
                found = load_maps(folder, self.config)
        return found

    @cached_property
    def epoch_maps(self) -> dict[int, Tensor]:
        """Epoch -> maps (n, 1, u, v) in [0, 1] of the first 300 of the same images while the model learned (`kept_maps`).

        Raises InputError for a run that was stored without them.
        """
        return load_epochs(runs_dir() / self.id)

    def pictures(self, index: Sequence[int]) -> dict[str, Tensor]:
        """The test images at these positions as the model sees them, not yet normalised: id -> (3, h, w) in [0, 1]."""
        shown = self.dataset.test.take(index)
        (crops,) = shown.crops(self.config.image_size, self.config.augmentation, len(shown), torch.device("cpu"))
        return dict(zip(shown.ids, crops, strict=True))

    def inputs(self, index: Sequence[int]) -> Tensor:
        """The same as the model takes them, (n, 3, h, w), normalised."""
        return normalize(torch.stack(list(self.pictures(index).values())), self.mean, self.std)

    def masks(self, index: Sequence[int] | None = None) -> Tensor | None:
        """Where the object is in these test images, all when left out, as the model sees them (`samples.Split.masks`)."""
        test = self.dataset.test if index is None else self.dataset.test.take(index)
        return test.masks(self.config.image_size, self.config.augmentation)

    def sources(self, index: Sequence[int] | None = None) -> list[str]:
        """What the test images at these positions, all when left out, were made from (`datasets.sources_of`)."""
        ids = self.dataset.test.ids
        return sources_of(self.config.dataset, ids if index is None else [ids[i] for i in index])

    def untrained(self, number: int = 0) -> nn.Module:
        """The same architecture with weights that have learned nothing: He-normal, every norm at identity.

        Not what its training started from, which may be weights from elsewhere, or timm's residual branches switched off.
        number: tells the networks of one seed apart.
        """
        model = self.architecture()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.config.seed + UNTRAINED_SEED + number)
            initialize(model)
        return model.eval()

    def untrained_maps(self, number: int = 0) -> Tensor:
        """The maps of that network, in the levels and of the images of `epoch_maps`, (n, 1, u, v)."""
        shown = shuffled(len(self.dataset.test))[:EPOCH_IMAGES]
        network = self.untrained(number)
        with on_best_device(network) as device:
            cams = explain_batches(network, (part.to(device) for part in self.inputs(shown).split(BATCH))).cam
        return as_maps(as_levels(cams, torch.uint8))


def is_stored(id: str) -> bool:
    """Whether a run has been trained and stored."""
    return Path(id).name == id and len(id) <= LONGEST_ID and (runs_dir() / id / "run.json").is_file()


def damaged(ids: Iterable[str]) -> dict[str, InputError]:
    """Id -> what has happened to its files, of those stored runs that are not as they were stored; reads all of their bytes."""
    found = {id: changed(runs_dir() / id) for id in ids if is_stored(id)}
    return {id: InputError(f"{runs_dir() / id}/{why}: {REPAIR}") for id, why in found.items() if why}


def record_sums(id: str) -> None:
    """Give a stored run checksums where it has none, since an older version stored it, and say so."""
    folder = runs_dir() / id
    if not has_sums(folder):
        print(f"{id} was stored without checksums, by an older version: they are recorded now", file=sys.stderr, flush=True)
        write_sums(folder)


def sums_of(id: str) -> str:
    """Identifies the files of a stored run, its weights among them; "" for one without checksums."""
    return sha256(runs_dir() / id / SUMS) if has_sums(runs_dir() / id) else ""


def stored_ids() -> list[str]:
    """The ids of all trained runs, sorted."""
    return sorted(file.parent.name for file in runs_dir().glob("[!.]*/run.json"))


def load_run(id: str) -> Run:
    """Read a run from the store.

    Raises InputError if there is no such run, it has been damaged, or it was stored by another version of this library.
    """
    record, folder = load_record(id), runs_dir() / id
    record_sums(id)
    try:
        with torch.random.fork_rng(devices=[]):  # its weights are drawn before they are replaced
            model = METHODS[record.config.method].model.from_pretrained(folder)
    except InputError:
        raise
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:  # no JSON is a ValueError
        raise InputError(f"the model in {folder} is damaged or of another version ({type(error).__name__}): {REPAIR}") from error
    if len(record.classes) != model.fc.out_features:
        named = f"names {len(record.classes)} classes, its model has {model.fc.out_features}"
        raise InputError(f"{folder / 'run.json'} is damaged: it {named}: {REPAIR}")
    model.metadata = record.metadata
    return Run(model=model, **vars(record))


def load_record(id: str) -> RunRecord:
    """How a run came about. Raises as `load_run` does."""
    file = runs_dir() / id / "run.json"
    if not is_stored(id):
        raise InputError(f"no run {id!r} in {runs_dir()}: `lficam runs` lists those there are")
    check_sums(file.parent, file.name, advice=REPAIR)
    try:
        return record_of(id, json.loads(file.read_text()))
    except (KeyError, TypeError, ValueError) as error:  # no text, no JSON, no such config are ValueErrors
        if isinstance(error, ValidationError) and {problem["loc"] for problem in error.errors()} <= {("dataset",), ("trunk",)}:
            raise InputError(f"{file}: {describe(error)}. If it is one of your own, register it under this name first") from error
        raise InputError(
            f"{file} is damaged or of another version ({type(error).__name__}): remove {file.parent} and train it again"
        ) from error


def recorded_config(id: str) -> RunConfig:
    """What a stored run was trained with, whatever has happened to its other files. Raises InputError if its record is damaged."""
    file = runs_dir() / id / "run.json"
    try:
        config = RunConfig(**json.loads(file.read_text())["config"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} says no more what it was ({type(error).__name__}): remove {file.parent}") from error
    if config.run_id() != id:
        raise InputError(f"{file} is of another run, {config.run_id()}: remove {file.parent}")
    return config


def record_of(id: str, stored: Mapping[str, Any]) -> RunRecord:
    """A record as JSON has it. Raises KeyError, TypeError or ValueError if it is none."""
    read = dict(stored)
    read["config"] = RunConfig(**stored["config"])
    read["classes"] = tuple(map(str, stored["classes"]))  # JSON has lists only
    read |= {key: tuple(map(float, stored[key])) for key in ("mean", "std")}
    read["metrics"] = {key: float(stored["metrics"][key]) for key in ("test_accuracy", "train_accuracy", "seconds")}
    return RunRecord(id=id, **read)


def dataset_of(config: RunConfig) -> Dataset:
    """The data that a config trains on, normalised as its trunk asks for. Raises InputError as `load_dataset` does."""
    shape = config.model_dump(include={"image_size", "augmentation", "normalization", "max_classes", "max_per_class"})
    if config.normalization != "weights":
        return load_dataset(config.dataset, config.data, **shape)
    mean, std = statistics_of(config.trunk)
    return replace(load_dataset(config.dataset, config.data, **(shape | {"normalization": "own"})), mean=mean, std=std)


def metadata_of(config: RunConfig, data: Dataset | RunRecord) -> Metadata:
    """What a model of this config that knows these classes needs to be used elsewhere."""
    trained_on = {"image_size": config.image_size, "augmentation": config.augmentation}
    return Metadata(classes=data.classes, mean=data.mean, std=data.std, **trained_on)
