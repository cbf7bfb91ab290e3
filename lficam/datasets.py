"""The data sets by name: the embedded digits and folders of images."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from lficam import digits, folders
from lficam.errors import InputError
from lficam.paths import data_dir
from lficam.samples import Dataset


class DatasetInfo(NamedTuple):
    """What is known about a data set before it is read.

    title: how pictures and tables name it.
    image_size: side of the network's input in pixels, unless a config says otherwise.
    augmentation: one of `augmentation.AUGMENTATIONS`, unless a config says otherwise.
    fingerprint: folder -> what identifies the data in a run's id.
    load: (folder, image_size) -> Dataset.
    fixed_size: whether the images exist at `image_size` only.
    """

    title: str
    image_size: int
    augmentation: str
    fingerprint: Callable[[Path], str]
    load: Callable[[Path, int], Dataset]
    fixed_size: bool = False


def _embedded(name: str, stands_in_for: str) -> DatasetInfo:
    return DatasetInfo(
        title=f"cluttered digits (stand-in for {stands_in_for})",
        image_size=digits.RECIPES[name].size,
        augmentation="none",  # the digits lie at random places already, and a mirrored one is none
        fingerprint=lambda folder: digits.fingerprint(name),
        load=lambda folder, image_size: digits.make_digits(name),
        fixed_size=True,
    )


def _folder(name: str, title: str) -> DatasetInfo:
    return DatasetInfo(
        title=title,
        image_size=224,
        augmentation="resized-crop-flip",
        fingerprint=folders.fingerprint,
        load=lambda folder, image_size: folders.load_folder(name, folder, image_size),
    )


DATASETS = {
    "digits-cifar100": _embedded("digits-cifar100", "CIFAR100"),
    "digits-stl10": _embedded("digits-stl10", "STL10"),
    "digits-imagenet": _embedded("digits-imagenet", "ImageNet"),
    "digits-catdog": _embedded("digits-catdog", "Cat&Dog"),
    "catdog": _folder("catdog", "Cat&Dog"),
    "folder": _folder("folder", "image folder"),
}


def dataset_info(name: str) -> DatasetInfo:
    """Raises InputError for a name that is not in `DATASETS`."""
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}: expected one of {', '.join(DATASETS)}")
    return DATASETS[name]


def data_fingerprint(name: str, folder: str | None) -> str:
    """What identifies the data in a run's id; reads file names and sizes only. Raises InputError if data is missing."""
    return dataset_info(name).fingerprint(_root(name, folder))


def load_dataset(name: str, folder: str | None = None, image_size: int | None = None) -> Dataset:
    """Read a data set into memory; the last few are kept, so that ten runs read it once.

    folder: where its files are; `<data folder>/<name>` when left out. The embedded digits need none.
    image_size: side of the network's input in pixels; the data set's own when left out.
    Raises InputError if the data is missing or cannot be read.
    """
    info = dataset_info(name)
    if info.fixed_size and image_size not in (None, info.image_size):
        raise InputError(f"{name} is made at {info.image_size} pixels, got image_size={image_size}: leave image_size out")
    root = _root(name, folder)
    return _load(name, root, image_size or info.image_size, info.fingerprint(root))


@lru_cache(maxsize=2)
def _load(name: str, root: Path, image_size: int, fingerprint: str) -> Dataset:
    return dataset_info(name).load(root, image_size)


def _root(name: str, folder: str | None) -> Path:
    return Path(folder).absolute() if folder else data_dir() / name
