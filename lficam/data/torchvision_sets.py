"""CIFAR10, CIFAR100, STL10 and ImageNet, read by torchvision's classes, which check the files they read.

Each lies in a folder of its own, in the layout that torchvision expects.
"""

import hashlib
import os
import pickle
import urllib.error
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from lficam.data.folders import MEAN, STD, class_of, split_of
from lficam.data.objects import list_objects
from lficam.data.samples import Dataset, Samples
from lficam.errors import InputError, MissingDataError

# --- CIFAR10, CIFAR100, STL10: arrays in a few files ----------------------------------------------------------------


def arrays_fingerprint(name: str, folder: Path) -> str:
    """A hash of the names and sizes of the files. Raises MissingDataError if one is not there."""
    source = _source(name)
    extra = "class_names.txt" if name == "stl10" else source.meta["filename"]
    files = [folder / source.base_folder / file for file in (*(entry[0] for entry in source.train_list + source.test_list), extra)]
    if absent := [file for file in files if not file.is_file()]:
        raise MissingDataError(f"no file {absent[0]}")
    return hashlib.sha256("".join(f"{file.name} {file.stat().st_size}\n" for file in files).encode()).hexdigest()


def load_arrays(name: str, folder: Path) -> Dataset:
    """CIFAR10, CIFAR100 or STL10. Mean and standard deviation are those of its training images.

    Raises InputError if a file's checksum is not the one that torchvision knows.
    """
    train, classes = _read_arrays(name, folder, "train")
    test, _ = _read_arrays(name, folder, "test")
    mean, std = moments(train.images)
    return Dataset(name, classes, mean, std, train, test)


def download_arrays(name: str, folder: Path) -> None:
    """Download and unpack; an archive that lies in the folder already is used. Raises InputError if that fails."""
    source = _source(name)
    try:
        source(folder, download=True)
    except (urllib.error.URLError, RuntimeError) as error:  # no network; a file that is not the one it should be
        raise InputError(
            f"{source.url} could not be downloaded ({error}): try again, or put {source.filename} into {folder} yourself"
        ) from error


def download_imagenette(folder: Path) -> None:
    """Download Imagenette, its shortest sides 320 pixels, and unpack it in one piece. Raises InputError if that fails."""
    from torchvision import datasets  # late: it costs a second

    name = "imagenette2-320"
    if (folder / name).is_dir():
        return
    try:
        with TemporaryDirectory(dir=folder) as unpacked:
            datasets.Imagenette(unpacked, size="320px", download=True)
            (Path(unpacked) / name).rename(folder / name)
    except (urllib.error.URLError, RuntimeError) as error:
        raise InputError(
            f"Imagenette could not be downloaded ({error}): try again, or put imagenette2-320.tgz, unpacked, into {folder} yourself"
        ) from error


def _source(name: str) -> Any:
    from torchvision import datasets  # late: it costs a second

    return {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100, "stl10": datasets.STL10}[name]


def _read_arrays(name: str, folder: Path, split: str) -> tuple[Samples, tuple[str, ...]]:
    source = _source(name)
    try:
        part = source(folder, split=split) if name == "stl10" else source(folder, train=split == "train")
    except RuntimeError as error:
        raise InputError(
            f"{folder / source.base_folder} is damaged: the checksums are not those of {source.filename}. "
            f"Remove it, then `lficam data {name} --download`"
        ) from error
    images = torch.tensor(part.data)
    if name != "stl10":
        images = images.permute(0, 3, 1, 2).contiguous()  # (N, h, w, 3) -> (N, 3, h, w)
    labels = torch.tensor(part.labels if name == "stl10" else part.targets).long()
    ids = tuple(f"{split}/{i:05}" for i in range(len(images)))
    shapes = torch.full((len(images), 2), float(images.shape[-1]))
    return Samples(ids, images, labels, shapes), tuple(part.classes)


