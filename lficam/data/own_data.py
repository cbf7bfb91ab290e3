"""A data set of one's own that torch already reads: made usable by name, in a `RunConfig` and wherever a data set is named."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lficam.data.augmentation import AUGMENTATIONS, kept_side
from lficam.data.datasets import DATASETS, DatasetInfo
from lficam.data.samples import Dataset, Samples
from lficam.data.torchvision_sets import moments
from lficam.errors import InputError

_registered: set[str] = set()


def register_dataset(
    name: str,
    train: Sequence[tuple[Any, int]],
    test: Sequence[tuple[Any, int]],
    classes: Sequence[str] | None = None,
    image_size: int = 224,
    augmentation: str = "resized-crop-flip",
) -> None:
    """Make a data set usable by name: `RunConfig(dataset=name)`, `fit_or_load`, stability, the figures of `comparison`.

    train, test: anything with a length whose items are (image, label), such as a `torch.utils.data.Dataset`. An image is a PIL
        image, an array (h, w, 3) uint8, or a tensor (3, h, w), uint8 or pixels in [0, 1]; not normalised, since that is done by the
        mean and standard deviation of the training images. All are read now, squashed to a square and kept in memory.
    classes: names, in the order of the labels; `train.classes` where it has them, else "0", "1", ..., when left out.
    image_size: side of the network's input in pixels. augmentation: one of `augmentation.AUGMENTATIONS`.

    A run's id follows from the images, wherever they come from. Other processes do not know the name.
    Raises InputError for a name that is no name of a folder or taken by a built-in data set, an unknown augmentation, an empty
    part, a label without a class, fewer than two classes, or an image that is none of these.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise InputError(f"data set name {name!r}: expected letters, digits, - and _, since the folders of its runs begin with it")
    if image_size < 8:
        raise InputError(f"image_size={image_size}: expected 8 pixels or more")
    if name in DATASETS and name not in _registered:
        raise InputError(f"data set {name!r} is built in: choose another name")
    if augmentation not in AUGMENTATIONS:
        raise InputError(f"unknown augmentation {augmentation!r}: expected one of {', '.join(AUGMENTATIONS)}")
    side = kept_side(image_size, augmentation)
    splits = {split: samples_of(items, split, side) for split, items in (("train", train), ("test", test))}
    highest = max(int(samples.labels.max()) for samples in splits.values())
    names = tuple(map(str, classes or getattr(train, "classes", range(highest + 1))))
    if highest >= len(names) or len(names) < 2:
        raise InputError(
            f"data set {name!r} has labels up to {highest} and {len(names)} classes: expected two or more, one for each"
        )
    mean, std = moments(splits["train"].images)
    dataset = Dataset(name, names, mean, std, **splits)
    fingerprint = _digest(dataset)
    DATASETS[name] = DatasetInfo(
        title=name,
        about=f"{len(dataset.train):,} training and {len(dataset.test):,} test images of {len(names)} classes, registered",
        source="register_dataset, in this process",
        licence="yours",
        image_size=image_size,
        augmentation=augmentation,
        fingerprint=lambda folder: fingerprint,
        load=lambda folder: dataset,
        fixed_size=True,
    )
    _registered.add(name)


def is_registered_dataset(name: str) -> bool:
    """Whether it is a data set of `register_dataset`, which other processes do not know."""
    return name in _registered


def samples_of(items: Sequence[tuple[Any, int]], split: str, side: int) -> Samples:
    """Items (image, label) as samples of `side` pixels, named "<split>/00000", ... Raises InputError as `register_dataset` does."""
    if len(items) == 0:
        raise InputError(f"the {split} part is empty: expected items (image, label)")
    images, labels, shapes = [], [], []
    for number in range(len(items)):
        image, label = items[number]
        picture = _picture(image, f"{split} image {number}")
        images.append(np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR)))
        shapes.append((picture.height, picture.width))
        labels.append(int(label))
    if min(labels) < 0:
        raise InputError(f"the {split} part has a label {min(labels)}: expected 0 or more, an index into the classes")
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    ids = tuple(f"{split}/{number:05}" for number in range(len(items)))
    return Samples(ids, pixels, torch.tensor(labels), torch.tensor(shapes, dtype=torch.float32))


def _picture(image: Any, what: str) -> Image.Image:
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if isinstance(image, Tensor):
        image = _levels(image, what).permute(1, 2, 0).cpu().numpy() if image.ndim == 3 and image.shape[0] == 3 else image
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        got = f"{tuple(image.shape)} of {image.dtype}" if hasattr(image, "shape") else type(image).__name__
        raise InputError(f"{what} is {got}: expected a PIL image, an array (h, w, 3) uint8 or a tensor (3, h, w)")
    return Image.fromarray(np.ascontiguousarray(image))


def _levels(image: Tensor, what: str) -> Tensor:
    """Pixels as uint8."""
    if image.dtype == torch.uint8:
        return image
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 1):  # NaN is not either
        raise InputError(f"{what} has values from {low:.3g} to {high:.3g}: expected pixels in [0, 1], not normalised ones")
    return image.mul(255).round().byte()


def _digest(dataset: Dataset) -> str:
    digest = hashlib.sha256(repr(dataset.classes).encode())
    for samples in (dataset.train, dataset.test):
        for values in (samples.images, samples.labels, samples.shapes):
            digest.update(values.numpy().tobytes())
    return digest.hexdigest()
