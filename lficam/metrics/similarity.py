"""How alike are two maps of the same image? One number an image; higher is more alike.

Maps (N, 1, h, w) in [0, 1]; "on" means value > threshold.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from lficam.errors import InputError
from lficam.model.cam import check_maps

THRESHOLD = 100 / 255  # of the published stability figure
SSIM_PIXELS = 32 * 224 * 224  # of as many, SSIM takes half a gigabyte by itself; more at a time are slower
WINDOW = 11  # pixels, the side of SSIM's Gaussian window (standard deviation 1.5)


def iou(a: Tensor, b: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Intersection over union of the "on" areas of maps a, b (N, 1, h, w): (N,) in [0, 1]. Two empty areas: 0.

    Raises InputError for maps of different shapes, or that are not finite.
    """
    check_maps(a, b)
    return overlap(a > threshold, b > threshold)


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
    on_a, on_b = (torch.floor(256 * cam).remainder(256) > round(255 * threshold) for cam in (a, b))
    shared = (on_a & on_b).sum(3)  # (N, 1, h)
    either = (on_a | on_b).sum(3)
    rows = torch.where(either > 0, shared / either.clamp(min=1), 1.0)
    return rows.mean((1, 2))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of maps a, b (N, 1, h, w): (N,) in [-1, 1]. Two equal constant maps: 1.

    Source: Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE
    Transactions on Image Processing 2004; between saliency maps, as rank correlation is: Adebayo et al., "Sanity Checks for
    Saliency Maps", NeurIPS 2018.

    Raises InputError for maps that are smaller than the window of 11 x 11 pixels: a smaller window gives other numbers.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure  # late: importing it takes seconds

    check_maps(a, b)
    h, w = a.shape[2:]
    if min(h, w) < WINDOW:
        raise InputError(
            f"maps are {h} x {w}, SSIM needs {WINDOW} x {WINDOW} pixels: compare maps at the size of the image, or leave out 'ssim'"
        )
    chunk = max(1, SSIM_PIXELS // (h * w))
    parts = zip(a.split(chunk), b.split(chunk), strict=True)
    return torch.cat([structural_similarity_index_measure(x, y, reduction="none", data_range=1.0) for x, y in parts])


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Rank correlation of the pixels of maps a, b (N, 1, h, w), equal values at their mean rank: (N,) in [-1, 1].

    0 where one map is constant: it ranks nothing.
    """
    from scipy.stats import rankdata  # torchmetrics adds ranks in 32 bits: too few for the zeros of a 300 x 300 map

    check_maps(a, b)
    ranks = (torch.from_numpy(rankdata(cam.flatten(1).cpu().numpy(), axis=1)) for cam in (a, b))
    x, y = (rank - rank.mean(1, keepdim=True) for rank in ranks)  # (N, h w)
    return F.cosine_similarity(x, y).to(a)


def top_overlap(a: Tensor, b: Tensor) -> Tensor:
    """Of the highest tenth of the pixels of maps a, b (N, 1, h, w), the share that they have in common: (N,) in [0, 1].

    Pixels as high as the lowest of the tenth belong to it; pixels at the map's minimum never do, so that a map that is 0 but for
    one peak has that peak only. Of two tenths of different size the share of the larger one. 0 where one map is constant.
    """
    check_maps(a, b)
    top_a, top_b = _highest_tenth(a), _highest_tenth(b)
    larger = torch.maximum(top_a.sum(1), top_b.sum(1))
    return (top_a & top_b).sum(1) / larger.clamp(min=1)


def _highest_tenth(cam: Tensor) -> Tensor:
    pixels = cam.flatten(1)  # (N, h w)
    lowest = pixels.topk(math.ceil(pixels.shape[1] / 10)).values[:, -1:]
    return (pixels >= lowest) & (pixels > pixels.amin(1, keepdim=True))


AT_THRESHOLD = {"iou": iou, "iou_published": iou_published}
METRICS = AT_THRESHOLD | {"ssim": ssim, "spearman": spearman, "top_overlap": top_overlap}


def metrics_at(size: tuple[int, int]) -> list[str]:
    """The metrics that maps of this size (h, w) can be compared by: all of METRICS, but SSIM only where its window fits."""
    return [metric for metric in METRICS if metric != "ssim" or min(size) >= WINDOW]


def metrics_named(names: Sequence[str], threshold: float) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """The metrics of these names, as functions of two batches of maps."""
    if unknown := [name for name in names if name not in METRICS]:
        raise InputError(f"unknown metric {unknown[0]!r}: there are {', '.join(METRICS)}")
    if not names:
        raise InputError(f"no metric to compare maps with: give some of {', '.join(METRICS)}")
    return {name: partial(METRICS[name], threshold=threshold) if name in AT_THRESHOLD else METRICS[name] for name in names}