def moments(images: Tensor) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Per-channel mean and standard deviation of uint8 images (N, 3, s, s), as pixels in [0, 1]."""
    counts = torch.stack([torch.bincount(images[:, channel].flatten(), minlength=256) for channel in range(3)]).double()
    values = torch.arange(256).double() / 255
    mean = counts @ values / counts.sum(1)
    variance = counts @ values**2 / counts.sum(1) - mean**2
    return tuple(mean.tolist()), tuple(variance.sqrt().tolist())


# --- ImageNet: a file an image --------------------------------------------------------------------------------------

_ARCHIVES = ("ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")


def imagenet_fingerprint(folder: Path) -> str:
    """A hash of all file names; not of their sizes, which would take minutes to ask for on a network drive.

    Raises MissingDataError if a part is not there, InputError if its unpacking was interrupted.
    """
    _check_unpacked(folder)
    absent = [part for part in ("train", "val") if not (folder / part).is_dir()]
    if not (folder / "meta.bin").is_file() and not (folder / _ARCHIVES[0]).is_file():
        absent.insert(0, "meta.bin")
    if absent:
        raise MissingDataError(f"ImageNet is not in {folder} (no {', no '.join(absent)})")
    changed = tuple(entry.stat().st_mtime_ns for part in ("train", "val") for entry in os.scandir(folder / part))
    return _hash_names(folder, changed)


def _check_unpacked(folder: Path) -> None:
    """An unpacking that was interrupted leaves archives of classes in train, or images that are in no class in val."""
    for part, kind in (("train", "*.tar"), ("val", "*.JPEG")):
        if left := next((folder / part).glob(kind), None):
            raise InputError(f"{left} is not unpacked: remove {left.parent}, then `lficam data imagenet --download` again")


@lru_cache(maxsize=1)
def _hash_names(folder: Path, changed: tuple[int, ...]) -> str:
    """changed: when each class folder was, so that a second call need not read 1.3 million names again."""
    names = sorted(f"{part}/{file.parent.name}/{file.name}\n" for part in ("train", "val") for file in (folder / part).glob("*/*"))
    return hashlib.sha256("".join(names).encode()).hexdigest()


def load_imagenet(folder: Path) -> Dataset:
    """ImageNet's training and validation images, not yet decoded; each class by the first of its names.

    Raises InputError if an archive or a folder is not as torchvision expects it.
    """
    splits = {split: _imagenet(folder, part) for split, part in (("train", "train"), ("test", "val"))}
    if splits["train"].wnids != splits["test"].wnids:
        raise InputError(f"{folder}: train has {len(splits['train'].wnids)} classes, val others: expected the same folders in both")
    files = {}
    for split, source in splits.items():
        paths = [Path(path) for path, _ in source.samples]
        files |= {f"{split}/{path.parent.name}/{path.name}": path for path in paths}
    objects, labels = list_objects(folder, files), splits["train"].wnid_to_idx
    train, test = (split_of(files, split, objects, lambda id: labels[class_of(id)]) for split in splits)
    return Dataset("imagenet", tuple(names[0] for names in splits["train"].classes), MEAN, STD, train, test)


def unpack_imagenet(folder: Path) -> None:
    """Unpack the three archives, which nobody may pass on and everybody downloads after registering; skips what is unpacked.

    Raises InputError if an archive is missing or damaged, or an earlier unpacking was interrupted.
    """
    _check_unpacked(folder)
    print(f"unpacking ImageNet in {folder}: this can take an hour", flush=True)
    for part in ("train", "val"):
        _imagenet(folder, part)


def _imagenet(folder: Path, part: str) -> Any:
    from torchvision.datasets import ImageNet  # late: it costs a second

    _check_meta(folder / "meta.bin")
    try:
        return ImageNet(folder, part)
    except KeyError as error:
        raise InputError(f"{folder / part} has a folder {error}, which is no class of ImageNet: move it away") from error
    except (RuntimeError, FileNotFoundError) as error:  # an archive; a class without images
        raise InputError(f"{error} Expected {', '.join(_ARCHIVES)} in {folder}, from image-net.org") from error


def _check_meta(file: Path) -> None:
    """meta.bin is what torchvision makes of the devkit; not all at once, and it does not look whether it is whole."""
    if not file.exists():
        return
    try:
        torch.load(file, weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{file} is damaged: remove it, then `lficam data imagenet --download` makes it from {_ARCHIVES[0]}"
        ) from error
