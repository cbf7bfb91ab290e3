"""How alike are two maps of the same image? One number an image; higher is more alike.

Maps (N, 1, h, w) in [0, 1]; "on" means value > threshold. Each metric is two steps: what is taken from one map, and how alike two
of those are. Of many maps the first is done once a map, not once a pair (`pairwise_stability`).
"""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lficam.errors import InputError
from lficam.model.cam import check_maps

THRESHOLD = 100 / 255  # of the published stability figure
WINDOW, WINDOW_SD = 11, 1.5  # pixels, the side and standard deviation of SSIM's Gaussian window
C1, C2 = 0.01**2, 0.03**2  # SSIM's constants, of values in [0, 1]


def iou(a: Tensor, b: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Intersection over union of the "on" areas of maps a, b (N, 1, h, w): (N,) in [0, 1]. Two empty areas: 0.

    Raises InputError for maps of different shapes, or that are not finite.
    """
    check_maps(a, b)
    return overlap(_on(a, threshold), _on(b, threshold))


def _on(cam: Tensor, threshold: float) -> Tensor:
    return cam > threshold


def overlap(on_a: Tensor, on_b: Tensor) -> Tensor:
    """Intersection over union of areas (N, 1, h, w) bool: (N,) in [0, 1]. Two empty areas: 0."""
    shared = (on_a & on_b).sum((1, 2, 3))
    either = (on_a | on_b).sum((1, 2, 3))
    return torch.where(either > 0, shared / either.clamp(min=1), 0.0)


def iou_published(a: Tensor, b: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """The stability of the authors' release, to compare with its published numbers: (N,) in [0, 1].

    It is not an intersection over union of the image. It takes one for every image row and averages them, counts a row that is
    empty in both maps as 1, and stores the map as floor(256 A) in 8 bits, so that the peak itself (256) wraps to 0.
    """
    check_maps(a, b)
    return _row_overlap(_on_in_8_bits(a, threshold), _on_in_8_bits(b, threshold))


def _on_in_8_bits(cam: Tensor, threshold: float) -> Tensor:
    return torch.floor(256 * cam).remainder(256) > round(255 * threshold)


def _row_overlap(on_a: Tensor, on_b: Tensor) -> Tensor:
    shared = (on_a & on_b).sum(3)  # (N, 1, h)
    either = (on_a | on_b).sum(3)
    rows = torch.where(either > 0, shared / either.clamp(min=1), 1.0)
    return rows.mean((1, 2))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of maps a, b (N, 1, h, w): (N,) in [-1, 1]. Two equal constant maps: 1.

    Source: Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE
    Transactions on Image Processing 2004, equation 13; between saliency maps, as rank correlation is: Adebayo et al., "Sanity
    Checks for Saliency Maps", NeurIPS 2018. The map is mirrored at its border.

    Raises InputError for maps that are smaller than the window of 11 x 11 pixels: a smaller window gives other numbers.
    """
    check_maps(a, b)
    return _structure(_moments(a), _moments(b))


class _Moments(NamedTuple):
    """A map (N, 1, h, w), its mean and its variance in the window around each pixel."""

    cam: Tensor
    mean: Tensor
    variance: Tensor


def _moments(cam: Tensor) -> _Moments:
    h, w = cam.shape[2:]
    if min(h, w) < WINDOW:
        raise InputError(
            f"maps are {h} x {w}, SSIM needs {WINDOW} x {WINDOW} pixels: compare maps at the size of the image, or leave out 'ssim'"
        )
    mean = _blur(cam)
    return _Moments(cam, mean, (_blur(cam.square()) - mean.square()).clamp(min=0))


def _structure(a: _Moments, b: _Moments) -> Tensor:
    """Mean over the pixels of SSIM's luminance times contrast and structure: (N,)."""
    covariance = _blur(a.cam * b.cam) - a.mean * b.mean
    luminance = (2 * a.mean * b.mean + C1) / (a.mean.square() + b.mean.square() + C1)
    return (luminance * (2 * covariance + C2) / (a.variance + b.variance + C2)).mean((1, 2, 3))


def _blur(cam: Tensor) -> Tensor:
    """By the Gaussian window: a matrix product a side, which is several times as fast as a convolution."""
    h, w = cam.shape[2:]
    return _window(h).to(cam) @ cam @ _window(w).to(cam).T


@cache
def _window(n: int) -> Tensor:
    """(n, n): row i holds the window's weights around pixel i, mirrored at the border without repeating it."""
    gauss = torch.exp(-0.5 * (torch.arange(-(WINDOW // 2), WINDOW // 2 + 1, dtype=torch.float64) / WINDOW_SD) ** 2)
    seen = torch.arange(n)[:, None] + torch.arange(-(WINDOW // 2), WINDOW // 2 + 1)
    seen = (n - 1) - (seen.abs() - (n - 1)).abs()
    return torch.zeros(n, n, dtype=torch.float64).scatter_add_(1, seen, (gauss / gauss.sum()).expand(n, -1))


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Rank correlation of the pixels of maps a, b (N, 1, h, w), equal values at their mean rank: (N,) in [-1, 1].

    0 where one map is constant: it ranks nothing.
    """
    check_maps(a, b)
    return _cosine(_centred_ranks(a), _centred_ranks(b))


def _centred_ranks(cam: Tensor) -> Tensor:
    """(N, h w), of length 1; 0 for a constant map."""
    values, order = cam.flatten(1).sort(1)
    place = torch.arange(values.shape[1], device=cam.device)
    change = values[:, 1:] != values[:, :-1]  # between pixels that are no tie
    border = change.new_ones(len(values), 1)
    first = place.where(torch.cat([border, change], 1), 0).cummax(1).values  # of those as high as this one
    last = place.where(torch.cat([change, border], 1), len(place)).flip(1).cummin(1).values.flip(1)
    ranks = (first + last - (len(place) - 1)).double() / 2  # 32 bits are too few to add those of a 300 x 300 map
    return torch.nn.functional.normalize(torch.empty_like(ranks).scatter_(1, order, ranks))


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1).float()


def top_overlap(a: Tensor, b: Tensor) -> Tensor:
    """Of the highest tenth of the pixels of maps a, b (N, 1, h, w), the share that they have in common: (N,) in [0, 1].

    Pixels as high as the lowest of the tenth belong to it; pixels at the map's minimum never do, so that a map that is 0 but for
    one peak has that peak only. Of two tenths of different size the share of the larger one. 0 where one map is constant.
    """
    check_maps(a, b)
    return _shared(_highest_tenth(a), _highest_tenth(b))


def _highest_tenth(cam: Tensor) -> Tensor:
    """(N, h w) bool."""
    pixels = cam.flatten(1)
    lowest = pixels.topk(math.ceil(pixels.shape[1] / 10)).values[:, -1:]
    return (pixels >= lowest) & (pixels > pixels.amin(1, keepdim=True))


def _shared(top_a: Tensor, top_b: Tensor) -> Tensor:
    return (top_a & top_b).sum(1) / torch.maximum(top_a.sum(1), top_b.sum(1)).clamp(min=1)


METRICS = {"iou": iou, "iou_published": iou_published, "ssim": ssim, "spearman": spearman, "top_overlap": top_overlap}
AT_THRESHOLD = ("iou", "iou_published")


class Steps(NamedTuple):
    """A metric in two steps. take: maps (N, 1, h, w) -> what is compared; compare: two of those -> (N,)."""

    take: Callable[[Tensor], Any]
    compare: Callable[[Any, Any], Tensor]


_STEPS = {
    "iou": Steps(_on, overlap),
    "iou_published": Steps(_on_in_8_bits, _row_overlap),
    "ssim": Steps(_moments, _structure),
    "spearman": Steps(_centred_ranks, _cosine),
    "top_overlap": Steps(_highest_tenth, _shared),
}


def metrics_at(size: tuple[int, int]) -> list[str]:
    """The metrics that maps of this size (h, w) can be compared by: all of METRICS, but SSIM only where its window fits."""
    return [metric for metric in METRICS if metric != "ssim" or min(size) >= WINDOW]


def steps_of(names: Sequence[str], threshold: float) -> dict[str, Steps]:
    """The metrics of these names in their two steps. Raises InputError for none, or an unknown one."""
    if unknown := [name for name in names if name not in METRICS]:
        raise InputError(f"unknown metric {unknown[0]!r}: there are {', '.join(METRICS)}")
    if not names:
        raise InputError(f"no metric to compare maps with: give some of {', '.join(METRICS)}")
    bound = {name: _STEPS[name]._replace(take=partial(_STEPS[name].take, threshold=threshold)) for name in AT_THRESHOLD}
    return {name: (_STEPS | bound)[name] for name in names}
