"""How much memory a training takes, estimated before it starts: counted on the model's modules, which compute nothing."""

import sys
from typing import NamedTuple

import torch
from torch import Tensor

from lficam.model.trunks import is_registered
from lficam.training.config import RunConfig
from lficam.training.loop import Objective, build_model
from lficam.training.processes import part

COUNTED = 2  # images; the activations of more are as many times as much


class Memory(NamedTuple):
    """Bytes. weights: with their gradients and the optimizer's momentum. activations: what a step keeps to go backward.

    The images, what convolutions need while they compute and what the driver takes come on top.
    """

    weights: int
    activations: int

    @property
    def total(self) -> int:
        """Of both."""
        return self.weights + self.activations


def estimate(config: RunConfig, num_classes: int, processes: int = 1) -> Memory:
    """Of a training step of a config on each device of so many.

    Under bfloat16 activations and a copy of the weights take two bytes a number; weights, gradients and momentum always four.
    """
    untrained = config.model_copy(update={"pretrained": False, "weights": None})
    objective = Objective(build_model(untrained, num_classes)).train().to("meta")  # some networks cannot be made there
    images = torch.empty(COUNTED, 3, config.image_size, config.image_size, device="meta")
    labels = torch.empty(COUNTED, dtype=torch.int64, device="meta")
    own = {parameter.untyped_storage()._cdata for parameter in objective.parameters()}
    kept = {}  # each once, and alive, so that nothing else gets its address

    def keep(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        objective(images, labels)
    numbers = sum(parameter.numel() for parameter in objective.parameters())
    activations = sum(storage.nbytes() for storage in kept.values()) * config.batch_size // (COUNTED * processes)
    if config.precision == "bfloat16":
        return Memory(numbers * (3 * 4 + 2), activations // 2)
    return Memory(numbers * 3 * 4, activations)


def warn_if_too_large(id: str, config: RunConfig, num_classes: int) -> None:
    """Say so before a training starts that is not likely to fit on its GPU; of somebody's own trunk nothing is known beforehand."""
    if not torch.cuda.is_available() or is_registered(config.trunk):
        return
    needed, there = estimate(config, num_classes, part().count).total, torch.cuda.get_device_properties().total_memory
    if needed > there:
        print(
            f"lficam: {id} takes {needed / 1e9:.0f} GB or more by an estimate, and the GPU has {there / 1e9:.0f} GB: if it fails, "
            "use precision=bfloat16, several GPUs, or, where it is not compared, a smaller batch_size",
            file=sys.stderr,
            flush=True,
        )
