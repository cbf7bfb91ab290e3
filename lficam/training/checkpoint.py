"""A training's state after an epoch, so that an interrupted one goes on from there: `state.safetensors`, the history in its header.

What is restored is everything that the next epoch depends on; on a CPU the resumed training gives the same bits as one that was
never interrupted. It is a single file because a file is replaced in one step; a folder is removed first.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lficam.errors import InputError
from lficam.paths import atomic_file

Record = dict[str, float]  # what `loop.train` says of an epoch


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    history: list[Record],
    kept: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the state after `len(history)` epochs; an older one is replaced only when this one is whole.

    kept: what else the training has gathered and must have again.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors[f"momentum.{i}"] = state["momentum_buffer"]
    tensors["generator"] = generator.get_state()
    tensors |= {f"kept.{name}": tensor for name, tensor in (kept or {}).items()}
    # Copies, since safetensors refuses tensors that share memory, as those of a layer that is used twice do.
    tensors = {name: tensor.to("cpu", memory_format=torch.contiguous_format, copy=True) for name, tensor in tensors.items()}
    with atomic_file(folder / "state.safetensors") as temporary:
        save_file(tensors, temporary, {"history": json.dumps(history)})


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    kept: dict[str, Tensor] | None = None,
) -> list[Record]:
    """Restore the state in place and return the history so far; does nothing and returns [] if there is none.

    kept: filled with what was kept. A checkpoint that has kept nothing, since an older version wrote it, is as none.

    Raises InputError, before anything is restored, if the file is damaged or another model's.
    """
    file = folder / "state.safetensors"
    if not file.is_file():
        return []
    try:
        tensors = load_file(file)
        with safe_open(file, "pt") as header:
            history = json.loads(header.metadata()["history"])
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(_refused(folder, f"is damaged ({type(error).__name__})")) from error
    weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    if _shapes(weights) != _shapes(model.state_dict()):
        raise InputError(_refused(folder, "is of another model"))
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


def _refused(folder: Path, why: str) -> str:
    return f"the unfinished training in {folder} {why}: remove this folder, and it starts anew"
