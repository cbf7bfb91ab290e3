"""Images of one's own, in a folder: found, and read as a model takes its test images."""

from collections.abc import Mapping
from pathlib import Path

import torch

from lficam.data.augmentation import kept_side
from lficam.data.decoding import SUFFIXES
from lficam.data.files import ImageFiles
from lficam.data.folders import image_files
from lficam.data.samples import Samples
from lficam.errors import InputError
from lficam.model.metadata import Metadata


def list_images(folder: Path) -> dict[str, Path]:
    """Every image below a folder, at any depth: its path inside the folder, with forward slashes -> file, sorted.

    Hidden files and folders are left out. Raises InputError if there is no such folder or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: check the path")
    files = image_files(folder)
    if not files:
        raise InputError(f"no images in {folder}: expected files that end in {', '.join(sorted(SUFFIXES))}")
    return files


def read_images(files: Mapping[str, Path], metadata: Metadata) -> Samples:
    """Image files (id -> file) as a model takes its test images; nobody knows their labels, which are -1.

    Raises InputError for an image that is missing or cannot be decoded.
    """
    unlabelled = torch.full((len(files),), -1)
    images = ImageFiles(tuple(files), tuple(files.values()), unlabelled)
    return images.decode(kept_side(metadata.image_size, metadata.augmentation))
