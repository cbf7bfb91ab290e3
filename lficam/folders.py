"""Data sets kept as folders of image files: `train/<class>/*` and `test/<class>/*` (or `val/<class>/*`)."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from lficam.augmentation import TEST_CROP
from lficam.errors import InputError, MissingDataError
from lficam.samples import Dataset, Samples

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

# ImageNet's, the usual choice for photographs (torchvision's reference training).
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def fingerprint(folder: Path) -> str:
    """Identifies the data without decoding it: a hash of every image's path inside the folder and its size in bytes.

    Raises InputError if the folder, a split or a second class is missing.
    """
    _, train, test = _listing(folder)
    lines = [f"{name} {file.stat().st_size}\n" for name, file in (train | test).items()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def load_folder(name: str, folder: Path, image_size: int) -> Dataset:
    """Decode every image, squashed to a square from which a test crop of `image_size` pixels loses nothing.

    Raises InputError if the folder, a split, a second class or a readable image is missing.
    """
    side = round(image_size / TEST_CROP)
    classes, train, test = _listing(folder)
    return Dataset(name, tuple(classes), MEAN, STD, _decode(train, classes, side), _decode(test, classes, side))


def read_image(file: Path, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode one image: uint8 RGB (side, side, 3), upright, and its (height, width) before it was squashed, up to a factor."""
    try:
        with Image.open(file) as image:
            image.draft("RGB", (2 * side, 2 * side))  # lets a large JPEG be decoded at a fraction of its size
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):  # convert would clip at 255
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            upright = upright.convert("RGB")
            return np.asarray(upright.resize((side, side), Image.Resampling.BILINEAR)), (upright.height, upright.width)
    except FileNotFoundError:
        raise InputError(f"no image at {file}: check the path") from None
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read the image {file} ({error}): replace or remove it") from error


def _decode(files: dict[str, Path], classes: list[str], side: int) -> Samples:
    images = torch.empty(len(files), 3, side, side, dtype=torch.uint8)
    shapes = torch.empty(len(files), 2)

    def decode(i: int, file: Path) -> None:
        pixels, shape = read_image(file, side)
        images[i] = torch.tensor(pixels).permute(2, 0, 1)
        shapes[i] = torch.tensor(shape)

    with ThreadPoolExecutor() as pool:
        list(pool.map(decode, range(len(files)), files.values()))  # a list, so that an error is raised
    labels = torch.tensor([classes.index(_class_of(name)) for name in files])
    return Samples(tuple(files), images, labels, shapes)


def _listing(folder: Path) -> tuple[list[str], dict[str, Path], dict[str, Path]]:
    """The classes, and the images of both splits by id."""
    train, test = (_files(folder, split) for split in ("train", "test"))
    classes, test_classes = (sorted({_class_of(name) for name in files}) for files in (train, test))
    if classes != test_classes:
        raise InputError(f"{folder}: train has the classes {classes}, test has {test_classes}: expected the same folders in both")
    if len(classes) < 2:
        raise InputError(f"{folder} has one class, {classes[0]!r}: expected at least two folders of images in train and in test")
    return classes, train, test


def _files(folder: Path, split: str) -> dict[str, Path]:
    """Every image of a split by its id, "train/cat/0001.jpg", in the order of the ids. `val` serves as `test`."""
    if not folder.is_dir():
        raise MissingDataError(f"no data folder {folder}: expected {folder}/train/<class>/*.jpg and {folder}/test/<class>/*.jpg")
    names = ["train"] if split == "train" else ["test", "val"]
    root = next((folder / name for name in names if (folder / name).is_dir()), None)
    if root is None:
        raise MissingDataError(f"{folder} has no folder {' or '.join(names)}: expected {names[0]}/<class>/*.jpg in it")
    found = ((file.relative_to(root), file) for file in root.glob("*/**/*") if file.suffix.lower() in SUFFIXES)
    files = {f"{split}/{name.as_posix()}": file for name, file in found if not any(part.startswith(".") for part in name.parts)}
    if not files:
        raise MissingDataError(f"no images in {root}: expected {root}/<class>/*.jpg ({', '.join(sorted(SUFFIXES))})")
    return dict(sorted(files.items()))


def _class_of(name: str) -> str:
    return name.split("/")[1]
