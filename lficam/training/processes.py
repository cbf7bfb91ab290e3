"""One training in several processes, as `torchrun` and `accelerate launch` start them; where nobody did, this one is alone.

The global batch, its order and its crops are those of one process, and each process takes its slice. One process writes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import torch

from lficam.data.samples import Part

if TYPE_CHECKING:
    from accelerate import PartialState

# The others wait for the first while it explains the test images. A launcher ends all of them where one ends.
PATIENCE = timedelta(hours=6)


def part() -> Part:
    """Which of how many processes this is."""
    return Part(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def agreed(answer: bool) -> bool:
    """What the first process answers, in all of them."""
    if part().count == 1:
        return answer
    from accelerate.utils import broadcast_object_list  # late: it costs a second

    group()
    (first,) = broadcast_object_list([answer])
    return first


@contextmanager
def first_before_others() -> Iterator[None]:
    """The block runs in the first process, then in the others."""
    if part().count == 1:
        yield
        return
    with group().main_process_first():
        yield


def leave() -> None:
    """What a process of several does last."""
    if part().count > 1:
        group().destroy_process_group()


def group() -> "PartialState":
    """All of them, joined on first use: by NCCL on GPUs, by gloo where there is none."""
    from accelerate import PartialState  # late: it costs a second

    return PartialState(cpu=not torch.accelerator.is_available(), timeout=PATIENCE)


def synchronised(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """With batch norms over the global batch where that can be: on GPUs."""
    if part().count > 1 and device.type == "cuda":
        return torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model
