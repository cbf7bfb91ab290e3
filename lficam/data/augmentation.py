"""From pixels to network input: crops and flips of a whole batch at once, on whatever device it is, and normalisation.

Every crop is a box (top, left, height, width) as a share of the image, so one resampling serves training and testing, squashed
photographs and small images alike.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# Share of the shorter side that the test crop keeps: Resize(256), CenterCrop(224).
TEST_CROP = 224 / 256

# Recipes that train on crops of larger images, so that the test crop leaves a border out; in the others it is the whole image.
CENTERED = ("resized-crop-flip",)

AUGMENTATIONS = ("none", "crop", "crop-flip", "resized-crop-flip")


def augment(
    images: Tensor, shapes: Tensor, size: int, augmentation: str, generator: torch.Generator, own: slice = slice(None)
) -> Tensor:
    """Randomly crop and flip uint8 images (N, 3, s, s) -> float (N, 3, size, size) in [0, 1].

    augmentation: "none"; "crop", RandomCrop(size, padding=4); "crop-flip", the same and a horizontal flip with probability 1/2
        (the CIFAR recipe); "resized-crop-flip", RandomResizedCrop(size) and the flip (the recipe of the other data sets).
    shapes: (N, 2), height and width of the originals in pixels, since the aspect ratio of a crop is one of the original.
    generator: on the CPU, whatever the device of the images, so that the same seed gives the same crops everywhere.
    own: which images of the batch these are; `shapes` are those of all, and for all is drawn.
    """
    if augmentation == "none":
        return evaluation_crop(images, shapes[own], size, augmentation)
    count = len(shapes)
    if augmentation == "resized-crop-flip":
        boxes = random_resized_boxes(shapes.cpu(), generator)
    else:
        offset = torch.randint(-4, 5, (count, 2), generator=generator) / size
        boxes = torch.cat([offset, torch.ones(count, 2)], 1)
    flip = torch.zeros(count, dtype=torch.bool)
    if augmentation.endswith("flip"):
        flip = torch.rand(count, generator=generator) < 0.5
    return crop(images, boxes[own], size, flip[own])


def kept_side(size: int, augmentation: str) -> int:
    """Side in pixels of the square to which an image is squashed and kept, so that crops of `size` lose nothing."""
    return round(size / TEST_CROP) if augmentation in CENTERED else size


def evaluation_crop(images: Tensor, shapes: Tensor, size: int, augmentation: str) -> Tensor:
    """What is tested: uint8 (N, 3, s, s) -> float (N, 3, size, size) in [0, 1].

    The whole image, squashed to the square; for a training on resized crops what Resize(256), CenterCrop(224) leaves of it.
    """
    if augmentation not in CENTERED and images.shape[-1] == size:
        return images.float() / 255
    return crop(images, evaluation_boxes(shapes, augmentation), size)


def evaluation_boxes(shapes: Tensor, augmentation: str) -> Tensor:
    """Which part of images of these shapes (N, 2), height and width, is tested: boxes (N, 4)."""
    side = shapes.amin(1, keepdim=True) * TEST_CROP / shapes if augmentation in CENTERED else torch.ones_like(shapes)
    return torch.cat([(1 - side) / 2, side], 1)


def evaluation_masks(masks: Tensor, shapes: Tensor, size: int, augmentation: str) -> Tensor:
    """What `evaluation_crop` leaves of masks (N, 1, s, s) bool, squashed as the images were: (N, 1, size, size) bool."""
    if augmentation not in CENTERED and masks.shape[-1] == size:
        return masks
    return evaluation_crop(masks.byte() * 255, shapes, size, augmentation) >= 0.5


def random_resized_boxes(
    shapes: Tensor,
    generator: torch.Generator,
    scale: tuple[float, float] = (0.08, 1),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Tensor:
    """Boxes (N, 4) distributed as torchvision's RandomResizedCrop: the first of ten tries that fits, else the largest centered."""
    count = len(shapes)
    height, width = shapes[:, :1], shapes[:, 1:]  # (N, 1)
    area = height * width * torch.empty(count, 10).uniform_(*scale, generator=generator)
    aspect = torch.empty(count, 10).uniform_(math.log(ratio[0]), math.log(ratio[1]), generator=generator).exp()
    w, h = (area * aspect).sqrt() / width, (area / aspect).sqrt() / height  # (N, 10) shares
    fits = (w <= 1) & (h <= 1)
    first = fits.int().argmax(1, keepdim=True)
    w, h = w.gather(1, first), h.gather(1, first)
    whole = (width / height).clamp(*ratio)  # the largest box of an allowed aspect ratio
    fallback_w, fallback_h = (whole * height / width).clamp(max=1), (width / whole / height).clamp(max=1)
    none_fits = ~fits.any(1, keepdim=True)
    w, h = torch.where(none_fits, fallback_w, w), torch.where(none_fits, fallback_h, h)
    corner = torch.rand(count, 2, generator=generator)
    corner = torch.where(none_fits, torch.tensor(0.5), corner)
    return torch.cat([corner[:, :1] * (1 - h), corner[:, 1:] * (1 - w), h, w], 1)


def crop(images: Tensor, boxes: Tensor, size: int, flip: Tensor | None = None) -> Tensor:
    """Cut boxes (N, 4) out of uint8 images (N, 3, s, s): float (N, 3, size, size) in [0, 1], black outside the image."""
    # non_blocking: these few bytes go along while the GPU still computes the last step
    top, left, height, width = boxes.to(images.device, non_blocking=True).unbind(1)
    direction = 1.0 if flip is None else 1.0 - 2.0 * flip.to(images.device, non_blocking=True).float()
    zero = torch.zeros_like(top)
    # Output coordinates in [-1, 1] -> input coordinates in [-1, 1].
    theta = torch.stack([width * direction, zero, 2 * left + width - 1, zero, height, 2 * top + height - 1], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    inside = (grid.abs() <= 1).all(3).unsqueeze(1)
    # "zeros" would mix black into the outermost pixels of an enlarged image
    return F.grid_sample(images.float() / 255, grid, mode="bilinear", padding_mode="border", align_corners=False) * inside


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Pixels (N, 3, h, w) in [0, 1] -> network input, by mean and std per channel."""
    mean, std = (
        torch.tensor(values, dtype=images.dtype).view(3, 1, 1).to(images.device, non_blocking=True) for values in (mean, std)
    )
    return (images - mean) / std
