"""What every data set looks like to the rest of the library: two splits of the same classes.

A split is `Samples`, decoded and kept in memory, or `files.ImageFiles`, decoded anew each time because it is too large; `Split` is
what both can do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from lficam.data.augmentation import augment, evaluation_crop, evaluation_masks
from lficam.data.photograph import Photograph, photograph


class Part(NamedTuple):
    """Of every batch the slice that one of `count` processes takes; all of it where there is one."""

    index: int = 0
    count: int = 1

    def of(self, batch: int) -> slice:
        """Its slice of a batch of so many samples: parts in order, the first ones larger by one; none where there are too few."""
        size, larger = divmod(batch, self.count)
        start = self.index * size + min(self.index, larger)
        return slice(start, start + size + (self.index < larger))

    def at_least_one(self, batch: int) -> slice:
        """The same, or the first sample where it has none, since every process has to take part in a step."""
        own = self.of(batch)
        return own if own.stop > own.start else slice(0, 1)


ALONE = Part()


class Split(Protocol):
    """N images with their labels.

    ids: one name a sample, unique and the same on every machine; maps are paired by it.
    labels: (N,) int64, an index into the data set's classes.
    """

    ids: tuple[str, ...]
    labels: Tensor

    def __len__(self) -> int: ...

    @property
    def objects_known(self) -> int:
        """Of how many samples it is known where the object is."""

    def masks(self, size: int, augmentation: str) -> Tensor | None:
        """Where the object is in what `crops` gives: (N, 1, size, size) bool; None if it is known of no sample.

        False everywhere where nobody knows, or where the crop leaves the object out.
        """

    def take(self, index: Sequence[int]) -> Self:
        """The samples at these positions, in this order."""

    def to(self, device: torch.device) -> Self:
        """Bring the images to where they will be cropped again and again, if that can be done."""

    def photograph(self, i: int, augmentation: str) -> Photograph:
        """Sample i uncropped, with what is tested of it; augmentation: that of the training."""

    def crops(self, size: int, augmentation: str, batch_size: int, device: torch.device) -> Iterator[Tensor]:
        """What is tested of every sample, in order: batches (n, 3, size, size) in [0, 1] on `device`.

        augmentation: that of the training, which decides whether it is the centre or the whole image.
        """

    def augmented(
        self, size: int, augmentation: str, batch_size: int, generator: torch.Generator, device: torch.device, part: Part = ALONE
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch: every sample once in random order, as batches (n, 3, size, size) in [0, 1] and labels (n,) on `device`.

        augmentation: one of `augmentation.AUGMENTATIONS`. generator: decides order and crops; on the CPU.
        part: of each batch, `Part.at_least_one`; what is drawn is the same for all.
        """


@dataclass(frozen=True)
class Samples:
    """A `Split`, decoded and kept in memory.

    images: (N, 3, s, s) uint8. A photograph is squashed to the square; `shapes` says what it was.
    shapes: (N, 2) float32, height and width of the original in pixels.
    objects: (N, 1, s, s) bool, where the object is, squashed likewise; False everywhere where nobody knows. None: of no sample.
    """

    ids: tuple[str, ...]
    images: Tensor
    labels: Tensor
    shapes: Tensor
    objects: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def objects_known(self) -> int:
        return 0 if self.objects is None else int(self.objects.flatten(1).any(1).sum())

    def masks(self, size: int, augmentation: str) -> Tensor | None:
        return None if not self.objects_known else evaluation_masks(self.objects, self.shapes, size, augmentation)

    def take(self, index: Sequence[int]) -> "Samples":
        index = list(index)
        objects = None if self.objects is None else self.objects[index]
        ids = tuple(self.ids[i] for i in index)
        return Samples(ids, self.images[index], self.labels[index], self.shapes[index], objects)

    def to(self, device: torch.device) -> "Samples":
        """On a GPU the images stay there, unless they would fill half of what is free."""
        if device.type == "cuda":
            unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(
                device
            )  # PyTorch's own, free to be used again
            if self.images.nbytes > (torch.cuda.mem_get_info(device)[0] + unused) / 2:
                return self
        return replace(self, images=self.images.to(device))

    def photograph(self, i: int, augmentation: str) -> Photograph:
        return photograph(self.images[i], tuple(self.shapes[i].tolist()), augmentation)

    def crops(self, size: int, augmentation: str, batch_size: int, device: torch.device) -> Iterator[Tensor]:
        for images, shapes in zip(self.images.split(batch_size), self.shapes.split(batch_size), strict=True):
            yield evaluation_crop(images.to(device), shapes.to(device), size, augmentation)

    def augmented(
        self, size: int, augmentation: str, batch_size: int, generator: torch.Generator, device: torch.device, part: Part = ALONE
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(len(self), generator=generator).split(batch_size):
            own = part.at_least_one(len(index))
            there = index[own].to(self.images.device, non_blocking=True)
            images = augment(self.images[there].to(device), self.shapes[index], size, augmentation, generator, own)
            yield images, self.labels[index[own]].to(device, non_blocking=True)


@dataclass(frozen=True)
class Dataset:
    """train and test samples of the same classes; mean and std are per channel, of pixels in [0, 1].

    unreadable: (id, why) of the images that were left out because they cannot be decoded.
    """

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    train: Split
    test: Split
    unreadable: tuple[tuple[str, str], ...] = ()

    def subset(self, max_classes: int = 0, max_per_class: int = 0) -> "Dataset":
        """At most so many classes, and so many training images of each; 0 keeps all. The test images of a class all stay.

        The choice is the same on every machine and does not depend on a run's seed, so that all models see the same images.
        """
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(self.classes), generator=generator).tolist()
        kept = sorted(order[: max_classes or None])
        return replace(
            self,
            classes=tuple(self.classes[label] for label in kept),
            train=_choose(self.train, kept, max_per_class, generator),
            test=_choose(self.test, kept, 0, generator),
        )


def shuffled(count: int) -> list[int]:
    """0 to `count` - 1 in the one random order in which images are shown and judged: the same everywhere, nothing is picked."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()


def held_out(count: int, fold: str) -> list[int]:
    """The positions among `count` training images that a fold "k/n" holds out: the k-th of n equal parts of `shuffled`."""
    k, n = map(int, fold.split("/"))
    return sorted(shuffled(count)[k - 1 :: n])


def without_fold(split: Split, fold: str | None) -> Split:
    """The training images that are trained on."""
    if fold is None:
        return split
    out = set(held_out(len(split), fold))
    return split.take([i for i in range(len(split)) if i not in out])


def _choose(split: Split, kept: Sequence[int], count: int, generator: torch.Generator) -> Split:
    """The first `count` of a random order of each kept class, labelled anew by its position in `kept`."""
    chosen = []
    for label in kept:
        positions = (split.labels == label).nonzero()[:, 0]
        order = torch.randperm(len(positions), generator=generator)[: count or None]
        chosen += positions[order].tolist()
    split = split.take(sorted(chosen))
    return replace(split, labels=torch.searchsorted(torch.tensor(kept), split.labels))
