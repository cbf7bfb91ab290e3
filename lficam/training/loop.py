"""The training loop: SGD with momentum 0.9, the step schedule of the release or a cosine, on whatever device there is.

Source of the recipe: README and argument defaults of the LFI-CAM release. The last epoch's weights are kept; the release keeps
the epoch that is best on the test images, which makes its test accuracy optimistic.
"""

import math
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lficam.data.augmentation import normalize
from lficam.data.samples import Dataset, Part, without_fold
from lficam.errors import InputError
from lficam.model.methods import METHODS
from lficam.model.trunks import trunk
from lficam.training.checkpoint import Record, load_checkpoint, save_checkpoint
from lficam.training.config import RunConfig
from lficam.training.processes import first_before_others, group, part, synchronised

if TYPE_CHECKING:
    from accelerate import Accelerator

# A training is interrupted at the cost of at most this many seconds of it, and of the epoch under way.
CHECKPOINT_SECONDS = 120


class Objective(nn.Module):
    """Images and labels in, loss and logits out. LFI-CAM: one cross-entropy. ABN: the sum of its two heads'."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        e = self.model.explain(images)
        loss = F.cross_entropy(e.logits, labels)
        if e.aux_logits is not None:
            loss = loss + F.cross_entropy(e.aux_logits, labels)
        return loss, e.logits


def build_model(config: RunConfig, num_classes: int) -> nn.Module:
    """The untrained model of a config; the same seed gives the same weights and leaves the global generator alone."""
    with torch.random.fork_rng(devices=[]):  # a model is made on the CPU
        torch.default_generator.manual_seed(config.seed)
        base = trunk(config.trunk, config.stem_stride, config.pretrained, config.out_stride, config.weights)
        return METHODS[config.method].build(base, num_classes)


def learning_rate(config: RunConfig, epoch: int, share: float = 0.0) -> float:
    """The rate of a step in an epoch, counted from 1, of which a share in [0, 1) is done.

    "step": x0.1 after half and after three quarters of the epochs, but never before the second.
    "cosine": from `lr` to 0 along half a cosine (Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts).
    """
    if config.schedule == "cosine":
        return config.lr * (1 + math.cos(math.pi * (epoch - 1 + share) / config.epochs)) / 2
    lr = config.lr
    for drop in (max(1, config.epochs // 2), max(2, config.epochs * 3 // 4)):
        if epoch > drop:
            lr *= 0.1
    return lr


def train(
    config: RunConfig,
    dataset: Dataset,
    on_epoch: Callable[[Record], None],
    checkpoint: Path | None = None,
    snapshot: Callable[[int, nn.Module], None] | None = None,
    kept: dict[str, Tensor] | None = None,
) -> tuple[nn.Module, list[Record]]:
    """Train a model on `dataset.train`, without the part that `config.fold` holds out; `on_epoch` is called with each record.

    checkpoint: folder that keeps the state now and then; if it has one, training goes on from there.
    snapshot: called with 0 and the model before the first epoch, and with each epoch and the model after it, where it is trained;
        must leave the model as it is. kept: what it gathers, so that a training that goes on has it again.

    Returns the model on the CPU, in evaluation mode, and the history, one record an epoch: epoch, lr, loss (nats an image),
    accuracy (training images, as augmented), seconds. Two calls on one CPU give the same bits, interrupted or not.
    Raises FloatingPointError when the loss is no longer finite, InputError if the GPU lacks the precision asked for.
    """
    accelerator, own = _accelerator(config), part()
    objective, optimizer = _untrained(config, len(dataset.classes))
    objective, optimizer = accelerator.prepare(synchronised(objective, accelerator.device), optimizer)
    if config.compile:
        objective.compile()
    generator = torch.Generator().manual_seed(config.seed)
    samples = without_fold(dataset.train, config.fold).to(accelerator.device)
    alone = accelerator.unwrap_model(objective)  # without what makes several processes one
    with first_before_others():  # which sets a damaged checkpoint aside
        history = load_checkpoint(checkpoint, alone, optimizer, generator, kept) if checkpoint else []
    model = alone.model
    if snapshot and not history and own.index == 0:
        snapshot(0, model)
    saved = time.perf_counter()
    devices = [accelerator.device] if accelerator.device.type == "cuda" else []
    for epoch in range(len(history) + 1, config.epochs + 1):
        start = time.perf_counter()
        rate = partial(learning_rate, config, epoch)
        shape = (config.image_size, config.augmentation, config.batch_size)
        batches = samples.augmented(*shape, generator, accelerator.device, own)
        normalized = ((normalize(images, dataset.mean, dataset.std), labels) for images, labels in batches)
        with torch.random.fork_rng(devices):  # dropout of somebody's own trunk draws from the global generators
            torch.manual_seed(1_000_003 * config.seed + epoch)
            loss, accuracy = _train_epoch(objective, optimizer, accelerator, normalized, len(samples), rate, config, own)
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} in epoch {epoch}, with lr={config.lr:g}, batch_size={config.batch_size}")
        seconds = time.perf_counter() - start
        history.append({"epoch": epoch, "lr": rate(), "loss": loss, "accuracy": accuracy, "seconds": seconds})
        if own.index > 0:  # one process writes
            continue
        on_epoch(history[-1])
        if snapshot:  # before the checkpoint, so that one that goes on from there has it
            snapshot(epoch, model)
        if checkpoint and time.perf_counter() - saved > CHECKPOINT_SECONDS:
            try:
                save_checkpoint(checkpoint, alone, optimizer, generator, history, kept)
            except OSError as error:  # a full disk: the training itself needs none
                print(f"{error}: the training goes on without it", file=sys.stderr, flush=True)
            saved = time.perf_counter()
    return model.to("cpu", memory_format=torch.contiguous_format).eval(), history


def _untrained(config: RunConfig, num_classes: int) -> tuple[Objective, torch.optim.Optimizer]:
    model = build_model(config, num_classes)
    if config.pretrained or config.weights:
        new = [name for name, part in model.named_children() if name != "trunk" and list(part.parameters())]
        source = f"weights of {config.weights}" if config.weights else "ImageNet weights"
        print(f"trunk {config.trunk}: {source}; new, to be trained from scratch: {', '.join(new)}", flush=True)
    # channels_last: a step of ResNet-8 at 32 pixels on 2 CPU cores is 1.3x faster in float32, 1.1x in bfloat16
    objective = Objective(model).to(memory_format=torch.channels_last)
    return objective, torch.optim.SGD(objective.parameters(), config.lr, momentum=0.9, weight_decay=config.weight_decay)


def _train_epoch(
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    accelerator: "Accelerator",
    batches: Iterable[tuple[Tensor, Tensor]],
    count: int,
    rate: Callable[[float], float],
    config: RunConfig,
    own: Part,
) -> tuple[float, float]:
    """One pass over batches of network input (n, 3, h, w) and labels (n,), `count` in all: mean loss and accuracy.

    rate: share of the epoch that is done -> learning rate. own: of each batch, what is in these.
    """
    autocast = torch.autocast(accelerator.device.type, torch.bfloat16, enabled=config.precision == "bfloat16")
    seen, total_loss, correct = 0, torch.zeros((), device=accelerator.device), torch.zeros((), device=accelerator.device)
    objective.train()
    for images, labels in batches:
        with autocast:
            loss, logits = objective(images.contiguous(memory_format=torch.channels_last), labels)
        optimizer.param_groups[0]["lr"] = rate(seen / count)
        optimizer.zero_grad()
        whole = min(config.batch_size, count - seen)
        mine = own.of(whole).stop - own.of(whole).start  # 0 of a batch that is too small for all
        # Gradients are averaged over processes; the mean over the batch counts each as often as it has samples.
        accelerator.backward(loss if own.count == 1 else loss * (mine * own.count / whole))
        optimizer.step()
        seen += whole
        total_loss += loss.detach() * mine  # a tensor: asking for its value would wait for the GPU
        correct += (logits.argmax(1) == labels)[:mine].sum()
    total_loss, correct = accelerator.reduce(torch.stack([total_loss, correct]), "sum")
    return float(total_loss) / seen, int(correct) / seen


def _accelerator(config: RunConfig) -> "Accelerator":
    """The device to train on. Its mixed precision stays off: the precision is the autocast one sees in `train`."""
    from accelerate import Accelerator  # late: it costs a second

    if part().count > 1:
        group()
    accelerator = Accelerator(mixed_precision="no")
    cuda = accelerator.device.type == "cuda"
    if config.precision == "bfloat16" and cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(f"precision='bfloat16': {torch.cuda.get_device_name()} cannot compute in it, use precision=float32")
    return accelerator
