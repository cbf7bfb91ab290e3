"""The training loop: SGD with momentum 0.9, the step schedule of the release, on whatever device there is.

Source of the recipe: README and argument defaults of the LFI-CAM release. The last epoch's weights are kept; the release keeps
the epoch that is best on the test images, which makes its test accuracy optimistic.
"""

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lficam.abn import ABN
from lficam.augmentation import augment
from lficam.config import RunConfig
from lficam.errors import InputError
from lficam.inference import normalize
from lficam.lfi_cam import LFICAM
from lficam.samples import Dataset
from lficam.trunks import trunk

Record = dict[str, float]  # epoch, lr, loss (nats an image), accuracy (training images, as augmented), seconds


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
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        base = trunk(config.trunk, stem_stride=config.stem_stride, pretrained=config.pretrained)
        if config.method == "abn":
            return ABN(base, num_classes=num_classes)
        return LFICAM(base, num_classes=num_classes, fin=config.method == "lfi-cam")


def train(config: RunConfig, dataset: Dataset, on_epoch: Callable[[Record], None]) -> tuple[nn.Module, list[Record]]:
    """Train a model on `dataset.train`; `on_epoch` is called with each epoch's record.

    Returns the model on the CPU, in evaluation mode, and the records. Two calls on one CPU give the same bits.
    Raises FloatingPointError when the loss is no longer finite.
    """
    from accelerate import Accelerator  # late: it costs a second

    accelerator = Accelerator(mixed_precision="no")  # the precision is the visible autocast below
    if accelerator.num_processes > 1:
        raise InputError(f"one run trains in one process, got {accelerator.num_processes}: start lficam without a launcher")
    # channels_last: a step of ResNet-8 at 32 pixels on 2 CPU cores is 1.3x faster in float32, 1.1x in bfloat16
    objective = Objective(build_model(config, len(dataset.classes))).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(objective.parameters(), lr=config.lr, momentum=0.9, weight_decay=config.weight_decay)
    drops = [max(1, config.epochs // 2), max(2, config.epochs * 3 // 4)]  # epochs after which lr falls; never before the first
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops, gamma=0.1)
    objective, optimizer = accelerator.prepare(objective, optimizer)
    autocast = torch.autocast(accelerator.device.type, torch.bfloat16, enabled=config.precision == "bfloat16")
    generator = torch.Generator().manual_seed(config.seed)
    history: list[Record] = []
    objective.train()
    for epoch in range(1, config.epochs + 1):
        start, seen, total_loss, correct = time.perf_counter(), 0, 0.0, 0
        for images, labels in batches(dataset, config, generator, accelerator.device):
            with autocast:
                loss, logits = objective(images, labels)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            seen += len(labels)
            total_loss += loss.detach() * len(labels)
            correct += (logits.argmax(1) == labels).sum()
        lr = schedule.get_last_lr()[0]
        schedule.step()
        record = {"epoch": epoch, "lr": lr, "loss": float(total_loss) / seen, "accuracy": int(correct) / seen}
        if not torch.isfinite(torch.as_tensor(total_loss)):
            raise FloatingPointError(f"the loss is {record['loss']} in epoch {epoch}: lower lr={config.lr}")
        history.append(record | {"seconds": time.perf_counter() - start})
        on_epoch(history[-1])
    model = accelerator.unwrap_model(objective).model.to("cpu", memory_format=torch.contiguous_format)
    return model.eval(), history


def batches(
    dataset: Dataset, config: RunConfig, generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of (network input (n, 3, h, w), labels (n,)), every sample once in random order."""
    samples = dataset.train
    for index in torch.randperm(len(samples), generator=generator).split(config.batch_size):
        images, shapes = samples.images[index].to(device), samples.shapes[index]
        images = augment(images, shapes, config.image_size, config.augmentation, generator)
        yield (
            normalize(images, dataset.mean, dataset.std).contiguous(memory_format=torch.channels_last),
            samples.labels[index].to(device),
        )
