"""Data sets kept as folders of image files, with a split of their own or without.

With one: `train/<class>/*` and `test/<class>/*` (or `val/<class>/*`). Without: `<class>/*`; then every fifth image is a test image,
by a hash of its name, so that the split is the same on every machine and does not change when images are added. Masks and boxes may
lie beside them (`objects`).
"""

import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import torch

from lficam.data.decoding import SUFFIXES
from lficam.data.files import ImageFiles
from lficam.data.objects import list_objects, object_folders
from lficam.data.samples import Dataset
from lficam.errors import InputError, MissingDataError

# ImageNet's, the usual choice for photographs (torchvision's reference training).
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Share of the images that test, where the data set does not say which do.
TEST_SHARE = 0.2

# The ten classes of ImageNet that are easy to tell apart (github.com/fastai/imagenette).
IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}

_KAGGLE = re.compile(r"(cat|dog)\.(\d+\.jpg)")

Listing = Mapping[str, Path]  # id -> file, "train/cat/0001.jpg" or "test/...", sorted by id


def image_files(root: Path, pattern: str = "**/*") -> dict[str, Path]:
    """The images that match, at any depth when left out: path inside `root`, with forward slashes -> file, sorted by it.

    Hidden files and folders are none of ours.
    """
    named = ((file.relative_to(root), file) for file in root.glob(pattern) if file.suffix.lower() in SUFFIXES)
    found = {_readable(name): file for name, file in named if not any(part.startswith(".") for part in name.parts)}
    for file in found.values():
        if not file.is_file():
            _say_left_out(file)
    return dict(sorted((name, file) for name, file in found.items() if file.is_file()))


def _readable(name: Path) -> str:
    """As text, also where its bytes are none."""
    return name.as_posix().encode(errors="surrogateescape").decode(errors="backslashreplace")


@cache
def _say_left_out(file: Path) -> None:
    """Once."""
    print(f"{_readable(file)} is called an image and is no file, or leads nowhere: left out", file=sys.stderr, flush=True)


def list_folder(folder: Path) -> Listing:
    """Every image of an image folder by its id.

    Raises MissingDataError if the folder, a split or every image is missing.
    """
    if not folder.is_dir():
        raise MissingDataError(f"no data folder {folder}")
    if any((folder / name).is_dir() for name in ("train", "test", "val")):
        return _images(folder, "train", ["train"]) | _images(folder, "test", ["test", "val"])
    beside = tuple(f"{name}/" for name in object_folders(folder))
    return split_by_name({name: file for name, file in _found(folder).items() if not name.startswith(beside)})


def list_catdog(folder: Path) -> Listing:
    """As `list_folder`, and the two layouts in which these photographs are in circulation.

    Kaggle's: `train/cat.0.jpg`; Microsoft's: `PetImages/Cat/0.jpg`. In both an image's name is "cat/0.jpg".
    """
    flat = {"/".join(match.groups()): file for file in folder.glob("train/*.jpg") if (match := _KAGGLE.fullmatch(file.name))}
    if flat:
        return split_by_name(flat)
    if (folder / "PetImages").is_dir():
        return split_by_name({name.lower(): file for name, file in _found(folder / "PetImages").items()})
    return list_folder(folder)


def imagenette_folder(folder: Path) -> Path:
    """The folder itself, or the one that torchvision's download made in it."""
    names = ("imagenette2", "imagenette2-320", "imagenette2-160")
    return next((folder / name for name in names if (folder / name).is_dir()), folder)


def list_imagenette(folder: Path) -> Listing:
    """As `list_folder`, of class folders that are named by wnid."""
    files = list_folder(imagenette_folder(folder))
    if unknown := {class_of(id) for id in files} - IMAGENETTE.keys():
        raise InputError(f"{folder} has a class folder {min(unknown)!r}: expected Imagenette's, {', '.join(IMAGENETTE)}")
    return files


def split_by_name(files: Mapping[str, Path]) -> Listing:
    """class/name -> file becomes id -> file: a fifth of the names are test images, the others training images.

    Raises InputError if that leaves a class without one or the other.
    """
    drawn = {(_in_test(name), name.split("/")[0]) for name in files}
    for kind in sorted({kind for _, kind in drawn}):
        if (False, kind) not in drawn or (True, kind) not in drawn:
            raise InputError(
                f"a fifth of the images test, chosen by name, and of class {kind!r} all or none were chosen: give it more images, "
                "or make the split yourself, train/<class>/* and test/<class>/*"
            )
    splits = {f"{'test' if _in_test(name) else 'train'}/{name}": file for name, file in files.items()}
    return dict(sorted(splits.items()))


def fingerprint(listing: Callable[[Path], Listing], folder: Path) -> str:
    """Identifies the data without decoding it: a hash of every image's id and its size in bytes.

    Raises as `listing` does, and InputError if the splits have other classes or there is only one.
    """
    files = listing(folder)
    _classes(files, folder)
    lines = [f"{id} {file.stat().st_size}\n" for id, file in files.items()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def load_listing(name: str, listing: Callable[[Path], Listing], folder: Path) -> Dataset:
    """The data set of an image folder, its images not yet decoded. Raises as `fingerprint` does."""
    files = listing(folder)
    classes = _classes(files, folder)
    objects = list_objects(folder, files)

    train, test = (split_of(files, split, objects, lambda id: classes.index(class_of(id))) for split in ("train", "test"))
    return Dataset(name, tuple(classes), MEAN, STD, train, test)


def split_of(files: Listing, split: str, objects: Mapping[str, Path], label_of: Callable[[str], int]) -> ImageFiles:
    """The images of a listing that are "train" or "test", with their masks or boxes. label_of: id -> label."""
    ids = tuple(id for id in files if id.startswith(f"{split}/"))
    own = tuple(objects.get(id) for id in ids)
    labels = torch.tensor([label_of(id) for id in ids])
    return ImageFiles(ids, tuple(files[id] for id in ids), labels, objects=own if any(own) else ())


def _classes(files: Listing, folder: Path) -> list[str]:
    train, test = (sorted({class_of(id) for id in files if id.startswith(split)}) for split in ("train/", "test/"))
    if train != test:
        raise InputError(f"{folder}: train has the classes {train}, test has {test}: expected the same folders in both")
    if len(train) < 2:
        raise InputError(f"{folder} has one class, {train[0]!r}: expected at least two folders of images in train and in test")
    return train


def _images(folder: Path, split: str, names: list[str]) -> dict[str, Path]:
    root = next((folder / name for name in names if (folder / name).is_dir()), None)
    if root is None:
        raise MissingDataError(f"{folder} has no folder {' or '.join(names)}: expected {names[0]}/<class>/*.jpg in it")
    return {f"{split}/{name}": file for name, file in _found(root).items()}


def _found(root: Path) -> dict[str, Path]:
    """Every image below a class folder, class/name -> file."""
    files = image_files(root, "*/**/*")
    if not files:
        raise MissingDataError(f"no images in {root}: expected {root}/<class>/*.jpg ({', '.join(sorted(SUFFIXES))})")
    return files


def _in_test(name: str) -> bool:
    first_bytes = hashlib.sha256(name.encode()).digest()[:4]
    return int.from_bytes(first_bytes) < TEST_SHARE * 2**32


def class_of(id: str) -> str:
    """The class folder of an image."""
    return id.split("/")[1]
