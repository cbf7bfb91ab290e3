"""A training's state after an epoch, so that an interrupted one goes on from there: `state.safetensors`, the history in its header.

What is restored is everything that the next epoch depends on; on a CPU the resumed training gives the same bits as one that was
never interrupted. It is a single file because a file is replaced in one step; a folder is removed first. The checkpoint before it
stays beside it, for the day on which it turns out to be damaged: a checksum in the header says so.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lficam.errors import InputError
from lficam.paths import atomic_file

Record = dict[str, float]  # what `loop.train` says of an epoch

LATEST, BEFORE, DAMAGED = "state.safetensors", "before.safetensors", "damaged.safetensors"


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    history: list[Record],
    kept: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the state after `len(history)` epochs; the one before it is kept, an older one replaced only when this one is whole.

    kept: what else the training has gathered and must have again.
    Raises OSError if it cannot be written.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors[f"momentum.{i}"] = state["momentum_buffer"]
    tensors["generator"] = generator.get_state()
    tensors |= {f"kept.{name}": tensor for name, tensor in (kept or {}).items()}
    # Copies, since safetensors refuses tensors that share memory, as those of a layer that is used twice do.
    tensors = {name: tensor.to("cpu", memory_format=torch.contiguous_format, copy=True) for name, tensor in tensors.items()}
    about = {"about": json.dumps({"history": history, "sha256": _checksum(tensors, history)})}
    with atomic_file(folder / LATEST) as temporary:
        try:
            save_file(tensors, temporary, about)
        except SafetensorError as error:  # of a full disk, too
            raise OSError(f"cannot write {folder / LATEST} ({error})") from error
        if (folder / LATEST).is_file():
            os.replace(folder / LATEST, folder / BEFORE)


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    kept: dict[str, Tensor] | None = None,
) -> list[Record]:
    """Restore the latest state that is whole, in place, and return the history so far; [] where there is none.

    kept: filled with what was kept. A checkpoint that has kept nothing, since an older version wrote it, is as none.

    A damaged one is set aside, and said so. Raises InputError, before anything is restored, if it is another model's.
    """
    found = _latest(folder)
    if found is None:
        return []
    tensors, history = found
    weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    if _shapes(weights) != _shapes(model.state_dict()):
        raise InputError(f"the unfinished training in {folder} is of another model: remove this folder, and it starts anew")
    if kept is not None:
        kept |= {name.removeprefix("kept."): tensor for name, tensor in tensors.items() if name.startswith("kept.")}
        if not kept:
            return []
    model.load_state_dict(weights)
    state = {}
    for i, parameter in enumerate(optimizer.param_groups[0]["params"]):
        if (momentum := tensors.get(f"momentum.{i}")) is not None:
            state[i] = {"momentum_buffer": torch.empty_like(parameter).copy_(momentum)}  # in the parameter's memory format
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    generator.set_state(tensors["generator"])
    return history


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _latest(folder: Path) -> tuple[dict[str, Tensor], list[Record]] | None:
    """Tensors and history of the latest checkpoint that is whole; None if there is none."""
    for name in (LATEST, BEFORE):
        if not (folder / name).is_file():
            continue
        try:
            return _read(folder / name)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:  # no JSON is a ValueError
            os.replace(folder / name, folder / DAMAGED)
            words = "its training goes on from the checkpoint before, or from the beginning"
            print(
                f"{folder / name} is damaged ({error or type(error).__name__}) and set aside: {words}", file=sys.stderr, flush=True
            )
    return None


def _read(file: Path) -> tuple[dict[str, Tensor], list[Record]]:
    tensors = load_file(file)
    with safe_open(file, "pt") as header:
        about = json.loads(header.metadata()["about"])
    if about["sha256"] != _checksum(tensors, about["history"]):
        raise ValueError("its bytes have changed")
    return tensors, about["history"]


def _checksum(tensors: Mapping[str, Tensor], history: list[Record]) -> str:
    """SHA-256 of the history, and of every tensor with its name."""
    digest = hashlib.sha256(json.dumps(history).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
