"""Trained models by name: runs of the store, models of the package, and what `save_pretrained` wrote, wherever it lies."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn

from lficam.errors import InputError
from lficam.model.bundled import BUNDLED
from lficam.model.metadata import Metadata
from lficam.model.methods import load_pretrained
from lficam.model.saving import is_hub_name
from lficam.paths import runs_dir
from lficam.training.bundled_runs import load_bundled
from lficam.training.explain import Trained
from lficam.training.runs import Run, is_stored, load_run


@dataclass(frozen=True, kw_only=True)
class SavedModel(Trained):
    """A model from a folder or from the hub; how it was trained is not known."""

    id: str
    model: nn.Module
    metadata: Metadata


def load_trained(name: str) -> Trained:
    """A run of the store by its id or its folder, a model of the package by its name, a folder written by `save_pretrained`, or
    owner/name on the hub.

    Raises InputError if there is none of that name, it is damaged, or it does not say what its classes are and how its input, of
    three channels, is normalised.
    """
    if is_stored(id := _id_of(name)):
        return load_run(id)
    if name in BUNDLED:
        return load_bundled(name)
    model = load_model(name)
    if model.metadata is None:
        raise InputError(
            f"{name} does not say what its classes are and how its input is normalised: load it, set model.metadata to a "
            "lficam.Metadata, and save it again"
        )
    if (channels := len(model.metadata.mean)) != 3:
        raise InputError(
            f"{name} takes images of {channels} channels: expected a model of three, since pictures are read in colour"
        )
    return SavedModel(id=name, model=model, metadata=model.metadata)


def load_model(name: str) -> nn.Module:
    """The same, without what must be known of a model to ask it about images.

    Raises InputError if there is none of that name, or it is damaged.
    """
    if is_stored(id := _id_of(name)):
        return load_run(id).model
    if not names_saved_model(name):
        raise InputError(
            f"no run {name!r} in {runs_dir()}, and no such folder: `lficam runs` lists the runs; a saved model is a folder "
            f"written by save_pretrained, or owner/name on the hub; with the package come {', '.join(BUNDLED)}"
        )
    try:
        with torch.random.fork_rng(devices=[]):  # its weights are drawn before they are replaced
            return load_pretrained(name)
    except InputError:
        raise
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:  # no JSON is a ValueError
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(f"the model in {name} is damaged or of another version ({why}): get it again") from error


def _id_of(name: str) -> str:
    """Of a run's folder in the store, as a shell completes it, the run's id."""
    path = Path(name)
    return path.name if path.absolute().parent == runs_dir() else name


def names_saved_model(name: str) -> bool:
    """Whether a name can be meant as a model of the package, a folder or a model on the hub."""
    return name in BUNDLED or os.path.isdir(name) or is_hub_name(name)  # where a name is too long, False


def with_test_images(model: Trained) -> Run:
    """The model, if it is a run, whose data set has test images; else raises InputError."""
    if not isinstance(model, Run):
        raise InputError(f"{model.id} has no test images, since it is not a run of this store: give images with --folder")
    return model
