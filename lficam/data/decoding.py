"""From a file to pixels, the same wherever it comes from: upright, in RGB, over white where it is transparent.

What cannot be decoded is said in one line.
"""

import errno
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from lficam.errors import InputError

# Of the image files that are looked for in folders.
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

# Of pictures that somebody sends.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MOST_BYTES = 20 * 10**6
MOST_PIXELS = 64 * 10**6


def read_image(file: Path, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode one image: uint8 RGB (side, side, 3), upright, and its (height, width) before it was squashed, up to a factor.

    Raises InputError if it is missing or cannot be decoded.
    """
    upright = open_image(file, least=2 * side)
    return np.asarray(upright.resize((side, side), Image.Resampling.BILINEAR)), (upright.height, upright.width)


# What a damaged file makes Pillow stumble over, in its decoders and in EXIF blocks; its own errors are OSErrors without a number.
DAMAGED = (
    *(OSError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, EOFError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)


class UnreadableImageError(InputError):
    """An image cannot be decoded. why: the reason alone, without the file's path."""

    def __init__(self, message: str, why: str):
        super().__init__(message, why)
        self.why = why

    def __str__(self) -> str:
        return self.args[0]


def open_image(file: Path | BytesIO, least: int | None = None) -> Image.Image:
    """An image in RGB, upright. least: pixels a side that suffice, which lets a large JPEG be decoded at a fraction of its size."""
    try:
        with Image.open(file) as image:
            if least:
                image.draft("RGB", (least, least))
            return _in_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise InputError(f"no image at {file}: check the path") from None
    except DAMAGED as error:
        # The disk, the network, too many open files: not the image. EINVAL is: it sends us to a place that no file can have.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        why = str(error).replace(repr(str(file)), "it") or type(error).__name__
        raise UnreadableImageError(f"cannot read the image {file} ({why}): replace or remove it", why) from error


def _in_rgb(image: Image.Image) -> Image.Image:
    """As a viewer shows it, where Pillow would clip or leave out."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("F", "I"):
        image = Image.fromarray(_in_grey_levels(np.array(image)))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _in_grey_levels(values: np.ndarray) -> np.ndarray:
    """32-bit pixels (h, w) in 8 bits. Black is 0; white is 1 or 255 where that is about their highest value, else that value.

    Raises ValueError for pixels that are not finite.
    """
    if not np.isfinite(values).all():
        raise ValueError("it holds pixels that are NaN or infinite")
    highest = values.max()
    white = next((top for top in (1, 255) if top / 4 < highest <= 1.05 * top), max(highest, 1))
    values = values.astype(np.float32)
    np.clip(values, 0, white, out=values)
    values *= 255 / white
    return np.rint(values, out=values).astype(np.uint8)


def upright_size(file: Path) -> tuple[int, int]:
    """Width and height of an image file as `open_image` shows it, from its header alone."""
    with Image.open(file) as image:
        width, height = image.size
        turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


# --- pictures of somebody's own ---------------------------------------------------------------------------------------


def read_quietly(content: bytes, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """As `read_image`, of a file that `check_picture` has accepted."""
    with _of_no_interest():
        return read_image(BytesIO(content), side)


def open_quietly(content: bytes, least: int) -> Image.Image:
    """As `open_image`, of a file that `check_picture` has accepted."""
    with _of_no_interest():
        return open_image(BytesIO(content), least)


@contextmanager
def _of_no_interest() -> Iterator[None]:
    """Warnings on what has been accepted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check_upload(name: str, content: bytes) -> bytes:
    """As `check_picture`, of a picture that somebody sends. Raises InputError for more than 20 MB as well."""
    if len(content) > MOST_BYTES:
        raise too_large(name)
    return check_picture(name, content)


def check_picture(name: str, content: bytes) -> bytes:
    """The file of a picture of somebody's own; all of it is read once, so that a damaged one is refused now.

    name: of the file, for the message. content: PNG, JPEG, WebP, BMP, GIF (its first picture) or TIFF of any mode.
    Raises InputError for anything else, a damaged file, more than 64 million pixels, or pixels that are not finite.
    """
    name = _short(name)
    if not len(content):
        raise InputError(f"{name} is empty: choose a picture")
    try:
        with _of_no_interest(), Image.open(BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
        if width * height > MOST_PIXELS:
            limit = f"{MOST_PIXELS // 10**6} million"
            raise InputError(f"{name} has {width} x {height} pixels: expected at most {limit}, make it smaller")
        read_quietly(content, 64)
    except UnreadableImageError as error:
        raise InputError(f"{name} is damaged ({error.why}): choose another picture") from None
    except InputError:
        raise
    except Image.UnidentifiedImageError:
        raise InputError(f"{name} cannot be read: expected a picture as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}") from None
    except Image.DecompressionBombError:
        raise InputError(f"{name} unpacks to far more than {MOST_PIXELS // 10**6} million pixels: choose another picture") from None
    except DAMAGED as error:
        raise InputError(f"{name} is damaged ({error or type(error).__name__}): choose another picture") from None
    return content


def too_large(name: str) -> InputError:
    """The error of a file of more than 20 MB."""
    return InputError(f"{_short(name)} is larger than {MOST_BYTES // 10**6} MB: make it smaller")


def _short(name: str) -> str:
    return " ".join(name.split())[-60:] or "the file"
