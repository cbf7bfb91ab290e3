"""Where the object is in a photograph: masks and boxes that lie beside image files, under the image's own path.

`masks/<path of the image>.png`: not 0 is the object. `boxes/<path of the image>.txt`: `x0 y0 x1 y1` in pixels, a box a line. The
path is that inside the data folder, such as test/cat/0001; not every image needs one.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from lficam.data.decoding import DAMAGED, SUFFIXES, upright_size
from lficam.errors import InputError

FOLDERS = {"masks": ".png", "boxes": ".txt"}


def object_folders(folder: Path) -> list[str]:
    """Which of `FOLDERS` are there. One that has images directly in it is a class that happens to have such a name."""
    there = [name for name in FOLDERS if (folder / name).is_dir()]
    return [name for name in there if not any(file.suffix.lower() in SUFFIXES for file in (folder / name).iterdir())]


def object_files(root: Path, suffix: str) -> list[Path]:
    """Those of one of `FOLDERS`, sorted; hidden files are none of ours."""
    found = (file for file in root.rglob(f"*{suffix}") if not any(part.startswith(".") for part in file.relative_to(root).parts))
    return sorted(found)


def list_objects(folder: Path, files: Mapping[str, Path]) -> dict[str, Path]:
    """The mask, else the boxes, of each image that has one: id -> file.

    folder: of the data. files: id -> image in it.
    Raises InputError, which names the file, for one without an image, or a folder that holds none.
    """
    ids = {}
    for id, file in files.items():
        ids.setdefault(file.relative_to(folder).with_suffix(""), []).append(id)
    found = {}
    for name in reversed(object_folders(folder)):  # a mask says more than boxes
        root, suffix = folder / name, FOLDERS[name]
        if not (own := object_files(root, suffix)):
            raise InputError(f"{root} holds no {suffix} file: expected {root}/<path of an image>{suffix}, or remove it")
        for file in own:
            path = file.relative_to(root).with_suffix("")
            if len(ids.get(path, ())) != 1:
                what = "several images" if path in ids else _no_image(folder, path, ids)
                raise InputError(f"{file} belongs to {what}: expected one image at {folder / path}")
            found[ids[path][0]] = file
    return found


def _no_image(folder: Path, path: Path, ids: Mapping[Path, object]) -> str:
    known = {image.parent for image in ids}
    return "no image" if path.parent in known else f"no image, since there is no folder of images {folder / path.parent}"


def read_object(file: Path, image: Path, side: int) -> np.ndarray:
    """Where the object is, as (side, side) bool, squashed as the image is.

    Raises InputError, which names the file, for a mask of another size than its image, a box without area or outside of it, or a
    file that cannot be read.
    """
    size = upright_size(image)
    return _boxes(file, size, side) if file.suffix == ".txt" else _mask(file, size, side)


def _mask(file: Path, size: tuple[int, int], side: int) -> np.ndarray:
    try:
        with Image.open(file) as opened:
            found, transparent = opened.size, opened.getbands()[-1] == "A"
            levels = np.asarray(opened)  # of a palette the numbers, not the colours
    except DAMAGED as error:
        raise InputError(f"{file} is no mask that can be read ({error}): expected a PNG, not 0 where the object is") from error
    if found != size:
        raise InputError(f"{file} has {_times(found)} pixels, its image {_times(size)}: expected a mask of the image's size")
    planes = levels.reshape(*levels.shape[:2], -1)
    there = planes[..., : planes.shape[2] - transparent].any(2)
    squashed = Image.fromarray(there.astype(np.uint8) * 255).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(squashed) >= 128


def _boxes(file: Path, size: tuple[int, int], side: int) -> np.ndarray:
    """A pixel is inside where its centre is."""
    width, height = size
    centres = (np.arange(side) + 0.5) / side
    there = np.zeros((side, side), bool)
    lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{file} is empty: expected a box a line, x0 y0 x1 y1 in pixels")
    for line in lines:
        try:
            x0, y0, x1, y1 = map(float, line.split())
        except ValueError as error:
            raise InputError(f"{file} has a line {line[:80]!r}: expected x0 y0 x1 y1 in pixels") from error
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):  # NaN is not either
            raise InputError(f"{file} has a box {line[:80]!r}: expected an area inside the image's {_times(size)} pixels")
        rows = (centres * height >= y0) & (centres * height < y1)
        columns = (centres * width >= x0) & (centres * width < x1)
        there |= rows[:, None] & columns
    return there


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
