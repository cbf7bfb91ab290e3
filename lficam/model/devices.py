"""Where models compute."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters are; the CPU for a model without any."""
    return next(model.parameters(), torch.empty(0)).device


def best_device() -> torch.device:
    """The accelerator that training uses too, else the CPU."""
    from accelerate import PartialState  # late: it costs a second

    return PartialState().device


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """While the block runs torch computes with so many threads on the CPU; as before if None."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def on_best_device(model: nn.Module) -> Iterator[torch.device]:
    """While the block runs the model is in evaluation mode on the GPU, if there is one; then it is on the CPU."""
    device = best_device()
    model.to(device).eval()
    try:
        yield device
    finally:
        model.cpu()
