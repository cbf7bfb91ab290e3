"""A trained model applied to many images."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lficam.data.augmentation import normalize
from lficam.data.samples import Split
from lficam.model.cam import mean_feature_map
from lficam.model.devices import on_best_device
from lficam.model.metadata import Metadata

BATCH = 64  # images in one forward pass


class Explained(NamedTuple):
    """What a model says about N samples; all tensors are float32 on the CPU.

    ids: the samples, in order.
    probabilities: (N, C), each row sums to 1.
    cam: (N, 1, u, v) in [0, 1].
    mean_features: (N, 1, u, v) in [0, 1], the pixel-wise mean of the feature maps that the attention multiplies.
    importance: (N, K), or None for ABN.
    """

    ids: tuple[str, ...]
    probabilities: Tensor
    cam: Tensor
    mean_features: Tensor
    importance: Tensor | None

    def accuracy(self, labels: Tensor) -> float:
        """Share of samples whose most probable class is `labels` (N,); higher is better."""
        return correct(self.probabilities, labels).double().mean().item()


def correct(probabilities: Tensor, labels: Tensor) -> Tensor:
    """(N,) float32, 1 where the most probable class of probabilities (N, C) is that of `labels` (N,), else 0."""
    return (probabilities.argmax(1) == labels).float()


class Trained:
    """A trained model that can be asked about images: a run of the store, or what `save_pretrained` wrote.

    id: of the run, or where the model was loaded from. metadata: what it takes and what its logits mean.
    """

    id: str
    model: nn.Module
    metadata: Metadata

    def explain(self, samples: Split) -> Explained:
        """The model's word on the test crop of each sample, on the GPU if there is one."""
        known = self.metadata
        return explain_samples(self.model, samples, known.mean, known.std, known.image_size, known.augmentation)


def explain_samples(
    model: nn.Module,
    samples: Split,
    mean: Sequence[float],
    std: Sequence[float],
    image_size: int,
    augmentation: str,
    batch_size: int = BATCH,
    classes: Tensor | None = None,
) -> Explained:
    """Explain the test crop of every sample, on the GPU if there is one; the model comes back in evaluation mode on the CPU.

    mean, std: per channel, of pixels in [0, 1]; they, the image size and the augmentation are those of the training.
    classes: (N,) int64, of a plain network the classes that its maps are for, instead of the predicted ones.
    """
    with on_best_device(model) as device:
        batches = samples.crops(image_size, augmentation, batch_size, device)
        normalized = (normalize(images, mean, std) for images in batches)
        return explain_batches(model, normalized, samples.ids, None if classes is None else classes.to(device))


@torch.inference_mode()
def explain_batches(
    model: nn.Module, batches: Iterable[Tensor], ids: Sequence[str] = (), classes: Tensor | None = None
) -> Explained:
    """Explain batches (n, 3, h, w) of normalised images by a model in evaluation mode, where it and they are.

    classes: as for `explain_samples`.
    """
    parts, done = [], 0
    for images in batches:
        e = model.explain(images) if classes is None else model.explain(images, classes[done : done + len(images)])
        done += len(images)
        importance = torch.empty(0) if e.importance is None else e.importance
        parts.append((e.logits.softmax(1), e.cam, mean_feature_map(e.features), importance))
    probabilities, cam, mean_features, importance = (torch.cat(column).float().cpu() for column in zip(*parts, strict=True))
    return Explained(tuple(ids), probabilities, cam, mean_features, importance if len(importance) else None)
