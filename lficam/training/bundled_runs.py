"""The trained models that come with the package, as runs: how each came about lies beside it."""

import json
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import nn

from lficam.data.free_photographs import free_photographs
from lficam.data.samples import Dataset
from lficam.errors import InputError
from lficam.model.bundled import BUNDLED, bundled
from lficam.model.metadata import Metadata
from lficam.model.methods import load_pretrained
from lficam.sums import check_sums
from lficam.training.kept_maps import with_averaged_norms
from lficam.training.runs import Run, RunRecord, record_of


@dataclass(frozen=True, kw_only=True)
class BundledRun(Run):
    """A model of the package. Its test images are a few free photographs, since its own may not be passed on.

    config: that of its training, but for `image_size`, which is that of the images it is asked about.
    known: what it says of itself.
    """

    known: Metadata

    @property
    def metadata(self) -> Metadata:
        return self.known

    @cached_property
    def dataset(self) -> Dataset:
        return free_photographs(self.classes, self.mean, self.std)

    def untrained(self, number: int = 0) -> nn.Module:
        """As of every run; its batch norms have the statistics of these photographs, without which a deep network says nothing."""
        network = super().untrained(number)
        return with_averaged_norms(network, [self.inputs(range(len(self.dataset.test)))])


def bundled_run(record: RunRecord, model: nn.Module) -> BundledRun:
    """A trained model, with metadata, as the package brings it."""
    asked = record.config.model_copy(update={"image_size": model.metadata.image_size})
    about = {field.name: getattr(record, field.name) for field in fields(RunRecord)}
    return BundledRun(model=model, known=model.metadata, **(about | {"config": asked}))


def load_bundled(name: str) -> BundledRun:
    """One of `model.bundled.BUNDLED`. Raises InputError as `bundled_record` does."""
    record = bundled_record(name)
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False):  # its weights are drawn before they are replaced
        return bundled_run(record, load_pretrained(name))


def bundled_record(name: str) -> RunRecord:
    """How one of them came about. Raises InputError for any other name, and where it has not been made."""
    if name not in BUNDLED:
        raise InputError(f"no model {name!r} comes with the package: expected one of {', '.join(BUNDLED)}")
    if (folder := bundled(name)) is None:
        raise InputError(f"{name} has not been made in this checkout: `make model` makes it; or name a run with --run")
    check_sums(folder, "run.json", advice="install the package again")
    return record_of(name, json.loads((folder / "run.json").read_text()))
