"""A picture in its own shape, which part of it a network sees, and where the object is in that."""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lficam.data.augmentation import evaluation_boxes, evaluation_crop, kept_side
from lficam.data.decoding import open_quietly, read_quietly

LONGEST = 512  # pixels of the longer side that are kept: enough for what is shown of it

Box = tuple[float, float, float, float]  # top, left, height and width, as shares of the picture
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


class Photograph(NamedTuple):
    """pixels: (3, h, w) in [0, 1]. crop: what a network sees of it, brought to a square.

    mask: (1, s, s) bool, where the object is in what it sees; None where nobody knows.
    """

    pixels: Tensor
    crop: Box = WHOLE
    mask: Tensor | None = None

    @property
    def aspect(self) -> float:
        """Height over width."""
        return self.pixels.shape[1] / self.pixels.shape[2]


def photograph(pixels: Tensor, shape: tuple[float, float], augmentation: str) -> Photograph:
    """A picture and the part of it that is tested.

    pixels: (3, h, w) uint8, squashed perhaps. shape: height and width that it has by rights, up to a factor.
    augmentation: one of `augmentation.AUGMENTATIONS`.
    """
    h, w = shape
    longest = min(max(pixels.shape[1:]), LONGEST)
    size = tuple(max(1, round(longest * side / max(h, w))) for side in (h, w))
    values = pixels[None].float() / 255
    if size != tuple(pixels.shape[1:]):
        values = F.interpolate(values, size, mode="bilinear", antialias=True)
    (box,) = evaluation_boxes(torch.tensor([[h, w]], dtype=torch.float32), augmentation).tolist()
    return Photograph(values[0], tuple(box))


def photograph_in(content: bytes, augmentation: str) -> Photograph:
    """The picture in a file that `decoding.check_picture` has accepted, and the part of it that is tested."""
    image = open_quietly(content, least=LONGEST)
    return photograph(pixels_of(image), (image.height, image.width), augmentation)


def seen_in(content: bytes, size: int, augmentation: str) -> Tensor:
    """What is tested of it by a network that was trained on images of this size: (3, size, size) in [0, 1]."""
    pixels, shape = read_quietly(content, kept_side(size, augmentation))
    images = torch.tensor(pixels).permute(2, 0, 1).unsqueeze(0)  # (1, 3, s, s)
    return evaluation_crop(images, torch.tensor([shape], dtype=torch.float32), size, augmentation)[0]


def pixels_of(image: Image.Image) -> Tensor:
    """An RGB image as (3, h, w) uint8, the longer side at most `LONGEST` pixels."""
    small = image.copy()
    small.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)
